//! Runs scripts on a Redis, or on the node of a cluster that has the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::time::{Instant, timeout};

use super::cluster::{self, Redirect};
use super::connection::Connection;
use super::pool::{self, Pool};
use super::resp::{self, Malformed, Reply};
use super::standing::Known;
use super::{Address, Error, Options, Script, Standing};

/// Nodes that one command may be sent to.
const MOST_NODES: usize = 5;

static CLIENTS: AtomicU64 = AtomicU64::new(0);

/// A Redis, or a cluster of them. Workers share it, and have connections of their own; these
/// are closed within a second after the last one let go of it.
pub struct Client {
    pub(super) id: u64,
    pub(super) options: Options,
    workers: AtomicUsize,
    /// The endpoint that is asked first: the last one that took a connection.
    first: AtomicUsize,
    known: Known,
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
            known: Known::default(),
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

    /// Whether it answers, as far as is known. Who is told that a try is due makes it.
    pub fn standing(&self) -> Standing {
        self.known.standing(self.origin.elapsed())
    }

    pub(super) fn is_down(&self) -> bool {
        self.known.is_down()
    }

    /// Runs a script with this key, within the limits of connecting, sending and reading
    /// together. On a worker only. `read` takes the answer, unless it is none of the script's.
    /// What came of it is kept, and told where it is news.
    pub async fn run<T>(
        self: &Arc<Self>,
        script: &Script,
        key: &[u8],
        read: impl Fn(&Reply) -> Option<T>,
    ) -> Result<T, Error> {
        let limit = self.options.dial + self.options.write + self.options.read;
        let done = timeout(limit, self.find(script, key)).await;
        let late = |_| Error::TimedOut(Arc::clone(self.first().text()));
        let strange = || Error::Strange(Arc::clone(self.first().text()), Malformed::Unasked);
        let done = done.map_err(late).and_then(|done| read(&done?).ok_or_else(strange));
        match &done {
            Ok(_) if self.known.answered() => {
                tracing::info!(
                    "Redis {} answers again: what it counts is shared",
                    self.first().as_str()
                );
            }
            Ok(_) => {}
            Err(error) => {
                let error = error.to_string();
                if self.known.failed(self.origin.elapsed(), &error) {
                    tracing::warn!(
                        "Redis {error}; until it answers, this process counts for itself alone"
                    );
                }
            }
        }
        done
    }

    /// Asks the node that has the key, which may be told by others.
    async fn find(self: &Arc<Self>, script: &Script, key: &[u8]) -> Result<Reply, Error> {
        let pool = pool::of(self);
        // It is never closed.
        let _permit = pool.permits.acquire().await.ok();
        let slot = cluster::slot(key);
        let mut owner = pool.owner(slot);
        let mut to = owner.clone().unwrap_or_else(|| self.first());
        let mut is_asking = false;
        let mut left = MOST_NODES.max(self.options.endpoints.len());
        loop {
            let error = match self.ask(&pool, &to, is_asking, script, key).await {
                Ok(Reply::Error(error)) => error,
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    pool.forget(&to);
                    let is_last = !self.skip(&to) && owner.take().is_none();
                    // Nothing was sent: another one may know the way.
                    if !matches!(error, Error::Connect(..)) || is_last || left == 0 {
                        return Err(error);
                    }
                    left -= 1;
                    is_asking = false;
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
