//! Tells a collector the metrics from time to time, and once more at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::{LAST, LIMIT, Target, Voice, send};
use crate::observe::Metrics;
use crate::settings::GoDuration;

/// For an interval that is none, as in Traefik.
const DEFAULT: Duration = Duration::from_secs(60);

/// Pushes until told to end, then once more. A push that is not taken until the next is due is
/// given up: all values count from the start, so the next one has them as well.
pub async fn run(
    target: Target,
    metrics: Arc<Metrics>,
    every: GoDuration,
    ending: CancellationToken,
) {
    let every = every.positive().unwrap_or(DEFAULT);
    let mut voice = Voice::default();
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ending.cancelled() => break,
            _ = ticks.tick() => {}
        }
        // Dropping a push is safe: the last one has it all. Each gets the time for two answers,
        // however often there are new ones.
        tokio::select! {
            () = ending.cancelled() => break,
            _ = timeout(every.max(LIMIT * 2), push(&target, &metrics, &mut voice)) => {}
        }
    }
    let last = async {
        for part in metrics.pushed() {
            if let Err(failure) = target.send(&part).await {
                return Some(failure.text);
            }
        }
        None
    };
    let fault = timeout(LAST, last).await.unwrap_or_else(|_| Some("no answer in time".to_owned()));
    if let Some(why) = fault {
        tracing::warn!("the last metrics are not taken by {}: {why}", target.url());
    }
}

async fn push(target: &Target, metrics: &Metrics, voice: &mut Voice) {
    for part in metrics.pushed() {
        if !send(target, &part, voice).await {
            return;
        }
    }
}
