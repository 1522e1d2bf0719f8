//! Runs hyper's HTTP/2 stream tasks on the worker that accepted the connection, and ends
//! those whose client takes nothing.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

/// What even the slowest client takes per second; how much of a frame has gone is not seen.
const SLOWEST: u64 = 1024;

thread_local! {
    /// Of the stream whose task runs now.
    static CURRENT: RefCell<Option<Rc<Taken>>> = const { RefCell::new(None) };
}

/// Whether a client takes what its stream has for it (`security.md` T1): a window that is
/// never opened must not hold a server's connection for ever.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// How long a frame may wait; `None`: nothing waits.
    patience: Cell<Option<Duration>>,
    frames: Cell<u64>,
}

impl Taken {
    /// Of the stream whose task runs now.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// The stream asks for more: all before was taken.
    pub(super) fn asked(&self) {
        self.patience.set(None);
    }

    /// The stream was given a frame. It asks again once the client's window takes more.
    pub(super) fn given(&self, len: usize, stall: Duration) {
        let slow = u64::try_from(len).unwrap_or(u64::MAX) / SLOWEST;
        self.patience.set(Some(stall.saturating_add(Duration::from_secs(slow))));
        self.frames.set(self.frames.get().wrapping_add(1));
    }
}

/// Spawns on the present thread's runtime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Executor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        // Owned by its stream: hyper ends it when the stream is reset or closed.
        drop(tokio::task::spawn_local(watched(future)));
    }
}

/// Runs a stream; dropping it resets it.
async fn watched(stream: impl Future<Output = ()>) {
    let taken = Rc::new(Taken::default());
    let mut stream = pin!(stream);
    let mut limit: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|cx| {
        let before = CURRENT.replace(Some(Rc::clone(&taken)));
        let done = stream.as_mut().poll(cx);
        CURRENT.set(before);
        let Some(patience) = taken.patience.get().filter(|_| done.is_pending()) else {
            limit = None;
            return done;
        };
        let frame = taken.frames.get();
        if limit.as_ref().is_none_or(|(of, _)| *of != frame) {
            limit = Some((frame, Box::pin(tokio::time::sleep(patience))));
        }
        limit.as_mut().map_or(Poll::Pending, |(_, sleep)| sleep.as_mut().poll(cx))
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a stream ends that is given a frame and, perhaps, never asks again.
    async fn ends(asks: bool, within: Duration) -> bool {
        let stream = async move {
            let taken = Taken::current().unwrap();
            taken.given(10, Duration::from_millis(1));
            if asks {
                taken.asked();
            }
            std::future::pending::<()>().await;
        };
        tokio::time::timeout(within, watched(stream)).await.is_ok()
    }

    #[tokio::test]
    async fn sec_t1_a_stream_that_waits_for_its_client_too_long_ends() {
        assert!(ends(false, Duration::from_secs(10)).await);
        assert!(!ends(true, Duration::from_millis(20)).await);
        assert!(Taken::current().is_none());
    }
}
