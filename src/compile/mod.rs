//! Desired state and the previous table to a new table. Must never fail as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::message::{EntryPoint, Handler};
use crate::model::Desired;
use crate::observe::Metrics;
use crate::settings::Settings;
use crate::table::Table;

/// What compiling needs besides the desired state; made once at start.
pub struct Context {
    /// The static configuration.
    pub settings: Arc<Settings>,
    /// Entry points in table order.
    pub entry_points: Arc<[Arc<EntryPoint>]>,
    /// Where handles come from.
    pub metrics: Arc<Metrics>,
    /// Internal services by full name: `api@internal`; those that are off are absent.
    pub internal: BTreeMap<String, Arc<dyn Handler>>,
}

/// Compiles what is sound, and says what is not. Live cells (replicas, health, counters)
/// of things whose settings did not change are carried over from `previous`.
pub fn compile(_cx: &Context, _desired: &Arc<Desired>, _previous: &Table) -> Table {
    todo!()
}
