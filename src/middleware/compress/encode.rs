//! A body that is compressed on its way. Memory is bounded by the encoder's window; what
//! came in goes out as soon as nothing more is there, so that streams stay streams.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;

use super::Coding;
use crate::message::{Body, BodyError};

/// Bytes that are passed on without waiting for more.
const ENOUGH: usize = 16 * 1024;
/// Bytes that are read at one go before other connections have their turn.
const TURN: usize = 256 * 1024;

/// Traefik's levels cost two to three times as much for a few percent.
const GZIP_LEVEL: u32 = 5;
const BROTLI_QUALITY: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// 512 KiB: an encoder takes a few times its window, per answer under way.
const WINDOW_LOG: u32 = 19;

/// A compressed body.
pub(super) struct Encoded {
    inner: Body,
    /// `None` once the last byte is out of it.
    encoder: Option<Encoder>,
    /// Something is in the encoder that has not come out.
    holds: bool,
    trailers: Option<Frame<Bytes>>,
}

impl Encoded {
    /// Compresses a body of this length. Gives it back when no encoder can be made.
    pub(super) fn new(coding: Coding, inner: Body, length: Option<u64>) -> Result<Self, Body> {
        match Encoder::new(coding, length) {
            Ok(encoder) => Ok(Self { inner, encoder: Some(encoder), holds: false, trailers: None }),
            Err(_) => Err(inner),
        }
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(encoder) = self.encoder.take() else {
            return Poll::Ready(self.trailers.take().map(Ok));
        };
        match encoder.finish() {
            Ok(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

impl http_body::Body for Encoded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut read = 0;
        while let Some(encoder) = &mut this.encoder {
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return this.finish(),
                Poll::Pending if this.holds => {
                    this.holds = false;
                    encoder.flush()?;
                    return Poll::Ready(Some(Ok(Frame::data(encoder.take()))));
                }
                Poll::Pending => return Poll::Pending,
            };
            match frame.into_data() {
                Ok(data) => {
                    encoder.write(&data)?;
                    this.holds |= !data.is_empty();
                    read += data.len();
                }
                Err(trailers) => {
                    this.trailers = Some(trailers);
                    return this.finish();
                }
            }
            if encoder.waiting() >= ENOUGH {
                return Poll::Ready(Some(Ok(Frame::data(encoder.take()))));
            }
            if read >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        this.finish()
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

/// One of the encoders, writing into memory.
enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding, length: Option<u64>) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
            Coding::Brotli => {
                // The buffer between our writes and the encoder.
                const BUFFER: usize = 4096;
                let writer = CompressorWriter::new(Vec::new(), BUFFER, BROTLI_QUALITY, WINDOW_LOG);
                Self::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW_LOG)?;
                // Short answers then need less memory than the window.
                encoder.set_pledged_src_size(length)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.writer().write_all(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }

    /// How much came out and was not taken.
    fn waiting(&mut self) -> usize {
        self.out().len()
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(self.out()).into()
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}
