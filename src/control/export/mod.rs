//! Sends what waits in the queues to collectors. A collector that is slow or gone costs what
//! the queues drop, and never a request.

mod metrics;
mod target;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::otlp::Queued;

pub use metrics::run as push;
use target::Failure;
pub use target::Target;

/// Between two looks into the queue.
const LOOK: Duration = Duration::from_millis(250);
/// Bytes of one request, before they are packed.
const PORTION: usize = 1 << 20;
/// For one request and its answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Before the second try; doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After that what was not taken is dropped, and counted.
const GIVE_UP: Duration = Duration::from_secs(60);
/// For what still waits when the process ends.
const LAST: Duration = Duration::from_secs(3);

/// Sends what comes, until told to end; then what is left, for a few seconds at most.
pub async fn run(target: Target, queued: Queued, ending: CancellationToken) {
    let mut voice = Voice::default();
    while !ending.is_cancelled() {
        tokio::select! {
            () = ending.cancelled() => {}
            () = sleep(LOOK) => {}
        }
        while let Some((items, count)) = queued.take(PORTION) {
            // Dropping a try is safe: a collector that got it twice has it twice.
            tokio::select! {
                sent = send(&target, &items, &mut voice) => if !sent {
                    queued.lost(count);
                },
                () = ending.cancelled() => {
                    last(&target, &queued, (items, count)).await;
                    return;
                }
            }
        }
    }
}

/// What is left at the end, tried once.
async fn last(target: &Target, queued: &Queued, first: (Vec<u8>, u32)) {
    let until = Instant::now() + LAST;
    let mut next = Some(first);
    while let Some((items, count)) = next {
        let left = until.saturating_duration_since(Instant::now());
        if !matches!(timeout(left, target.send(&items)).await, Ok(Ok(()))) {
            queued.lost(count);
        }
        next = queued.take(PORTION);
    }
}

/// Sends items until they were taken; gives up after a minute, or when told that it is no use.
pub(super) async fn send(target: &Target, items: &[u8], voice: &mut Voice) -> bool {
    let started = Instant::now();
    let mut pause = PAUSE;
    loop {
        let failure = match timeout(LIMIT, target.send(items)).await {
            Ok(Ok(())) => {
                voice.sent(target);
                return true;
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                // The collector's machine may be gone, of which the connection knows nothing.
                target.reconnect();
                Failure::again("no answer in time")
            }
        };
        voice.failed(target, &failure);
        let pause_now = failure.pause.unwrap_or(pause).min(LONGEST_PAUSE);
        if !failure.is_worth_another || started.elapsed() + pause_now > GIVE_UP {
            return false;
        }
        sleep(pause_now).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Says once that a collector does not take what it is sent, and once that it does again.
#[derive(Debug, Default)]
pub(super) struct Voice {
    is_failing: bool,
}

impl Voice {
    fn failed(&mut self, target: &Target, failure: &Failure) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let (signal, collector) = (target.signal().as_str(), target.url());
            tracing::error!(
                "OpenTelemetry {signal} are not taken by {collector}: {}; what does not fit is \
                 dropped until they are",
                failure.text
            );
        }
    }

    fn sent(&mut self, target: &Target) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("OpenTelemetry {} are taken again", target.signal().as_str());
        }
    }
}
