//! Metrics, access log, Wharf's own log. Must never block or allocate per request beyond
//! the log line itself.

mod access_log;
mod conventions;
mod exposition;
mod fields;
mod generations;
mod history;
mod kept;
mod labels;
pub mod log;
mod metrics;
mod process;
mod push;
mod rotate;
mod series;
mod servers;
mod traces;
mod view;

pub use access_log::{AccessLog, Captured, Line, Tally};
pub use conventions::Took;
pub use exposition::Exposition;
pub use generations::{GenerationCounts, GenerationSeries};
pub use history::{History, Point, SPAN as HISTORY_SECONDS};
pub use metrics::{Gauge, Metrics, Requests, Sample};
pub use servers::{ServerState, Waits};
pub use traces::{environment_problems, resource, traces, traces_resource};
