//! Connections of one worker that wait for the next request. Nothing here is shared
//! between workers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::client::conn::{http1, http2};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::bell::Bell;
use super::server::{PoolKey, Scheme, Server};
use crate::message::Body;

/// How often pools are looked over for what timed out or lost its server.
const SWEEP: Duration = Duration::from_secs(1);

/// How much sooner than its server we stop to use an idle connection.
const SAFETY: Duration = Duration::from_secs(1);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

thread_local! {
    static POOLS: RefCell<Pools> = RefCell::default();
}

#[derive(Default)]
struct Pools {
    by_server: HashMap<u64, Rc<Pool>, ahash::RandomState>,
    is_sweeping: bool,
}

/// The connections of this worker to one server.
pub(super) struct Pool {
    key: Arc<PoolKey>,
    idle_timeout: Cell<Option<Duration>>,
    idle_limit: usize,
    /// Last in, first out.
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Someone is opening an HTTP/2 connection that others may wait for.
    opening: RefCell<Option<Rc<Notify>>>,
    /// The server is known to speak HTTP/2.
    speaks_http2: Cell<bool>,
    /// Rung while the server can't be heard.
    bell: Bell,
    /// Idle connections take answers with many fields.
    takes_many_fields: Cell<bool>,
}

struct Idle {
    sender: http1::SendRequest<Body>,
    since: Instant,
}

/// An HTTP/2 connection, shared by the requests of one worker.
pub(super) struct Shared {
    sender: http2::SendRequest<Body>,
    in_flight: Cell<usize>,
    idle_since: Cell<Instant>,
    /// The server takes no more requests on it.
    is_leaving: Cell<bool>,
    /// What the server allows now; kept up to date by the driver.
    pub(super) limit: Rc<Cell<usize>>,
}

impl Shared {
    pub(super) fn new(sender: http2::SendRequest<Body>) -> Self {
        Self {
            sender,
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            is_leaving: Cell::new(false),
            limit: Rc::new(Cell::new(100)),
        }
    }

    pub(super) fn sender(&self) -> http2::SendRequest<Body> {
        self.sender.clone()
    }

    /// No further request goes over it.
    pub(super) fn leave(&self) {
        self.is_leaving.set(true);
    }

    fn has_room(&self) -> bool {
        !self.is_leaving.get()
            && !self.sender.is_closed()
            && self.in_flight.get() < self.limit.get()
    }
}

/// A connection in use by one request. Dropped without [`Lease::finish`], an HTTP/1
/// connection closes.
#[derive(Default)]
pub struct Lease(Held);

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Http1(http1::SendRequest<Body>, Rc<Pool>),
    Http2(Rc<Shared>),
}

impl Lease {
    pub(super) fn http1(sender: http1::SendRequest<Body>, pool: Rc<Pool>) -> Self {
        Self(Held::Http1(sender, pool))
    }

    pub(super) fn http2(shared: Rc<Shared>) -> Self {
        shared.in_flight.set(shared.in_flight.get() + 1);
        Self(Held::Http2(shared))
    }

