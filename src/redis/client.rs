//! Runs scripts on a Redis, or on the node of a cluster that has the key.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::time::{Instant, timeout_at};

use super::cluster::{self, Redirect};
use super::connection::Connection;
use super::pool::{self, Pool};
use super::resp::{self, Malformed, Reply};
use super::standing::Nodes;
use super::{Address, Error, Options, Script, Standing};

/// Nodes that one command may be sent to.
const MOST_NODES: usize = 5;

static CLIENTS: AtomicU64 = AtomicU64::new(0);

/// Why a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A request waits: one that is known not to answer is left alone.
    Asked,
    /// To see whether it answers again.
    Tried,
}

/// A Redis, or a cluster of them. Workers share it, and have connections of their own; these
/// are closed within a second after the last one let go of it.
pub struct Client {
    pub(super) id: u64,
    pub(super) options: Options,
    workers: AtomicUsize,
    /// The endpoint that is asked first: the last one that took a connection.
    first: AtomicUsize,
    nodes: Nodes,
    /// Times are counted from here.
    origin: Instant,
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(options: Options) -> Self {
        Self {
            id: CLIENTS.fetch_add(1, Ordering::Relaxed),
            options,
            workers: AtomicUsize::new(1),
            first: AtomicUsize::new(0),
            nodes: Nodes::default(),
            origin: Instant::now(),
        }
    }

    /// Says how many worker threads share its connections; before the first command.
    pub fn share(&self, workers: usize) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    /// Whether the node of a key answers, as far as is known. Who is told that a try is due makes
    /// it ([`Client::try_again`]). On a worker only.
    pub fn standing(self: &Arc<Self>, key: &[u8]) -> Standing {
        let node = pool::of(self).owner_of(key).unwrap_or_else(|| self.first());
        self.nodes.of(&node).standing(self.origin.elapsed())
    }

    /// The endpoint that is asked first does not answer.
    pub(super) fn is_down(&self) -> bool {
        self.nodes.of(&self.first()).is_down()
    }

