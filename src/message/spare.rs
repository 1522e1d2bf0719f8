//! A request, kept so that it can be sent again: its head, and what was read of its body so
//! far as long as that is little.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Frame, SizeHint};

use super::held::Share;
use super::{Body, BodyError, Kept};

/// Most that is kept of a body.
const MOST: usize = 64 << 10;

/// A request that can be sent again.
#[derive(Debug)]
pub struct Spare {
    head: Kept,
    body: Option<Rc<Tape>>,
}

/// A body that is read once and can be had again from its beginning.
#[derive(Debug)]
struct Tape {
    source: RefCell<Body>,
    /// What was read of it; `None`: it is no longer kept.
    kept: RefCell<Option<Read>>,
    /// Counts those who read it: only the last one may.
    readers: Cell<u32>,
}

#[derive(Debug, Default)]
struct Read {
    pieces: Vec<Piece>,
    bytes: usize,
    share: Share,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Piece {
    fn of(frame: &Frame<Bytes>) -> Option<Self> {
        let data = frame.data_ref().map(|data| Self::Data(data.clone()));
        data.or_else(|| frame.trailers_ref().map(|trailers| Self::Trailers(trailers.clone())))
    }

    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }
}

impl Spare {
    /// Keeps a request, whose body is kept from now on as it goes by.
    pub fn of(request: &mut Request<Body>) -> Self {
        let body = (!http_body::Body::is_end_stream(request.body())).then(|| {
            let tape = Rc::new(Tape {
                source: RefCell::new(std::mem::take(request.body_mut())),
                kept: RefCell::new(Some(Read::default())),
                readers: Cell::new(0),
            });
            *request.body_mut() = tape.play();
            tape
        });
        Self { head: Kept::of(request), body }
    }

    /// The body is so long that nothing would be kept of it once it goes by.
    pub fn is_too_long(body: &Body) -> bool {
        http_body::Body::size_hint(body).lower() > MOST as u64
    }

    /// The request again; `None` when more of its body went by than is kept. What was made
    /// before must not be sent any more.
    pub fn request(&self) -> Option<Request<Body>> {
        let body = match &self.body {
            None => Body::empty(),
            Some(_) if !self.is_whole() => return None,
            Some(tape) => tape.play(),
        };
        Some(self.head.request(body))
    }

    /// It may reach a server twice (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.head.method().is_idempotent()
    }

    /// All of it can be had again.
    pub fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(|tape| tape.kept.borrow().is_some())
    }

    /// Nobody will ask for it again: what was kept of the body is let go of.
    pub fn release(&self) {
        if let Some(tape) = &self.body {
            *tape.kept.borrow_mut() = None;
        }
    }
}

impl Tape {
    fn play(self: &Rc<Self>) -> Body {
        let reader = self.readers.get().wrapping_add(1);
        self.readers.set(reader);
        Body::boxed(Player { tape: Rc::clone(self), reader, at: 0 })
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        let mut kept = self.kept.borrow_mut();
        let Some(read) = kept.as_mut() else { return };
        let Some(piece) = Piece::of(frame) else { return };
        let bytes = piece.bytes();
        read.bytes += bytes;
        read.pieces.push(piece);
        // Many small pieces would cost more than what is in them.
        let is_small = read.bytes <= MOST && read.pieces.len() <= MOST / 256;
        if !is_small || !read.share.grow(bytes) {
            *kept = None;
        }
    }

    /// What was kept from that piece on; `None` when it is to be read from the source.
    fn again(&self, at: usize) -> Option<Frame<Bytes>> {
        let kept = self.kept.borrow();
        Some(kept.as_ref()?.pieces.get(at)?.frame())
    }

    fn left(&self, at: usize) -> u64 {
        let kept = self.kept.borrow();
        let pieces = kept.as_ref().map_or(&[][..], |read| read.pieces.get(at..).unwrap_or(&[]));
        pieces.iter().map(|piece| piece.bytes() as u64).sum()
    }
}

/// One reading of a body.
struct Player {
    tape: Rc<Tape>,
    reader: u32,
    /// Pieces that were read.
    at: usize,
}

impl http_body::Body for Player {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // A connection that failed may still hold the body that it was given.
        if self.tape.readers.get() != self.reader {
            return Poll::Ready(Some(Err(BodyError::Limit("sent to another server"))));
        }
        if let Some(frame) = self.tape.again(self.at) {
            self.at += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = Pin::new(&mut *self.tape.source.borrow_mut()).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.tape.keep(frame);
            self.at += 1;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let is_played = self.tape.kept.borrow().as_ref().is_none_or(|r| r.pieces.len() <= self.at);
        is_played && self.tape.source.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.tape.left(self.at);
        let rest = self.tape.source.borrow().size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(left));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(left)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn streamed(pieces: Vec<Bytes>) -> Body {
        let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
        Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
    }

    fn spare(body: Body) -> (Spare, Body) {
        let mut request = Request::put("/a").body(body).unwrap();
        let spare = Spare::of(&mut request);
        (spare, request.into_body())
    }

    async fn text(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn what_was_read_and_what_was_not_make_the_whole_again() {
        for read in 0..=3 {
            let pieces = ["ab", "c", "def"].map(|text| Bytes::from_static(text.as_bytes()));
            let (spare, mut body) = spare(streamed(pieces.to_vec()));
            for _ in 0..read {
                body.frame().await.unwrap().unwrap();
            }

            let second = spare.request().unwrap();
            let third = spare.request().unwrap();

            assert!(second.into_body().collect().await.is_err(), "only the last may read");
            assert_eq!(text(third.into_body()).await, "abcdef", "{read}");
            assert_eq!(text(spare.request().unwrap().into_body()).await, "abcdef");
        }
    }

    #[tokio::test]
    async fn a_known_length_stays_known() {
        let (spare, body) = spare(Body::from("abc"));
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
        text(body).await;

        let again = spare.request().unwrap();

        assert_eq!(http_body::Body::size_hint(again.body()).exact(), Some(3));
        assert!(!http_body::Body::is_end_stream(again.body()));
    }

    #[tokio::test]
    async fn sec_more_than_64_kib_and_many_small_pieces_are_not_kept() {
        let half = Bytes::from(vec![b'x'; MOST / 2]);
        let tiny = Bytes::from_static(b"x");
        for (pieces, is_kept) in [
            (vec![half.clone(), half.clone()], true),
            (vec![half.clone(), half.clone(), tiny.clone()], false),
            (vec![tiny.clone(); 257], false),
            (vec![tiny; 256], true),
        ] {
            let whole: usize = pieces.iter().map(Bytes::len).sum();
            let (spare, body) = spare(streamed(pieces));
            assert!(spare.request().is_some(), "nothing was read of it yet");
            drop(body);
            let body = spare.request().unwrap().into_body();

            assert_eq!(text(body).await.len(), whole);
            assert_eq!(spare.request().is_some(), is_kept, "{whole}");
        }
    }

    #[tokio::test]
    async fn what_is_released_is_gone() {
        let (spare, body) = spare(Body::from("abc"));
        spare.release();

        assert_eq!(text(body).await, "abc");
        assert!(spare.request().is_none());
    }
}