    /// The response was read to its end: the connection may serve another request. hyper
    /// calls itself ready only when both messages ended at their framing's end.
    pub fn finish(mut self) {
        if let Held::Http1(sender, pool) = std::mem::take(&mut self.0) {
            pool.put(sender);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Held::Http2(shared) = &self.0 {
            shared.in_flight.set(shared.in_flight.get().saturating_sub(1));
            shared.idle_since.set(Instant::now());
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}

/// What a pool has for a request.
pub(super) enum Found {
    Http1(http1::SendRequest<Body>),
    Http2(Rc<Shared>),
    /// Another request is opening an HTTP/2 connection.
    Opening(Rc<Notify>),
    Nothing,
}

/// This worker's pool for a server.
pub(super) fn of(server: &Server) -> Rc<Pool> {
    POOLS.with_borrow_mut(|pools| {
        if let Some(pool) = pools.by_server.get(&server.pool.id) {
            return Rc::clone(pool);
        }
        let pool = Rc::new(Pool {
            key: Arc::clone(&server.pool),
            idle_timeout: Cell::new(server.transport.settings().idle_timeout),
            idle_limit: server.transport.idle_limit(),
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: RefCell::default(),
            speaks_http2: Cell::new(server.scheme == Scheme::H2c),
            bell: Bell::default(),
            takes_many_fields: Cell::new(false),
        });
        pools.by_server.insert(server.pool.id, Rc::clone(&pool));
        if !std::mem::replace(&mut pools.is_sweeping, true) {
            // Ends by itself when the worker's pools are empty.
            tokio::task::spawn_local(sweep());
        }
        pool
    })
}

impl Pool {
    /// Looks for a connection. With `http1_only`, HTTP/2 ones are left alone.
    pub(super) fn find(&self, http1_only: bool) -> Found {
        if !http1_only && self.speaks_http2.get() {
            let shared = self.shared.borrow();
            if let Some(shared) = shared.iter().find(|shared| shared.has_room()) {
                return Found::Http2(Rc::clone(shared));
            }
            if let Some(opening) = &*self.opening.borrow() {
                return Found::Opening(Rc::clone(opening));
            }
        }
        self.take().map_or(Found::Nothing, Found::Http1)
    }

    fn take(&self) -> Option<http1::SendRequest<Body>> {
        let mut all = self.idle.borrow_mut();
        if self.is_retired() {
            // It may close them in this moment; a new one is accepted or refused.
            all.clear();
        }
        if self.key.sends_many_fields.load(Ordering::Relaxed)
            && !self.takes_many_fields.replace(true)
        {
            all.clear();
        }
        let mut index = all.len();
        while index > 0 {
            index -= 1;
            let idle = all.get(index)?;
            if idle.sender.is_closed() {
                all.remove(index);
            } else if idle.sender.is_ready() {
                let idle = all.remove(index);
                // All below it are older still; the sweep closes them.
                return self.is_young(idle.since).then_some(idle.sender);
            }
        }
        None
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.borrow().is_empty()
    }

    fn is_young(&self, since: Instant) -> bool {
        self.idle_timeout.get().is_none_or(|limit| since.elapsed() < limit)
    }

    /// The server says how long it keeps an idle connection (`Keep-Alive: timeout=5`). It is
    /// left alone a little sooner: a request that meets the close could not be sent again
    /// unless its method allows.
    pub(super) fn hear(&self, fields: &HeaderMap) {
        let Some(theirs) = fields.get(KEEP_ALIVE).and_then(announced) else { return };
        let safe = theirs.saturating_sub(SAFETY).max(theirs / 2);
        if self.idle_timeout.get().is_none_or(|ours| safe < ours) {
            self.idle_timeout.set(Some(safe));
        }
    }

    fn is_retired(&self) -> bool {
        self.key.retired.load(Ordering::Relaxed)
    }

    fn put(&self, sender: http1::SendRequest<Body>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_limit && !sender.is_closed() && !self.is_retired() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Waits until the server can't be heard while others can, and that is so, too.
    pub(super) async fn silent(&self, is_so: impl Fn() -> bool) {
        self.bell.until(|| self.key.is_silent.load(Ordering::Relaxed) && is_so()).await;
    }

    /// Announces an HTTP/2 connection to come, if this server is known to speak it.
    pub(super) fn announce(self: &Rc<Self>) -> Option<Opening> {
        let mut opening = self.opening.borrow_mut();
        if !self.speaks_http2.get() || opening.is_some() {
            return None;
        }
        *opening = Some(Rc::default());
        Some(Opening(Rc::clone(self)))
    }

    /// Shares a new HTTP/2 connection with the requests to come.
    pub(super) fn share(&self, shared: &Rc<Shared>) {
        self.speaks_http2.set(true);
        if !self.is_retired() {
            self.shared.borrow_mut().push(Rc::clone(shared));
        }
    }

    /// Closes what is closed or waited too long; true when nobody needs the pool any more.
    fn sweep(self: &Rc<Self>) -> bool {
        if self.key.is_silent.load(Ordering::Relaxed) {
            self.bell.ring();
        }
        let is_old = |since: Instant| self.is_retired() || !self.is_young(since);
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| !idle.sender.is_closed() && !is_old(idle.since));
        let mut all = self.shared.borrow_mut();
        all.retain(|shared| {
            let is_idle = shared.in_flight.get() == 0;
            let is_over = shared.is_leaving.get() || is_old(shared.idle_since.get());
            !(shared.sender.is_closed() || is_idle && is_over)
        });
        idle.is_empty() && all.is_empty() && Rc::strong_count(self) == 1
    }
}

/// The `timeout` of a `Keep-Alive` field.
fn announced(value: &HeaderValue) -> Option<Duration> {
    let mut parts = value.to_str().ok()?.split(',').map(str::trim);
    let seconds = parts.find_map(|part| part.strip_prefix("timeout="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Ends an announcement, whatever came of it, also when the request was dropped.
pub(super) struct Opening(Rc<Pool>);

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(opening) = self.0.opening.take() {
            opening.notify_waiters();
        }
    }
}

async fn sweep() {
    let mut is_needed = true;
    while is_needed {
        tokio::time::sleep(SWEEP).await;
        is_needed = POOLS.with_borrow_mut(|pools| {
            pools.by_server.retain(|_, pool| !pool.sweep());
            pools.is_sweeping = !pools.by_server.is_empty();
            pools.is_sweeping
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_server_keeps_idle_connections_is_read() {
        for (field, seconds) in [
            ("timeout=5", Some(5)),
            ("max=100, timeout=15", Some(15)),
            ("timeout=5, max=1000", Some(5)),
            ("timeout=x", None),
            ("max=100", None),
        ] {
            let value = HeaderValue::from_static(field);

            assert_eq!(announced(&value), seconds.map(Duration::from_secs), "{field}");
        }
    }
}
