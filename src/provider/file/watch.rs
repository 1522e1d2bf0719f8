//! Following the files: inotify where it works, and a look at the times where it does not
//! (network file systems, single files mounted into a container).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::time;

use super::Source;
use super::files::Files;
use crate::model::{Desired, Provider};
use crate::problem::Problem;
use crate::provider::Change;

/// Quiet that must follow a change before the files are read.
const QUIET: Duration = Duration::from_millis(40);
/// The longest that changes without quiet are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a file that became empty may stay so before that is believed.
const EMPTY: Duration = Duration::from_millis(500);
/// How often times are looked at.
const AUDIT: Duration = Duration::from_secs(5);

/// Tells that there is nothing to read, and why.
pub(super) async fn refuse(problem: Problem, changes: &mpsc::Sender<Change>) {
    tracing::error!("{problem}");
    let desired = Desired { problems: vec![problem], ..Desired::default() };
    // A closed channel means that everything is ending.
    drop(changes.send(Change::Desired(Provider::File, Arc::new(desired))).await);
}

/// The watcher.
pub(super) struct Watch {
    files: Files,
    changes: mpsc::Sender<Change>,
    news: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    places: BTreeSet<PathBuf>,
}

impl Watch {
    pub(super) fn new(source: Source, changes: mpsc::Sender<Change>) -> Self {
        Self {
            files: Files::new(source),
            changes,
            news: Arc::default(),
            watcher: None,
            places: BTreeSet::new(),
        }
    }

    /// Reads once, then follows if that is asked for.
    pub(super) async fn run(mut self, follow: bool) {
        if follow {
            self.watcher = self.watcher();
        }
        self.files.read();
        self.publish().await;
        if !follow {
            return;
        }
        let mut audit = time::interval(AUDIT);
        audit.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            self.look_at_places();
            tokio::select! {
                () = self.news.notified() => self.settle().await,
                _ = audit.tick() => {
                    if !self.files.is_stale() {
                        continue;
                    }
                }
                () = self.changes.closed() => return,
            }
            if self.files.is_suspect() {
                // Truncated, not written yet: an editor at work.
                time::sleep(EMPTY).await;
            }
            if self.files.read() {
                self.publish().await;
            }
        }
    }

    fn watcher(&self) -> Option<RecommendedWatcher> {
        let news = Arc::clone(&self.news);
        let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is what we do ourselves; an error may hide a change.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                news.notify_one();
            }
        });
        match made {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!("files are looked at every {AUDIT:?} only: {error}");
                None
            }
        }
    }

    /// Watches the folders that there are now.
    fn look_at_places(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let places = self.files.places();
        for gone in self.places.difference(&places) {
            // It may be gone from the disk, and from the watcher with it.
            drop(watcher.unwatch(gone));
        }
        let mut seen = BTreeSet::new();
        for place in places {
            // A file that was replaced is another inode, so it is watched again; the audit
            // sees what can't be watched.
            let is_known = self.places.contains(&place) && place.is_dir();
            if is_known || watcher.watch(&place, RecursiveMode::NonRecursive).is_ok() {
                seen.insert(place);
            }
        }
        self.places = seen;
    }

    /// Waits until a burst is over.
    async fn settle(&self) {
        let burst = async { while time::timeout(QUIET, self.news.notified()).await.is_ok() {} };
        // Either way it is time to read.
        drop(time::timeout(PATIENCE, burst).await);
    }

    async fn publish(&mut self) {
        let desired = self.files.desired();
        for problem in &desired.problems {
            tracing::debug!("{problem}");
        }
        drop(self.changes.send(Change::Desired(Provider::File, Arc::new(desired))).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn next(changes: &mut mpsc::Receiver<Change>) -> Vec<String> {
        let change = time::timeout(Duration::from_secs(10), changes.recv()).await;
        let Ok(Some(Change::Desired(Provider::File, desired))) = change else {
            panic!("{change:?}")
        };
        desired.routers.values().map(|item| item.value.rule.clone()).collect()
    }

    #[tokio::test]
    async fn files_are_followed_through_writes_replacements_and_swapped_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let text = |rule: &str| format!("http:\n  routers:\n    web:\n      rule: {rule}\n");
        fs::create_dir_all(at("one")).unwrap();
        fs::create_dir_all(at("two")).unwrap();
        fs::write(at("one/dynamic.yml"), text("first")).unwrap();
        std::os::unix::fs::symlink("one", at("data")).unwrap();
        std::os::unix::fs::symlink("data/dynamic.yml", at("dynamic.yml")).unwrap();
        let (sender, mut changes) = mpsc::channel(8);
        let source = Source::File(at("dynamic.yml"));
        let watch = tokio::spawn(Watch::new(source, sender).run(true));
        assert_eq!(next(&mut changes).await, ["first"]);

        fs::write(at("one/dynamic.yml"), text("written")).unwrap();
        assert_eq!(next(&mut changes).await, ["written"]);

        fs::write(at("one/.dynamic.swp"), text("renamed")).unwrap();
        fs::rename(at("one/.dynamic.swp"), at("one/dynamic.yml")).unwrap();
        assert_eq!(next(&mut changes).await, ["renamed"]);

        fs::write(at("two/dynamic.yml"), text("swapped")).unwrap();
        std::os::unix::fs::symlink("two", at("data.new")).unwrap();
        fs::rename(at("data.new"), at("data")).unwrap();
        assert_eq!(next(&mut changes).await, ["swapped"]);

        drop(changes);
        watch.await.unwrap();
    }
}