    /// Runs a script with this key, within the limits of connecting, sending and reading
    /// together. On a worker only. `read` takes the answer, unless it is none of the script's.
    /// What came of it is kept, and told where it is news, also when nobody waits for it any
    /// more: clients may be less patient than we are.
    pub async fn run<T: 'static>(
        self: &Arc<Self>,
        script: &Arc<Script>,
        key: Vec<u8>,
        read: impl Fn(&Reply) -> Option<T> + 'static,
    ) -> Result<T, Error> {
        let until = self.limit();
        let pool = pool::of(self);
        let node = || pool.owner_of(&key).unwrap_or_else(|| self.first());
        let permit = timeout_at(until, Arc::clone(&pool.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::TimedOut(Arc::clone(node().text())));
        };
        // Those in line behind others who have waited in vain do not wait once more.
        if self.nodes.of(&node()).is_down() {
            return Err(Error::Down(Arc::clone(node().text())));
        }
        let (this, script) = (Arc::clone(self), Arc::clone(script));
        // Ends by itself: every wait for Redis has its limit.
        let talk = tokio::task::spawn_local(async move {
            let _permit = permit;
            this.judged(&script, &key, read, Way::Asked, until).await
        });
        talk.await.unwrap_or_else(|_| Err(Error::Down(Arc::clone(self.first().text()))))
    }

    /// Has a script run without anybody waiting for it, to see whether the node of this key
    /// answers again. On a worker only.
    pub fn try_again<T: 'static>(
        self: &Arc<Self>,
        script: &Arc<Script>,
        key: Vec<u8>,
        read: impl Fn(&Reply) -> Option<T> + 'static,
    ) {
        let (this, script) = (Arc::clone(self), Arc::clone(script));
        // Ends by itself: every wait for Redis has its limit.
        tokio::task::spawn_local(async move {
            let until = this.limit();
            let permits = Arc::clone(&pool::of(&this).permits);
            let _permit = timeout_at(until, permits.acquire_owned()).await;
            // What came of it is known.
            let _ = this.judged(&script, &key, read, Way::Tried, until).await;
        });
    }

    fn limit(&self) -> Instant {
        Instant::now() + self.options.dial + self.options.write + self.options.read
    }

    /// Asks, and keeps what came of it.
    async fn judged<T>(
        self: &Arc<Self>,
        script: &Script,
        key: &[u8],
        read: impl Fn(&Reply) -> Option<T>,
        way: Way,
        until: Instant,
    ) -> Result<T, Error> {
        let pool = pool::of(self);
        let before = pool.owner_of(key);
        let at = RefCell::new(self.first());
        let done = timeout_at(until, self.find(&pool, script, key, way, &at)).await;
        let node = at.into_inner();
        let late = |_| Error::TimedOut(Arc::clone(node.text()));
        let strange = || Error::Strange(Arc::clone(node.text()), Malformed::Unasked);
        let done = done.map_err(late).and_then(|done| read(&done?).ok_or_else(strange));
        let known = self.nodes.of(&node);
        match &done {
            Ok(_) if known.answered() => {
                tracing::info!("Redis {} answers again: what it counts is shared", node.as_str());
            }
            // Known already.
            Ok(_) | Err(Error::Down(_)) => {}
            Err(error) => {
                let error = error.to_string();
                if known.failed(self.origin.elapsed(), &error) {
                    tracing::warn!(
                        "Redis {error}; until it answers, this process counts for itself alone"
                    );
                }
            }
        }
        if done.is_ok()
            && let Some(before) = before.filter(|before| way == Way::Tried && *before != node)
        {
            // It is said to have other slots, too, and may have lost them with this one.
            pool.forget(&before);
        }
        done
    }

    /// Asks the node that has the key, which may be told by others. `at` is who is asked.
    async fn find(
        &self,
        pool: &Pool,
        script: &Script,
        key: &[u8],
        way: Way,
        at: &RefCell<Address>,
    ) -> Result<Reply, Error> {
        let slot = cluster::slot(key);
        let mut owner = pool.owner(slot).filter(|owner| !self.nodes.of(owner).is_down());
        let mut to = owner.clone().unwrap_or_else(|| self.first());
        let mut is_asking = false;
        let mut left = MOST_NODES.max(self.options.endpoints.len());
        loop {
            at.replace(to.clone());
            let error = match self.ask(pool, &to, is_asking, script, key).await {
                Ok(Reply::Error(error)) => error,
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    let is_last = !self.skip(&to) && owner.take().is_none();
                    // Nothing was sent: another one may know the way.
                    if !matches!(error, Error::Connect(..)) || is_last || left == 0 {
                        return Err(error);
                    }
                    left -= 1;
                    is_asking = false;
                    pool.forget(&to);
                    to = self.first();
                    continue;
                }
            };
            let Some(redirect) = Redirect::parse(&error, &to) else {
                self.skip(&to);
                return Err(Error::Refused(Arc::clone(to.text()), error));
            };
            left = left.checked_sub(1).ok_or_else(|| Error::Astray(Arc::clone(to.text())))?;
            is_asking = !redirect.is_for_good;
            if redirect.is_for_good {
                pool.learn(slot, redirect.to.clone());
                owner = Some(redirect.to.clone());
            }
            to = redirect.to;
            if way == Way::Asked && self.nodes.of(&to).is_down() {
                return Err(Error::Down(Arc::clone(to.text())));
            }
        }
    }

    /// Asks one node; once more when it closed a connection that had been idle.
    async fn ask(
        &self,
        pool: &Pool,
        to: &Address,
        is_asking: bool,
        script: &Script,
        key: &[u8],
    ) -> Result<Reply, Error> {
        if let Some(connection) = pool.take(to) {
            match self.call(pool, connection, to, is_asking, script, key).await {
                Err(Error::Broken(..)) => pool.clear(to),
                done => return done,
            }
        }
        let connection = Connection::open(to, &self.options).await?;
        self.call(pool, connection, to, is_asking, script, key).await
    }

    async fn call(
        &self,
        pool: &Pool,
        mut connection: Connection,
        to: &Address,
        is_asking: bool,
        script: &Script,
        key: &[u8],
    ) -> Result<Reply, Error> {
        let asking = resp::command(&[b"ASKING"]);
        if is_asking {
            connection.call(to, &self.options, &asking).await?;
        }
        let mut reply = connection.call(to, &self.options, &script.by_hash(key)).await?;
        if matches!(&reply, Reply::Error(error) if error.starts_with("NOSCRIPT")) {
            if is_asking {
                connection.call(to, &self.options, &asking).await?;
            }
            reply = connection.call(to, &self.options, &script.whole(key)).await?;
        }
        if matches!(&reply, Reply::Error(error) if Redirect::parse(error, to).is_none()) {
            // It may be no longer the one to ask (READONLY, LOADING): its name may lead elsewhere.
            pool.clear(to);
        } else {
            pool.put(to, connection);
        }
        Ok(reply)
    }

    /// The endpoint to ask first.
    pub(super) fn first(&self) -> Address {
        let at = self.first.load(Ordering::Relaxed);
        let all = &self.options.endpoints;
        all.get(at).or(all.first()).cloned().unwrap_or_default()
    }

    /// Asks another endpoint first from now on, if it was this one. False when there is none.
    fn skip(&self, failed: &Address) -> bool {
        let all = &self.options.endpoints;
        let at = self.first.load(Ordering::Relaxed);
        if all.get(at) == Some(failed) {
            let next = (at + 1).checked_rem(all.len()).unwrap_or_default();
            // Another worker may have done so.
            let _ = self.first.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        all.len() > 1
    }
}
