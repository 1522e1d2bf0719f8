//! Looks after one file: inotify where it works, and a look now and then where it does not (network
//! file systems, single files mounted into a container).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::aside::aside;

/// So long must a file that has changed stay as it is: who writes it may be slow, and half of
/// what is written may be read without a mistake.
const STILL: Duration = Duration::from_secs(1);
/// Between news and a look: others may write into its folder all the time.
const BURST: Duration = Duration::from_millis(200);
/// How often it is looked at without news.
const AUDIT: Duration = Duration::from_secs(5);

/// What was seen of the file; `default`: it is gone, can't be read, or is no regular file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Device and inode.
    identity: (u64, u64),
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    text: Option<Vec<u8>>,
}

/// Tells `changed` whenever what the file says has changed, until told to end.
pub async fn follow(path: PathBuf, changed: Arc<Notify>, ending: CancellationToken) {
    // Nothing of it is left half done wherever it ends.
    ending.run_until_cancelled(watch(&path, &changed)).await;
}

async fn watch(path: &Path, changed: &Notify) {
    let news = Arc::new(Notify::new());
    let mut watcher = watcher(&news);
    let mut places = BTreeSet::new();
    let mut known = look(path).await.text;
    let mut audit = interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if let Some(watcher) = &mut watcher {
            look_at(watcher, &mut places, folders(path).await);
        }
        tokio::select! {
            () = news.notified() => sleep(BURST).await,
            _ = audit.tick() => {}
        }
        if let Some(now) = settled(known.as_deref(), || look(path)).await {
            known = now.text;
            changed.notify_one();
        }
    }
}

/// Waits for the file to stay as it is; `None`: then it says what it said.
async fn settled<F: Future<Output = Seen>>(
    known: Option<&[u8]>,
    mut look: impl FnMut() -> F,
) -> Option<Seen> {
    let mut now = look().await;
    while now.text.as_deref() != known {
        sleep(STILL).await;
        let again = look().await;
        if again == now {
            return Some(now);
        }
        now = again;
    }
    None
}

/// Reads it. On a file system that hangs this hangs, and nothing else.
async fn look(path: &Path) -> Seen {
    let path = path.to_owned();
    aside(move || read(&path).unwrap_or_default()).await.unwrap_or_default()
}

fn read(path: &Path) -> std::io::Result<Seen> {
    let found = fs::metadata(path)?;
    // To open a pipe is to wait for who writes to it.
    let text = if found.is_file() { Some(fs::read(path)?) } else { None };
    let identity = (found.dev(), found.ino());
    Ok(Seen { identity, modified: (found.mtime(), found.mtime_nsec()), text })
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

/// The folders that the file is in, and that a link to it leads to. By their true names: a folder
/// that is watched by two is no longer watched when one of them goes.
async fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let path = path.to_owned();
    let found = aside(move || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.unwrap_or(Path::new("."))).ok();
        let target = fs::canonicalize(&path).ok();
        let target = target.as_deref().and_then(Path::parent).map(Path::to_owned);
        [folder, target].into_iter().flatten().collect()
    });
    found.await.unwrap_or_default()
}

/// Watches these places and no others.
fn look_at(
    watcher: &mut RecommendedWatcher,
    places: &mut BTreeSet<PathBuf>,
    now: BTreeSet<PathBuf>,
) {
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
    use tokio::time::timeout;

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
        while timeout(3 * STILL, changed.notified()).await.is_err() {
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

    #[tokio::test(start_paused = true)]
    async fn what_is_still_written_is_waited_for() {
        let start = tokio::time::Instant::now();
        // A line each 0.9 s, ten of them.
        let look = || async move {
            let lines = (start.elapsed().as_millis() / 900).min(10);
            Seen {
                text: Some("#".repeat(lines.try_into().unwrap()).into_bytes()),
                ..Seen::default()
            }
        };

        let seen = settled(None, look).await.unwrap();

        assert_eq!(seen.text.unwrap().len(), 10);
        let back = || async { Seen { text: Some(Vec::new()), ..Seen::default() } };
        assert_eq!(settled(Some(&[]), back).await, None);
    }

    #[tokio::test]
    async fn a_pipe_in_its_place_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wharf.yml");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());

        assert_eq!(look(&path).await.text, None);
        assert_eq!(look(&folder.path().join("none")).await, Seen::default());
    }
}
