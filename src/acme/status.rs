//! What the dashboard, the API and the metrics say about resolvers.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use serde::Serialize;

/// How it stands with one certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is on hand.
    Valid,
    /// It is being ordered.
    Ordering,
    /// Its order failed; it is tried again.
    Failed,
    /// It is on hand and nobody wants it any more.
    Unused,
    /// It is wanted, and nothing was done yet.
    #[default]
    Waiting,
}

/// One certificate that is on hand or wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Its names, the main one first.
    pub names: Vec<String>,
    /// How it stands.
    pub state: State,
    /// Who made it.
    pub issuer: String,
    /// From when on it is good.
    pub not_before: Option<SystemTime>,
    /// Until when it is good.
    pub not_after: Option<SystemTime>,
    /// When it will be renewed.
    pub renewal: Option<SystemTime>,
    /// Routers that want it.
    pub routers: Vec<String>,
    /// It is for names that no other certificate covers.
    pub is_default: bool,
    /// Why the last order failed.
    pub error: Option<String>,
    /// What to do about that.
    pub mend: Option<String>,
    /// When the next try is.
    pub next_try: Option<SystemTime>,
}

/// One resolver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolver {
    /// The CA's directory.
    pub ca_server: String,
    /// The challenge that it answers.
    pub challenge: String,
    /// Its file.
    pub storage: String,
    /// Why it can't work now: its account, its file.
    pub error: Option<String>,
    /// What to do about that.
    pub mend: Option<String>,
    /// Its certificates, by main name.
    pub entries: Vec<Entry>,
    /// Orders that gave a certificate, since the start.
    pub obtained: u64,
    /// Orders that failed, since the start.
    pub failed: u64,
}

/// All resolvers. Written by the control thread, read by the API.
#[derive(Debug, Default)]
pub struct Board(RwLock<BTreeMap<Arc<str>, Resolver>>);

impl Board {
    /// As it stands now.
    pub fn read(&self) -> BTreeMap<Arc<str>, Resolver> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what stands there of a resolver; true when it is something else now.
    pub(super) fn write(&self, name: &Arc<str>, change: impl FnOnce(&mut Resolver)) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let resolver = all.entry(Arc::clone(name)).or_default();
        let before = resolver.clone();
        change(resolver);
        *resolver != before
    }
}
