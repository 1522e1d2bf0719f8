//! A body that one try after another may send, as long as none has taken of it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Body, BodyError};

/// Owns a body and lends it.
#[derive(Debug)]
pub struct Lender(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    body: RefCell<Body>,
    was_taken: Cell<bool>,
}

impl Lender {
    /// Takes the body to lend.
    pub fn new(body: Body) -> Self {
        Self(Rc::new(Shared { body: RefCell::new(body), was_taken: Cell::new(false) }))
    }

    /// Nothing was taken of it yet: the next borrower sees all of it.
    pub fn is_whole(&self) -> bool {
        !self.0.was_taken.get()
    }

    /// The body for one try. The one before must have been dropped.
    pub fn lend(&self) -> Body {
        Body::boxed(Lent(Rc::clone(&self.0)))
    }
}

struct Lent(Rc<Shared>);

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut *self.0.body.borrow_mut()).poll_frame(cx);
        if frame.is_ready() {
            self.0.was_taken.set(true);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.borrow().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_can_be_lent_until_something_was_taken_of_it() {
        let lender = Lender::new(Body::from("abc"));
        drop(lender.lend());
        let second = lender.lend();
        assert_eq!(http_body::Body::size_hint(&second).exact(), Some(3));
        assert!(lender.is_whole());

        let whole = second.collect().await.unwrap().to_bytes();

        assert_eq!(whole, "abc");
        assert!(!lender.is_whole());
    }
}
