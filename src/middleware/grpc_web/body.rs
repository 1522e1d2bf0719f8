//! Bodies on their way between gRPC-Web and gRPC.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use super::Form;
use crate::message::{Body, BodyError};

/// Marks the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// A body in base64, decoded. It may be several texts one after the other, each padded.
pub(super) struct Decoded {
    body: Body,
    /// Up to three letters that wait for the rest of four.
    rest: BytesMut,
    is_malformed: Rc<Cell<bool>>,
}

impl Decoded {
    pub(super) fn new(body: Body, is_malformed: Rc<Cell<bool>>) -> Self {
        Self { body, rest: BytesMut::new(), is_malformed }
    }

    /// What can be decoded by now.
    fn decode(&mut self, data: &[u8]) -> Result<Bytes, BodyError> {
        self.rest.extend(data.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        let whole = self.rest.split_to(self.rest.len() / 4 * 4);
        let mut out = Vec::with_capacity(whole.len() / 4 * 3);
        let mut texts = &whole[..];
        while !texts.is_empty() {
            // Up to and with the four letters that hold padding.
            let end = texts.iter().position(|byte| *byte == b'=').unwrap_or(texts.len() - 1);
            let (text, after) = texts.split_at(((end / 4 + 1) * 4).min(texts.len()));
            STANDARD.decode_vec(text, &mut out).map_err(|_| self.malformed())?;
            texts = after;
        }
        Ok(out.into())
    }

    fn malformed(&self) -> BodyError {
        self.is_malformed.set(true);
        BodyError::Io(io::Error::new(io::ErrorKind::InvalidData, "gRPC-Web text is no base64"))
    }
}

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else {
                if std::mem::take(&mut this.rest).is_empty() {
                    return Poll::Ready(None);
                }
                return Poll::Ready(Some(Err(this.malformed())));
            };
            let frame = match frame?.into_data() {
                Ok(data) => {
                    let data = this.decode(&data)?;
                    if data.is_empty() {
                        continue;
                    }
                    Frame::data(data)
                }
                Err(trailers) => trailers,
            };
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && http_body::Body::is_end_stream(&self.body)
    }
}

/// A gRPC answer's body as gRPC-Web has it: the trailers as a last frame.
pub(super) struct Answer {
    body: Body,
    form: Form,
    has_ended: bool,
}

impl Answer {
    pub(super) fn new(body: Body, form: Form) -> Self {
        Self { body, form, has_ended: false }
    }

    /// Each piece on its own, padded, so that none waits for the next.
    fn written(&self, data: Bytes) -> Frame<Bytes> {
        Frame::data(match self.form {
            Form::Bytes => data,
            Form::Base64 => STANDARD.encode(data).into(),
        })
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        let trailers = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            None => HeaderMap::new(),
            Some(frame) => match frame?.into_data() {
                Ok(data) => return Poll::Ready(Some(Ok(this.written(data)))),
                Err(frame) => frame.into_trailers().unwrap_or_default(),
            },
        };
        this.has_ended = true;
        Poll::Ready(Some(Ok(this.written(last_frame(&trailers)))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

/// Trailers as the last frame: a mark, the length, and lines as in a head.
fn last_frame(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        lines.put_slice(name.as_str().as_bytes());
        lines.put_slice(b": ");
        lines.put_slice(value.as_bytes());
        lines.put_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(lines.len() + 5);
    frame.put_u8(TRAILERS);
    frame.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    frame.put(lines);
    frame.freeze()
}
