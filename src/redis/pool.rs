//! The connections of one worker, and what it knows of a cluster. Nothing here is shared
//! between workers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connection::Connection;
use super::{Address, Client, cluster};

/// How often pools are looked over.
const SWEEP: Duration = Duration::from_secs(1);
/// How long a connection may be idle, as in Traefik.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// Connections of one worker where no number is set, as in Traefik for each processor.
const MOST: usize = 10;

thread_local! {
    static POOLS: RefCell<Pools> = RefCell::default();
}

#[derive(Default)]
struct Pools {
    by_client: HashMap<u64, Rc<Pool>, ahash::RandomState>,
    is_sweeping: bool,
}

/// The connections of this worker that one client has.
pub(super) struct Pool {
    client: Weak<Client>,
    /// One for each connection that may be in use.
    pub(super) permits: Arc<Semaphore>,
    most: usize,
    fewest: usize,
    is_filling: Cell<bool>,
    /// By address, last in, first out.
    idle: RefCell<HashMap<Arc<str>, Vec<Idle>, ahash::RandomState>>,
    /// Which node has a slot, as nodes have said; at most as many as there are slots.
    owners: RefCell<HashMap<u16, Address, ahash::RandomState>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// This worker's pool of a client.
pub(super) fn of(client: &Arc<Client>) -> Rc<Pool> {
    POOLS.with_borrow_mut(|pools| {
        if let Some(pool) = pools.by_client.get(&client.id) {
            return Rc::clone(pool);
        }
        let (most, fewest) = shares(client);
        let pool = Rc::new(Pool {
            client: Arc::downgrade(client),
            permits: Arc::new(Semaphore::new(most)),
            most,
            fewest,
            is_filling: Cell::new(false),
            idle: RefCell::default(),
            owners: RefCell::default(),
        });
        pools.by_client.insert(client.id, Rc::clone(&pool));
        if !std::mem::replace(&mut pools.is_sweeping, true) {
            // Ends by itself when the worker's pools are gone.
            tokio::task::spawn_local(sweep());
        }
        pool
    })
}

/// One worker's share of the connections: at most, at least. Each has one.
fn shares(client: &Client) -> (usize, usize) {
    let workers = client.workers();
    let most = client.options.most.map_or(MOST, |most| most.div_ceil(workers));
    let most = most.clamp(1, Semaphore::MAX_PERMITS);
    (most, client.options.fewest.div_ceil(workers).min(most))
}

impl Pool {
    /// An idle connection to this address.
    pub(super) fn take(&self, address: &Address) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        Some(idle.get_mut(address.text())?.pop()?.connection)
    }

    /// A connection that may be used again. Permits bound how many there are: each is taken
    /// before another one is opened.
    pub(super) fn put(&self, address: &Address, connection: Connection) {
        let idle = Idle { connection, since: Instant::now() };
        self.idle.borrow_mut().entry(Arc::clone(address.text())).or_default().push(idle);
    }

    /// Closes the idle connections to an address: the server closed one of them.
    pub(super) fn clear(&self, address: &Address) {
        self.idle.borrow_mut().remove(address.text());
    }

    /// The node that has this slot, as far as is known.
    pub(super) fn owner(&self, slot: u16) -> Option<Address> {
        self.owners.borrow().get(&slot).cloned()
    }

    /// The node that has a key, as far as is known.
    pub(super) fn owner_of(&self, key: &[u8]) -> Option<Address> {
        // Most are no cluster.
        let is_known = !self.owners.borrow().is_empty();
        is_known.then(|| self.owner(cluster::slot(key))).flatten()
    }

    pub(super) fn learn(&self, slot: u16, owner: Address) {
        self.owners.borrow_mut().insert(slot, owner);
    }

    /// Forgets everything that a node is said to have.
    pub(super) fn forget(&self, owner: &Address) {
        self.owners.borrow_mut().retain(|_, known| known != owner);
    }

    /// Closes what was idle too long; the connections that are left.
    fn tidy(&self) -> usize {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, all| {
            let old = all.iter().take_while(|idle| idle.since.elapsed() >= IDLE).count();
            all.drain(..old);
            !all.is_empty()
        });
        idle.values().map(Vec::len).sum()
    }
}

/// Opens the connections that are to be kept, as far as they are missing.
fn fill(pool: &Rc<Pool>, idle: usize) {
    let Some(client) = pool.client.upgrade() else { return };
    let open = idle + pool.most.saturating_sub(pool.permits.available_permits());
    if open >= pool.fewest || pool.is_filling.get() || client.is_down() {
        return;
    }
    pool.is_filling.set(true);
    let pool = Rc::clone(pool);
    // Ends by itself: connecting has a limit.
    tokio::task::spawn_local(async move {
        for _ in open..pool.fewest {
            let Ok(_permit) = pool.permits.try_acquire() else { break };
            let address = client.first();
            match Connection::open(&address, &client.options).await {
                Ok(connection) => pool.put(&address, connection),
                Err(error) => {
                    tracing::debug!(%error, "no connection to keep open");
                    break;
                }
            }
        }
        pool.is_filling.set(false);
    });
}

async fn sweep() {
    let mut is_needed = true;
    while is_needed {
        tokio::time::sleep(SWEEP).await;
        is_needed = POOLS.with_borrow_mut(|pools| {
            pools.by_client.retain(|_, pool| {
                let is_alive = pool.client.strong_count() > 0;
                if is_alive {
                    fill(pool, pool.tidy());
                }
                is_alive
            });
            pools.is_sweeping = !pools.by_client.is_empty();
            pools.is_sweeping
        });
    }
}
