//! Message bodies: nothing, bytes, a stream from a peer, or anything else boxed.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer or its protocol.
    #[error("body: {0}")]
    Peer(#[from] hyper::Error),
    /// A limit or time-out of ours.
    #[error("body: {0}")]
    Limit(&'static str),
    /// An encoder or decoder.
    #[error("body: {0}")]
    Io(#[from] std::io::Error),
}

type Boxed = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>;

/// A message body. Lives and dies on one worker, so it need not be `Send`.
#[derive(Default)]
pub struct Body {
    kind: Kind,
    /// Told what goes by, and dropped when the body ended or was dropped, whichever comes
    /// first. A service and an entry point both watch, so two need no further box.
    guards: [Option<Box<dyn Watch>>; 2],
}

/// Watches a body on its way out.
pub trait Watch {
    /// So many bytes of data went by.
    fn data(&mut self, bytes: usize);
    /// Trailers went by.
    fn trailers(&mut self, trailers: &http::HeaderMap);
    /// The body failed; it is dropped next.
    fn failed(&mut self, error: &BodyError);
    /// The body was passed on to its end; it is dropped next. Not called when it was cut.
    fn finished(&mut self);
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Option<Bytes>),
    Incoming(Incoming),
    Boxed(Boxed),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Any other body.
    pub fn boxed(body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self { kind: Kind::Boxed(Box::pin(body)), guards: [None, None] }
    }

    /// Has `watch` see what goes by, after those that watch already.
    #[must_use]
    pub fn watched(mut self, watch: Box<dyn Watch>) -> Self {
        match &mut self.guards {
            [first @ None, _] => *first = Some(watch),
            [_, second @ None] => *second = Some(watch),
            [Some(_), Some(_)] => {
                return Self { kind: Kind::Boxed(Box::pin(self)), guards: [Some(watch), None] };
            }
        }
        self
    }

    /// The same body with these bytes in front of it.
    #[must_use]
    pub fn after(self, read: Bytes) -> Self {
        if read.is_empty() { self } else { Self::boxed(After { read: Some(read), rest: self }) }
    }

    /// The same body; `edit` sees its trailers before anyone else does.
    #[must_use]
    pub fn with_trailers(self, edit: impl Fn(&mut http::HeaderMap) + Unpin + 'static) -> Self {
        match self.kind {
            Kind::Empty | Kind::Full(_) => self,
            Kind::Incoming(_) | Kind::Boxed(_) => Self::boxed(Edited { body: self, edit }),
        }
    }

    fn tell(&mut self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        for guard in &mut self.guards {
            let Some(watch) = guard else { continue };
            match frame {
                None => watch.finished(),
                Some(Err(error)) => watch.failed(error),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        watch.data(data.len());
                        continue;
                    }
                    if let Some(trailers) = frame.trailers_ref() {
                        watch.trailers(trailers);
                    }
                    // Nothing may follow trailers, and hyper does not ask any more.
                    watch.finished();
                }
            }
            *guard = None;
        }
    }
}

/// What was read of a body, in front of what was not.
struct After {
    read: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for After {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(read) = self.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.as_ref().map_or(0, |read| read.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// A body whose trailers are edited.
struct Edited<F> {
    body: Body,
    edit: F,
}

impl<F: Fn(&mut http::HeaderMap) + Unpin> http_body::Body for Edited<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            (self.edit)(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // hyper does not ask for the end of a body that says it has ended.
        if self.guards.iter().any(Option::is_some) && http_body::Body::is_end_stream(self) {
            self.tell(None);
        }
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        let kind =
            if http_body::Body::is_end_stream(&body) { Kind::Empty } else { Kind::Incoming(body) };
        Self { kind, guards: [None, None] }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let kind = if bytes.is_empty() { Kind::Empty } else { Kind::Full(Some(bytes)) };
        Self { kind, guards: [None, None] }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match &mut this.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Incoming(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(BodyError::Peer)))
            }
            Kind::Boxed(body) => body.as_mut().poll_frame(cx),
        };
        if let Poll::Ready(frame) = &frame {
            this.tell(frame.as_ref());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Incoming(body) => body.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "Empty",
            Kind::Full(_) => "Full",
            Kind::Incoming(_) => "Incoming",
            Kind::Boxed(_) => "Boxed",
        };
        f.debug_struct("Body").field("kind", &kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    struct Noting(&'static str, Rc<RefCell<Vec<String>>>);

    impl Noting {
        fn note(&self, what: &str) {
            self.1.borrow_mut().push(format!("{} {what}", self.0));
        }
    }

    impl Watch for Noting {
        fn data(&mut self, bytes: usize) {
            self.note(&format!("data {bytes}"));
        }
        fn trailers(&mut self, _trailers: &http::HeaderMap) {
            self.note("trailers");
        }
        fn failed(&mut self, _error: &BodyError) {
            self.note("failed");
        }
        fn finished(&mut self) {
            self.note("finished");
        }
    }

    impl Drop for Noting {
        fn drop(&mut self) {
            self.note("dropped");
        }
    }

    fn watch(body: Body, names: &[&'static str]) -> (Body, Rc<RefCell<Vec<String>>>) {
        let notes = Rc::default();
        let body = names
            .iter()
            .fold(body, |body, name| body.watched(Box::new(Noting(name, Rc::clone(&notes)))));
        (body, notes)
    }

    #[tokio::test]
    async fn every_watch_sees_what_goes_by_and_the_end() {
        let (mut body, notes) = watch(Body::from("abc"), &["a", "b", "c"]);

        while body.frame().await.is_some() {}
        drop(body);

        let mut seen = notes.borrow().clone();
        seen.sort();
        let mut wanted: Vec<String> = ["a", "b", "c"]
            .iter()
            .flat_map(|name| ["data 3", "dropped", "finished"].map(|what| format!("{name} {what}")))
            .collect();
        wanted.sort();
        assert_eq!(seen, wanted);
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_at_its_end_has_finished() {
        let (mut body, notes) = watch(Body::from("abc"), &["a"]);

        body.frame().await.unwrap().unwrap();
        drop(body);
        let (empty, empty_notes) = watch(Body::empty(), &["e"]);
        drop(empty);

        assert_eq!(*notes.borrow(), ["a data 3", "a finished", "a dropped"]);
        assert_eq!(*empty_notes.borrow(), ["e finished", "e dropped"]);
    }

    #[tokio::test]
    async fn a_body_that_is_cut_has_not_finished() {
        let (body, notes) = watch(Body::from("abc"), &["a"]);

        drop(body);

        assert_eq!(*notes.borrow(), ["a dropped"]);
    }

    #[tokio::test]
    async fn trailers_are_the_end() {
        let frames = [Ok(Frame::trailers(http::HeaderMap::new()))];
        let stream = StreamBody::new(futures_util::stream::iter(frames));
        let (mut body, notes) = watch(Body::boxed(stream), &["a"]);

        body.frame().await.unwrap().unwrap();

        assert_eq!(*notes.borrow(), ["a trailers", "a finished", "a dropped"]);
    }
}
