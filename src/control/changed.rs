//! Looks after one file: inotify where it works, and a look now and then where it does not (network
//! file systems, single files mounted into a container).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Quiet that must follow a change.
const QUIET: Duration = Duration::from_millis(40);
/// The longest that changes without quiet are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a file that is gone or empty may stay so: an editor may be at work.
const EMPTY: Duration = Duration::from_millis(500);
/// How often it is looked at without news.
const AUDIT: Duration = Duration::from_secs(5);

/// Tells `changed` whenever what the file says has changed, until told to end.
pub async fn follow(path: PathBuf, changed: Arc<Notify>, ending: CancellationToken) {
    // Nothing of it is left half done wherever it ends.
    ending.run_until_cancelled(watch(&path, &changed)).await;
}

async fn watch(path: &Path, changed: &Notify) {
    let news = Arc::new(Notify::new());
    let mut watcher = watcher(&news);
    let mut places = BTreeSet::new();
    let mut known = std::fs::read(path).ok();
    let mut audit = interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if let Some(watcher) = &mut watcher {
            look_at(watcher, &mut places, path);
        }
        tokio::select! {
            () = news.notified() => {
                let burst = async { while timeout(QUIET, news.notified()).await.is_ok() {} };
                // Either way it is time to read.
                drop(timeout(PATIENCE, burst).await);
            }
            _ = audit.tick() => {}
        }
        let mut now = std::fs::read(path).ok();
        if now != known && now.as_ref().is_none_or(Vec::is_empty) {
            sleep(EMPTY).await;
            now = std::fs::read(path).ok();
        }
        if now != known {
            known = now;
            changed.notify_one();
        }
    }
}

fn watcher(news: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let news = Arc::clone(news);
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is what we do ourselves; an error may hide a change.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            news.notify_one();
        }
    });
    made.map_err(|error| tracing::debug!(%error, "files are looked at now and then only")).ok()
}

/// Watches the folders that the file is in, and that a link to it leads to.
fn look_at(watcher: &mut RecommendedWatcher, places: &mut BTreeSet<PathBuf>, path: &Path) {
    let folder = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new(".")).to_owned()
    };
    let target = std::fs::canonicalize(path).ok();
    let now: BTreeSet<_> =
        [Some(folder(path)), target.as_deref().map(folder)].into_iter().flatten().collect();
    for gone in places.difference(&now) {
        // It may be gone from the disk, and from the watcher with it.
        drop(watcher.unwatch(gone));
    }
    let (kept, new): (BTreeSet<_>, BTreeSet<_>) =
        now.into_iter().partition(|place| places.contains(place));
    let seen = |place: &PathBuf| watcher.watch(place, RecursiveMode::NonRecursive).is_ok();
    *places = new.into_iter().filter(seen).chain(kept).collect();
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_is_followed_through_writes_replacements_and_swapped_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("wharf.yml"), name).unwrap();
        }
        std::os::unix::fs::symlink(at("one"), at("data")).unwrap();
        std::os::unix::fs::symlink(at("data/wharf.yml"), at("wharf.yml")).unwrap();
        let (changed, ending) = (Arc::new(Notify::new()), CancellationToken::new());
        let task = tokio::spawn(follow(at("wharf.yml"), Arc::clone(&changed), ending.clone()));
        let next = || timeout(Duration::from_secs(30), changed.notified());

        // It may be before the first look at it: then it is no change.
        while timeout(Duration::from_millis(200), changed.notified()).await.is_err() {
            fs::write(at("one/wharf.yml"), format!("{:?}", std::time::Instant::now())).unwrap();
        }
        fs::write(at("one/new"), "replaced").unwrap();
        fs::rename(at("one/new"), at("one/wharf.yml")).unwrap();
        next().await.unwrap();
        std::os::unix::fs::symlink(at("two"), at("other")).unwrap();
        fs::rename(at("other"), at("data")).unwrap();
        next().await.unwrap();

        ending.cancel();
        task.await.unwrap();
    }
}
