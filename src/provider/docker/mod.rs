//! The Docker engine: which containers there are, and what becomes of them. One list at the
//! start and after each reconnect, then at most one inspect for a container that changed.

mod endpoint;
mod engine;
mod event;
mod images;
mod inspect;
mod known;
mod removed;
mod session;
mod watch;
mod wire;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::endpoint::Endpoint;
use super::Change;
use crate::problem::Problem;
use crate::settings::{self, Settings};

pub use images::{Image, look};

/// Says what is wrong with the way to the engine as it was set, without trying it.
pub fn check(settings: &settings::Docker) -> Result<(), Problem> {
    endpoint(settings).map(drop)
}

/// Watches the engine until `token` ends it. Sends the desired state when the first list is
/// in, then at each change; a lost engine leaves the last state standing.
pub async fn run(settings: Arc<Settings>, changes: mpsc::Sender<Change>, token: CancellationToken) {
    let Some(docker) = &settings.providers.docker else { return };
    match endpoint(docker) {
        Ok(endpoint) => {
            let watch = watch::Watch::new(endpoint, docker, &settings.wharf, changes);
            token.run_until_cancelled(watch.run()).await;
        }
        Err(problem) => {
            tracing::error!("{problem}");
            watch::refuse(problem, &changes).await;
        }
    }
}

fn endpoint(settings: &settings::Docker) -> Result<Endpoint, Problem> {
    Endpoint::parse(settings, std::env::var("DOCKER_HOST").ok().as_deref())
}
