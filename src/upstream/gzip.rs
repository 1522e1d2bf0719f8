//! Gzip that the proxy asked for itself, as Go's transport does, and undoes again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::codecs::{DecodeV2, GzipDecoder};
use async_compression::core::util::{PartialBuffer, WriteBuffer};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, RANGE};
use http::{HeaderValue, Method, Request, Response};
use http_body::Frame;

use crate::message::{Body, BodyError};

/// Decoded at a time, so that a small body cannot unfold into a large buffer.
const CHUNK: usize = 64 << 10;

/// Asks for gzip where the client left the choice open. True if so: the answer must then
/// go through [`decode`].
pub fn ask(request: &mut Request<Body>) -> bool {
    let headers = request.headers();
    // As Go: a range is one of the encoded bytes, and HEAD has nothing to decode.
    if headers.get(ACCEPT_ENCODING).is_some_and(|value| !value.is_empty())
        || headers.contains_key(RANGE)
        || request.method() == Method::HEAD
    {
        return false;
    }
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    true
}

/// Decodes an answer that is gzip because of [`ask`].
pub fn decode(response: Response<Body>) -> Response<Body> {
    let is_gzip = response
        .headers()
        .get(CONTENT_ENCODING)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
    if !is_gzip || http_body::Body::is_end_stream(response.body()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.remove(CONTENT_ENCODING);
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::boxed(Decoded::new(body)))
}

struct Decoded {
    body: Body,
    decoder: Box<GzipDecoder>,
    input: Bytes,
    state: State,
    /// The last step filled its space, so the decoder may hold back more.
    is_holding: bool,
}

#[derive(PartialEq, Eq)]
enum State {
    /// Between members: gzip may be several, one after the other.
    Between,
    Within,
    Ended,
}

impl Decoded {
    fn new(body: Body) -> Self {
        let decoder = Box::new(GzipDecoder::new());
        Self { body, decoder, input: Bytes::new(), state: State::Within, is_holding: false }
    }

    /// Decodes some of the input; `None`: it takes more of it.
    fn step(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.state == State::Between && !self.input.is_empty() {
            self.decoder.reinit()?;
            self.state = State::Within;
        }
        let mut space = vec![0; CHUNK.min(self.input.len().saturating_mul(4).max(1024))];
        let mut input = PartialBuffer::new(&*self.input);
        let mut output = WriteBuffer::new_initialized(&mut space);
        let ended = if self.input.is_empty() {
            self.decoder.flush(&mut output)?;
            false
        } else {
            self.decoder.decode(&mut input, &mut output)?
        };
        let (used, made) = (input.written_len(), output.written_len());
        self.is_holding = output.has_no_spare_space() && !ended;
        let _ = self.input.split_to(used);
        if ended {
            self.state = State::Between;
        }
        space.truncate(made);
        Ok((made > 0).then(|| Bytes::from(space)))
    }
}

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if this.state == State::Ended {
                return Poll::Ready(None);
            }
            while !this.input.is_empty() || this.is_holding {
                if let Some(data) = this.step()? {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.input = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if this.state == State::Within => {
                    return Poll::Ready(Some(Err(BodyError::Limit("gzip ended in the middle"))));
                }
                None => this.state = State::Ended,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// `gzip -9 -n` of "hello hello hello hello\n".
    const HELLO: &[u8] = &[
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9,
        0x57, 0xc8, 0x40, 0x27, 0xb9, 0x00, 0x00, 0x88, 0x59, 0x0b, 0x18, 0x00, 0x00, 0x00,
    ];

    fn answer(parts: Vec<Bytes>) -> Response<Body> {
        let frames = parts.into_iter().map(|part| Ok(Frame::data(part)));
        let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("29"));
        response
    }

    #[test]
    fn gzip_is_asked_for_only_where_the_client_left_it_open() {
        for (method, field, asked) in [
            ("GET", None, true),
            ("POST", None, true),
            ("HEAD", None, false),
            ("GET", Some(("accept-encoding", "br")), false),
            ("GET", Some(("accept-encoding", "")), true),
            ("GET", Some(("range", "bytes=0-1")), false),
        ] {
            let mut request = Request::builder().method(method);
            if let Some((name, value)) = field {
                request = request.header(name, value);
            }

            assert_eq!(ask(&mut request.body(Body::empty()).unwrap()), asked, "{method} {field:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_in_gzip_is_decoded_however_it_is_cut() {
        for size in [1, 7, HELLO.len()] {
            let parts = HELLO.chunks(size).map(Bytes::copy_from_slice).collect();

            let decoded = decode(answer(parts));

            assert!(decoded.headers().is_empty());
            let text = decoded.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, "hello hello hello hello\n");
        }
    }

    #[tokio::test]
    async fn an_answer_cut_short_fails() {
        let cut = Bytes::from_static(HELLO.split_at(20).0);

        assert!(decode(answer(vec![cut])).into_body().collect().await.is_err());
    }
}
