//! The Docker engine: which containers there are, and what becomes of them. One list at the
//! start and after each reconnect, then at most one inspect for a container that changed, and
//! only so many in a storm of changes.

mod early;
mod endpoint;
mod engine;
mod event;
#[cfg(test)]
mod fake;
mod images;
mod inspect;
mod known;
mod rate;
mod removed;
mod session;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, watch as latest};
use tokio_util::sync::CancellationToken;

use self::endpoint::Endpoint;
use super::{Change, EngineState};
use crate::model::{Desired, Provider};
use crate::problem::Problem;
use crate::settings::{self, Settings};

pub use images::{Image, look};

/// Says what is wrong with the way to the engine as it was set, without trying it.
pub fn check(settings: &settings::Docker) -> Result<(), Problem> {
    endpoint(settings).map(drop)
}

/// Watches the engine until `token` ends it, as the settings say at any time. Sends the desired
/// state when the first list is in, then at each change; a lost engine leaves the last state
/// standing.
pub async fn run(
    settings: latest::Receiver<Arc<Settings>>,
    changes: mpsc::Sender<Change>,
    token: CancellationToken,
) {
    token.run_until_cancelled(follow(settings, changes)).await;
}

async fn follow(mut settings: latest::Receiver<Arc<Settings>>, changes: mpsc::Sender<Change>) {
    loop {
        let now = Arc::clone(&settings.borrow_and_update());
        if let Some(docker) = &now.providers.docker {
            match endpoint(docker) {
                Ok(endpoint) => {
                    let (changes, settings) = (changes.clone(), settings.clone());
                    let watch = watch::Watch::new(endpoint, docker, &now.wharf, changes, settings);
                    // It is large, and there is but one.
                    Box::pin(watch.run()).await;
                }
                Err(problem) => {
                    tracing::error!("{problem}");
                    refuse(problem, &changes).await;
                }
            }
        }
        // The sender is there as long as anything is.
        if settings.changed().await.is_err() {
            return;
        }
    }
}

fn endpoint(settings: &settings::Docker) -> Result<Endpoint, Problem> {
    Endpoint::parse(settings, std::env::var("DOCKER_HOST").ok().as_deref())
}

/// Tells that there is no way to an engine, and why.
async fn refuse(problem: Problem, changes: &mpsc::Sender<Change>) {
    let state = EngineState {
        error: Some(problem.text.to_string()),
        since: Some(SystemTime::now()),
        ..EngineState::default()
    };
    let desired = Desired { problems: vec![problem], ..Desired::default() };
    // A closed channel means that everything is ending.
    drop(changes.send(Change::Engine(state)).await);
    drop(changes.send(Change::Desired(Provider::Docker, Arc::new(desired))).await);
}
