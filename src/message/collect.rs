//! A body read whole into memory, up to a limit, so that it can be sent more than once.
//! All such bodies together are bounded, too.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;

use super::held::Share;
use super::{Body, BodyError};

/// A body that was read whole. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Its data.
    pub data: Bytes,
    /// Its trailers, if any came.
    pub trailers: Option<HeaderMap>,
}

/// What came of reading a body.
#[derive(Debug)]
pub enum Collecting {
    /// All of it.
    Whole(Collected),
    /// It is longer than the limit, or than what all held bodies may still take: what was read, in front of what was not.
    TooLong(Body),
}

impl Collected {
    /// Reads a body of at most `limit` bytes; `None` is no limit. One that says beforehand
    /// that it is longer is not read at all.
    pub async fn read(mut body: Body, limit: Option<u64>) -> Result<Collecting, BodyError> {
        let limit = limit.unwrap_or(u64::MAX);
        let hint = http_body::Body::size_hint(&body);
        if hint.lower() > limit {
            return Ok(Collecting::TooLong(body));
        }
        let mut whole = Self::default();
        let mut data = Data::default();
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(bytes) => {
                    let has_room = data.push(bytes);
                    if data.len() > limit || !has_room {
                        return Ok(Collecting::TooLong(body.after(data.finish())));
                    }
                }
                Err(frame) => whole.trailers = frame.into_trailers().ok(),
            }
        }
        whole.data = data.finish();
        Ok(Collecting::Whole(whole))
    }

    /// A body to send, as long as this one and with its trailers.
    pub fn body(&self) -> Body {
        let Some(trailers) = self.trailers.clone() else { return self.data.clone().into() };
        let frames = [Ok(Frame::data(self.data.clone())), Ok(Frame::trailers(trailers))];
        Body::boxed(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }
}

/// Most that is read of an answer nobody wants.
const DISCARDED: u64 = 64 * 1024;
/// And for how long.
const PATIENCE: Duration = Duration::from_millis(100);

/// Reads the rest of an answer that nobody wants, so that its connection can be used again;
/// one that is long or slow is cut, and its connection closed.
pub async fn discard(mut body: Body) {
    if http_body::Body::size_hint(&body).lower() > DISCARDED {
        return;
    }
    let mut read = 0;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len) as u64;
            if read > DISCARDED {
                return;
            }
        }
    };
    // Both may be dropped at any point: what was read is lost anyway.
    let _ = tokio::time::timeout(PATIENCE, rest).await;
}

/// Frames put together; a single one is not copied.
#[derive(Default)]
struct Data {
    first: Bytes,
    rest: BytesMut,
    share: Share,
}

impl Data {
    /// Takes these bytes in; false when all held bodies together have no room for them.
    fn push(&mut self, bytes: Bytes) -> bool {
        let has_room = self.share.grow(bytes.len());
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = bytes;
            return has_room;
        }
        if self.rest.is_empty() {
            self.rest.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.rest.extend_from_slice(&bytes);
        has_room
    }

    fn len(&self) -> u64 {
        (self.first.len() + self.rest.len()) as u64
    }

    fn finish(self) -> Bytes {
        let bytes = if self.rest.is_empty() { self.first } else { self.rest.freeze() };
        self.share.hold(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(parts: &[&'static str], trailer: Option<&'static str>) -> Body {
        let mut frames: Vec<Result<Frame<Bytes>, BodyError>> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))).collect();
        if let Some(value) = trailer {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", value.parse().unwrap());
            frames.push(Ok(Frame::trailers(trailers)));
        }
        Body::boxed(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }

    async fn all(body: Body) -> (Bytes, Option<HeaderMap>) {
        let whole = body.collect().await.unwrap();
        let trailers = whole.trailers().cloned();
        (whole.to_bytes(), trailers)
    }

    #[tokio::test]
    async fn a_body_within_the_limit_can_be_sent_as_often_as_wanted() {
        for (parts, trailer) in
            [(&[][..], None), (&["abc"], None), (&["ab", "c"], Some("t")), (&[], Some("t"))]
        {
            let Ok(Collecting::Whole(whole)) =
                Collected::read(frames(parts, trailer), Some(3)).await
            else {
                panic!("{parts:?}")
            };
            for _ in 0..2 {
                let (data, trailers) = all(whole.body()).await;
                assert_eq!(data, parts.concat());
                assert_eq!(
                    trailers.map(|t| t["x-end"].clone()),
                    trailer.map(|t| t.parse().unwrap())
                );
            }
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_passed_on_whole() {
        for body in [Body::from("abcd"), frames(&["ab", "cd", "ef"], Some("t"))] {
            let Ok(Collecting::TooLong(body)) = Collected::read(body, Some(3)).await else {
                panic!("read")
            };
            assert!(all(body).await.0.starts_with(b"abcd"));
        }
        let body = frames(&["ab", "cd", "ef"], Some("t"));
        let Ok(Collecting::TooLong(body)) = Collected::read(body, Some(3)).await else {
            panic!("read")
        };
        let (data, trailers) = all(body).await;
        assert_eq!(data, "abcdef");
        assert!(trailers.is_some());
    }

    #[tokio::test]
    async fn sec_a5_an_unwanted_answer_is_read_a_little_and_never_to_no_end() {
        let polled = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = std::rc::Rc::clone(&polled);
        let endless = futures_util::stream::iter(std::iter::repeat_with(move || {
            counted.set(counted.get() + 1);
            Ok(Frame::data(Bytes::from_static(&[0; 1024])))
        }));
        discard(Body::boxed(http_body_util::StreamBody::new(endless))).await;
        assert_eq!(polled.get(), 65);

        let silent = futures_util::stream::pending();
        discard(Body::boxed(http_body_util::StreamBody::new(silent))).await;
    }
}
