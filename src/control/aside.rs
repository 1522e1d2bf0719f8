//! Work that may hang, in a thread of its own.

use std::thread;

use tokio::sync::oneshot;

/// Does it; `None`: there can be no thread. Safe to drop. A runtime waits for its own blocking
/// threads when it ends, and would so for ever for a file system that does not answer.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let work = move || drop(done.send(work()));
    thread::Builder::new().name("aside".to_owned()).spawn(work).ok()?;
    result.await.ok()
}
