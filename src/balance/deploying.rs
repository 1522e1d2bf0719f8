//! Services whose servers are of several generations, looked at each second by the checks.

use std::sync::Arc;

use tokio::time::Instant;

use super::{GenerationState, Service};
use crate::observe::{GenerationCounts, GenerationSeries, Metrics};

/// A service with generations, and what is shown of them.
pub(super) struct Deploying {
    service: Arc<Service>,
    shown: Vec<(Arc<str>, GenerationSeries)>,
}

impl Deploying {
    pub(super) fn new(service: &Arc<Service>, metrics: &Metrics) -> Self {
        let shown = service.generations().into_iter().map(|generation| {
            let series = metrics.generation(&service.name, generation.short());
            (generation.id, series)
        });
        let deploying = Self { shown: shown.collect(), service: Arc::clone(service) };
        deploying.show();
        deploying
    }

    /// Takes the counts now.
    pub(super) fn look(&self, now: Instant) {
        self.service.look_at_generations(now);
        self.show();
    }

    fn show(&self) {
        for generation in self.service.generations() {
            let shown = self.shown.iter().find(|(id, _)| *id == generation.id);
            if let Some((_, series)) = shown {
                series.set(&GenerationCounts {
                    share: generation.share,
                    requests: generation.requests,
                    errors: generation.errors,
                    is_backed_off: generation.state == GenerationState::BackedOff,
                });
            }
        }
    }
}
