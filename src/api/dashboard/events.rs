//! The event stream that tells open pages to look again. It carries no content: a page
//! that hears of a change fetches itself anew, so there is one way to render.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::api::{Sources, answer};
use crate::message::{Body, BodyError};

/// Streams at once; each is an open connection and costs a page per second.
const MOST: usize = 64;

/// Counts open streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchers(Arc<AtomicUsize>);

/// One open stream; gives its place back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watchers {
    fn place(&self) -> Option<Place> {
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < MOST).then_some(open + 1)
            })
            .is_ok();
        taken.then(|| Place(Arc::clone(&self.0)))
    }
}

/// How often events go out.
#[derive(Clone, Copy)]
struct Pace {
    /// Figures move this often while somebody watches.
    tick: Duration,
    /// A storm of changes is told at this pace.
    pause: Duration,
}

const PACE: Pace = Pace { tick: Duration::from_secs(1), pause: Duration::from_millis(100) };

struct State {
    pace: Pace,
    changes: watch::Receiver<u64>,
    terminating: CancellationToken,
    /// When the last event went out.
    last: Option<Instant>,
    _place: Place,
}

/// The stream; 503 when too many are open.
pub(super) fn answer(sources: &Sources, watchers: &Watchers) -> Response<Body> {
    let Some(place) = watchers.place() else {
        let mut response = answer::empty(StatusCode::SERVICE_UNAVAILABLE);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    };
    let state = State {
        pace: PACE,
        changes: sources.published.subscribe(),
        terminating: sources.terminating.clone(),
        last: None,
        _place: place,
    };
    let frames = StreamBody::new(events(state));
    let mut response = Response::new(Body::boxed(frames));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx in front of Wharf would hold the events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// One event per change or second. The stream is asked for the next event only when the
/// last one was written, so a slow reader skips what it missed and gets the newest.
fn events(state: State) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> {
    stream::unfold(state, |mut state| async move {
        let event = match state.last {
            None => "retry: 2000\nevent: hello\ndata: 0\n\n".to_owned(),
            Some(last) => next(&mut state, last).await?,
        };
        state.last = Some(Instant::now());
        Some((Ok(Frame::data(Bytes::from(event))), state))
    })
}

/// `None` ends the stream: the process stops, or nobody publishes any more.
async fn next(state: &mut State, last: Instant) -> Option<String> {
    let terminating = state.terminating.clone();
    tokio::select! {
        biased;
        () = terminating.cancelled() => return None,
        () = sleep_until(last + state.pace.pause) => {}
    }
    tokio::select! {
        biased;
        () = terminating.cancelled() => None,
        changed = state.changes.changed() => {
            changed.ok()?;
            let count = *state.changes.borrow_and_update();
            Some(format!("event: change\ndata: {count}\n\n"))
        }
        () = sleep_until(last + state.pace.tick) => Some("event: tick\ndata: 0\n\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;

    use super::*;
    use crate::table::Published;

    const AT_ONCE: Pace = Pace { tick: Duration::ZERO, pause: Duration::ZERO };

    fn state(published: &Published, terminating: &CancellationToken) -> State {
        State {
            pace: AT_ONCE,
            changes: published.subscribe(),
            terminating: terminating.clone(),
            last: None,
            _place: Watchers::default().place().unwrap(),
        }
    }

    async fn text(
        stream: &mut (impl Stream<Item = Result<Frame<Bytes>, BodyError>> + Unpin),
    ) -> Option<String> {
        let frame = stream.next().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_storm_of_changes_is_told_once_with_the_newest() {
        let published = Published::default();
        let mut stream = pin!(events(state(&published, &CancellationToken::new())));
        assert!(text(&mut stream).await.unwrap().contains("event: hello"));
        for _ in 0..50 {
            published.touch();
        }

        assert_eq!(text(&mut stream).await.unwrap(), "event: change\ndata: 50\n\n");
        assert_eq!(text(&mut stream).await.unwrap(), "event: tick\ndata: 0\n\n");
    }

    #[tokio::test]
    async fn a_stop_ends_the_stream() {
        let published = Published::default();
        let terminating = CancellationToken::new();
        let mut stream = pin!(events(state(&published, &terminating)));
        text(&mut stream).await.unwrap();
        terminating.cancel();

        assert_eq!(text(&mut stream).await, None);
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let watchers = Watchers::default();
        let places: Vec<_> = std::iter::from_fn(|| watchers.place()).collect();
        assert_eq!(places.len(), MOST);

        drop(places);

        assert!(watchers.place().is_some());
    }
}
