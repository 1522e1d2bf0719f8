//! The file provider: routers, middlewares, services, transports and TLS out of YAML and TOML
//! files, followed as they change. One bad field leaves out its own thing; a file that can't
//! be read leaves its last good content in force.

mod decode;
mod files;
mod known;
mod service;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch as latest};
use tokio_util::sync::CancellationToken;

use super::Change;
use crate::problem::{Code, Origin, Problem};
use crate::settings::{self, Settings};

pub use known::options;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// One file.
    File(PathBuf),
    /// Every YAML and TOML file in a folder and its subfolders.
    Folder(PathBuf),
}

impl Source {
    fn new(settings: &settings::File) -> Result<Self, Problem> {
        // As Traefik: the folder wins when both are given.
        match (settings.directory.as_str(), settings.filename.as_str()) {
            ("", "") => Err(Problem::error(
                Code::File,
                Origin::Internal,
                "the file provider has neither a file nor a folder",
            )
            .mend("set providers.file.filename or providers.file.directory")),
            ("", file) => Ok(Self::File(file.into())),
            (folder, _) => Ok(Self::Folder(folder.into())),
        }
    }
}

/// Says what is wrong with the provider as it was set, without reading anything.
pub fn check(settings: &settings::File) -> Result<(), Problem> {
    Source::new(settings).map(drop)
}

/// Reads the files that the settings name at any time, and again whenever they change, until
/// `token` ends it.
pub async fn run(
    mut settings: latest::Receiver<Arc<Settings>>,
    changes: mpsc::Sender<Change>,
    token: CancellationToken,
) {
    let following = async move {
        loop {
            let file = settings.borrow_and_update().providers.file.clone();
            // What is read is read whole, so that it may be dropped anywhere.
            tokio::select! {
                () = follow(file.as_ref(), &changes) => {}
                Ok(_) = settings.wait_for(|now| now.providers.file != file) => {}
            }
        }
    };
    let _: Option<()> = token.run_until_cancelled(following).await;
}

/// Never returns, though there may be nothing to do any more.
async fn follow(settings: Option<&settings::File>, changes: &mpsc::Sender<Change>) {
    if let Some(file) = settings {
        match Source::new(file) {
            Ok(source) => watch::Watch::new(source, changes.clone()).run(file.watch).await,
            Err(problem) => watch::refuse(problem, changes).await,
        }
    }
    std::future::pending::<()>().await;
}
