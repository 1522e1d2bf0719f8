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
    /// Called when the body ended or was dropped, whichever comes first.
    guard: Option<Box<dyn Watch>>,
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
        Self { kind: Kind::Boxed(Box::pin(body)), guard: None }
    }

    /// Has `watch` see what goes by. A second one is put around the first.
    #[must_use]
    pub fn watched(mut self, watch: Box<dyn Watch>) -> Self {
        if self.guard.is_some() {
            return Self { kind: Kind::Boxed(Box::pin(self)), guard: Some(watch) };
        }
        self.guard = Some(watch);
        self
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        let kind =
            if http_body::Body::is_end_stream(&body) { Kind::Empty } else { Kind::Incoming(body) };
        Self { kind, guard: None }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let kind = if bytes.is_empty() { Kind::Empty } else { Kind::Full(Some(bytes)) };
        Self { kind, guard: None }
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
        if let (Some(watch), Poll::Ready(frame)) = (&mut this.guard, &frame) {
            match frame {
                None => watch.finished(),
                Some(Err(error)) => watch.failed(error),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        watch.data(data.len());
                    } else if let Some(trailers) = frame.trailers_ref() {
                        watch.trailers(trailers);
                    }
                }
            }
            if !matches!(frame, Some(Ok(_))) {
                this.guard = None;
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        // A watched body must be polled to its end, or `finished` would never be called.
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
