//! Metrics, access log, Wharf's own log. Must never block or allocate per request beyond
//! the log line itself.

mod access_log;
mod exposition;
mod fields;
mod history;
pub mod log;
mod metrics;
mod process;
mod rotate;
mod series;
mod servers;
mod traces;

pub use access_log::{AccessLog, Captured, Line};
pub use exposition::Exposition;
pub use history::{History, Point, SPAN as HISTORY_SECONDS};
pub use metrics::{Gauge, Metrics, Requests, Sample};
pub use servers::{ServerState, Waits};
pub use traces::{environment_problems, traces, traces_resource};
