//! The published structure. Must never be mutable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::middleware::Chain;
use crate::model::{Desired, Name};
use crate::problem::Problem;
use crate::provider::EngineState;
use crate::route::{EntryTable, Route};
use crate::settings::Settings;
use crate::{acme, balance, tls, upstream};

/// Everything that requests and the API read.
#[derive(Default)]
pub struct Table {
    /// Counts publications.
    pub revision: u64,
    /// When it was published.
    pub published: Option<SystemTime>,
    /// By `message::EntryPoint::index`.
    pub entry_points: Box<[EntryTable]>,
    /// Routers that serve, by qualified name.
    pub routes: BTreeMap<Name, Arc<Route>>,
    /// Servers transports by qualified name; `default@internal` is that of the settings.
    pub transports: BTreeMap<Arc<str>, Arc<upstream::Transport>>,
    /// Built services by qualified name, internal ones included.
    pub services: BTreeMap<Name, Arc<balance::Service>>,
    /// Middlewares of services' own, where they have any.
    pub service_chains: BTreeMap<Name, Arc<Chain>>,
    /// Which replica cells belong to a container, by full id.
    pub replicas: HashMap<Arc<str>, Vec<Arc<balance::Replica>>>,
    /// TLS.
    pub tls: Arc<tls::Index>,
    /// Certificates that routers want resolvers to obtain.
    pub wanted: Vec<acme::Wanted>,
    /// What the providers said, merged; internal routers, services and middlewares included.
    pub desired: Arc<Desired>,
    /// What became of each thing, by qualified name.
    pub routers: BTreeMap<Name, Outcome>,
    /// The same for services.
    pub service_outcomes: BTreeMap<Name, Outcome>,
    /// The same for middlewares.
    pub middlewares: BTreeMap<Name, Outcome>,
    /// All problems, sorted, providers' and compile's.
    pub problems: Arc<[Problem]>,
    /// The static configuration that it was made by.
    pub settings: Arc<Settings>,
}

/// What became of a router, service or middleware.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether it serves.
    pub status: Status,
    /// Why not, in Traefik's words.
    pub errors: Vec<String>,
    /// Routers: entry points it is attached to. Services, middlewares: routers that use it,
    /// qualified and sorted.
    pub used: Vec<String>,
    /// Routers: the entry points it asked for or got by default, sorted.
    pub entry_points: Vec<String>,
    /// Routers: the effective priority.
    pub priority: i64,
    /// Routers: all middlewares, qualified, entry points' first.
    pub middlewares: Vec<String>,
}

/// Traefik's status of a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// It serves.
    #[default]
    Enabled,
    /// It serves, not quite as written.
    Warning,
    /// It does not.
    Disabled,
}

impl Status {
    /// As the API prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Warning => "warning",
            Self::Disabled => "disabled",
        }
    }
}

/// Where the table is published. One writer (`control`), many readers.
pub struct Published {
    table: ArcSwap<Table>,
    engine: ArcSwap<EngineState>,
    acme: Arc<acme::Shared>,
    changed: watch::Sender<u64>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::default()),
            engine: ArcSwap::from_pointee(EngineState::default()),
            acme: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Published {
    /// The table now; take it once per request.
    pub fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// The table now, to keep.
    pub fn load_full(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// The engine's state now.
    pub fn engine(&self) -> Arc<EngineState> {
        self.engine.load_full()
    }

    /// Open challenges, and how it stands with certificates.
    pub fn acme(&self) -> &Arc<acme::Shared> {
        &self.acme
    }

    /// Publishes; only `control` may.
    pub fn store(&self, table: Arc<Table>) {
        self.table.store(table);
        self.touch();
    }

    /// Publishes the engine's state; only `control` may.
    pub fn store_engine(&self, engine: EngineState) {
        self.engine.store(Arc::new(engine));
        self.touch();
    }

    /// Tells listeners that live state (a replica's, say) changed.
    pub fn touch(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes at each change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
