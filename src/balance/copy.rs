//! A request's body, kept as it goes by, and what is done with it once it went by whole and
//! the request was answered.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::mirror::Traffic;
use crate::message::{Body, BodyError, Collected};

/// Sends the copies.
type Send = Box<dyn FnOnce(Kept)>;

/// A copy in the making. Dropped before [`Copy::answered`], nothing comes of it.
pub(super) struct Copy(Rc<Making>);

struct Making {
    send: Cell<Option<Send>>,
    is_answered: Cell<bool>,
    is_whole: Cell<bool>,
    kept: RefCell<Option<Keeping>>,
}

/// What was kept so far.
struct Keeping {
    data: BytesMut,
    trailers: Option<http::HeaderMap>,
    limit: Option<u64>,
    held: Held,
}

/// A body that was kept whole; its place is free when the last clone is gone.
#[derive(Clone, Default)]
pub(super) struct Kept {
    body: Collected,
    _held: Option<Rc<Held>>,
}

/// Bytes taken of what may be kept at once.
struct Held {
    bytes: usize,
    traffic: Arc<Traffic>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.traffic.forget(self.bytes);
    }
}

impl Kept {
    /// A body to send.
    pub(super) fn body(&self) -> Body {
        self.body.body()
    }
}

impl Copy {
    /// A copy of a request without a body.
    pub(super) fn without_body(send: Send) -> Self {
        Self(Rc::new(Making {
            send: Cell::new(Some(send)),
            is_answered: Cell::new(false),
            is_whole: Cell::new(true),
            kept: RefCell::new(None),
        }))
    }

    /// A copy that comes with the body; and the body to pass on, which makes it.
    pub(super) fn of(
        body: Body,
        limit: Option<u64>,
        traffic: &Arc<Traffic>,
        send: Send,
    ) -> (Body, Self) {
        let held = Held { bytes: 0, traffic: Arc::clone(traffic) };
        let keeping = Keeping { data: BytesMut::new(), trailers: None, limit, held };
        let making = Rc::new(Making {
            send: Cell::new(Some(send)),
            is_answered: Cell::new(false),
            is_whole: Cell::new(false),
            kept: RefCell::new(Some(keeping)),
        });
        let body = Body::boxed(Tee { body, making: Rc::clone(&making) });
        (body, Self(making))
    }

    /// The request was answered: the copies may go, as soon as the body went by whole.
    pub(super) fn answered(self) {
        self.0.is_answered.set(true);
        self.0.settle();
    }
}

impl Making {
    fn push(&self, bytes: &Bytes) {
        let mut kept = self.kept.borrow_mut();
        if kept.as_mut().is_some_and(|keeping| !keeping.push(bytes)) {
            *kept = None;
            self.send.take();
        }
    }

    fn trailers(&self, trailers: &http::HeaderMap) {
        if let Some(keeping) = &mut *self.kept.borrow_mut() {
            keeping.trailers = Some(trailers.clone());
        }
    }

    fn finished(&self) {
        self.is_whole.set(true);
        self.settle();
    }

    fn settle(&self) {
        if !self.is_answered.get() || !self.is_whole.get() {
            return;
        }
        if let Some(send) = self.send.take() {
            send(self.kept.take().map(Keeping::finish).unwrap_or_default());
        }
    }
}

impl Keeping {
    /// Copied, since a frame may hold a far larger buffer. False: it is too much.
    fn push(&mut self, bytes: &Bytes) -> bool {
        let length = (self.data.len() + bytes.len()) as u64;
        if self.limit.is_some_and(|limit| length > limit) || !self.held.traffic.keep(bytes.len()) {
            return false;
        }
        self.held.bytes += bytes.len();
        self.data.extend_from_slice(bytes);
        true
    }

    fn finish(self) -> Kept {
        let body = Collected { data: self.data.freeze(), trailers: self.trailers };
        Kept { body, _held: Some(Rc::new(self.held)) }
    }
}

/// Passes a body on and keeps what goes by.
struct Tee {
    body: Body,
    making: Rc<Making>,
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending => {}
            Poll::Ready(None) => self.making.finished(),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.making.push(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    self.making.trailers(trailers);
                    self.making.finished();
                }
            }
            Poll::Ready(Some(Err(_))) => {
                self.making.send.take();
            }
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

impl Drop for Tee {
    fn drop(&mut self) {
        // hyper does not ask for the end of a body that says it has ended.
        if http_body::Body::is_end_stream(&self.body) {
            self.making.finished();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// What is sent of a body of these frames, whose length nobody knows beforehand.
    async fn copied(frames: &[&'static str], limit: u64) -> Option<String> {
        let frames: Vec<_> = frames
            .iter()
            .map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
            .collect();
        let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        let arrived = Rc::new(RefCell::new(None));
        let to = Rc::clone(&arrived);
        let send = Box::new(move |kept: Kept| *to.borrow_mut() = Some(kept.body.data));
        let traffic = Traffic::new(&Arc::default());
        let (body, copy) = Copy::of(body, Some(limit), &traffic, send);

        copy.answered();
        assert!(arrived.borrow().is_none(), "sent before the body was read");
        body.collect().await.unwrap();

        let data = arrived.take()?;
        Some(String::from_utf8(data.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_body_is_copied_as_it_goes_by_unless_it_turns_out_too_long() {
        assert_eq!(copied(&["ab", "cd"], 4).await.as_deref(), Some("abcd"));
        assert_eq!(copied(&["ab", "cde"], 4).await, None);
        assert_eq!(copied(&[], 0).await.as_deref(), Some(""));
    }
}
