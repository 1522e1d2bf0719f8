//! A body read whole: its beginning in memory, the rest on disk.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;

use super::Limits;
use super::disk::Disk;
use crate::message::{Body, BodyError, Share};

/// Bytes written to disk, or read from it, at once.
const CHUNK: usize = 64 * 1024;

/// A body that was read whole, and can be sent as often as wanted.
#[derive(Debug)]
pub(super) struct Spooled {
    head: Bytes,
    tail: Option<(Disk, u64)>,
    trailers: Option<HeaderMap>,
}

/// Why a body could not be read whole.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is longer than what is taken.
    TooLarge,
    /// It broke off.
    Peer,
    /// The disk can't be written, and memory is used up.
    NoRoom(io::Error),
}

impl Spooled {
    /// Reads a body within these limits. One that says beforehand that it is too long is
    /// not read at all.
    pub(super) async fn read(mut body: Body, limits: Limits) -> Result<Self, Failure> {
        let most = limits.most.unwrap_or(u64::MAX);
        if http_body::Body::size_hint(&body).lower() > most {
            return Err(Failure::TooLarge);
        }
        let mut spool = Spool::new(limits.memory);
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            match frame.map_err(|_| Failure::Peer)?.into_data() {
                Ok(bytes) => {
                    if spool.len().saturating_add(bytes.len() as u64) > most {
                        return Err(Failure::TooLarge);
                    }
                    spool.push(bytes).await.map_err(Failure::NoRoom)?;
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let (head, tail) = spool.finish().await.map_err(Failure::NoRoom)?;
        Ok(Self { head, tail, trailers })
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.head.len() as u64 + self.tail.as_ref().map_or(0, |(_, length)| *length)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    #[cfg(test)]
    pub(super) fn in_memory(&self) -> usize {
        self.head.len()
    }

    /// A body to send.
    pub(super) fn body(&self) -> Body {
        if self.tail.is_none() && self.trailers.is_none() {
            return self.head.clone().into();
        }
        Body::boxed(Replay {
            head: self.head.clone(),
            tail: self.tail.clone().map(|(disk, length)| Tail {
                disk,
                at: 0,
                length,
                reading: None,
            }),
            trailers: self.trailers.clone(),
        })
    }
}

/// A body while it is read.
struct Spool {
    memory: usize,
    share: Share,
    head: BytesMut,
    disk: Option<Disk>,
    /// Where the file ends.
    written: u64,
    /// What is to be written next.
    chunk: BytesMut,
}

impl Spool {
    fn new(memory: u64) -> Self {
        Self {
            memory: usize::try_from(memory).unwrap_or(usize::MAX),
            share: Share::default(),
            head: BytesMut::new(),
            disk: None,
            written: 0,
            chunk: BytesMut::new(),
        }
    }

    fn len(&self) -> u64 {
        self.written + (self.head.len() + self.chunk.len()) as u64
    }

    async fn push(&mut self, mut bytes: Bytes) -> io::Result<()> {
        if self.disk.is_none() {
            let room = self.memory.saturating_sub(self.head.len()).min(bytes.len());
            if self.share.grow(room) {
                self.head.extend_from_slice(&bytes.split_to(room));
            }
            if bytes.is_empty() {
                return Ok(());
            }
            match Disk::open().await {
                Ok(disk) => self.disk = Some(disk),
                Err(error) => return self.squeeze(&bytes, error),
            }
        }
        self.chunk.extend_from_slice(&bytes);
        if self.chunk.len() >= CHUNK { self.write().await } else { Ok(()) }
    }

    /// There is no disk: what memory was not meant for goes there all the same.
    fn squeeze(&mut self, bytes: &Bytes, error: io::Error) -> io::Result<()> {
        if !self.share.grow(bytes.len()) {
            return Err(error);
        }
        tracing::debug!(%error, "buffering: no temporary file, going on in memory");
        self.memory = usize::MAX;
        self.head.extend_from_slice(bytes);
        Ok(())
    }

    async fn write(&mut self) -> io::Result<()> {
        let chunk = self.chunk.split().freeze();
        let length = chunk.len() as u64;
        if let Some(disk) = &self.disk {
            disk.write(chunk, self.written).await?;
        }
        self.written += length;
        Ok(())
    }

    async fn finish(mut self) -> io::Result<(Bytes, Option<(Disk, u64)>)> {
        if !self.chunk.is_empty() {
            self.write().await?;
        }
        let head = self.share.hold(self.head.freeze());
        Ok((head, self.disk.map(|disk| (disk, self.written))))
    }
}

/// A spooled body on its way.
struct Replay {
    head: Bytes,
    tail: Option<Tail>,
    trailers: Option<HeaderMap>,
}

struct Tail {
    disk: Disk,
    at: u64,
    length: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Tail {
    fn left(&self) -> u64 {
        self.length.saturating_sub(self.at)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let bytes = usize::try_from(self.left()).unwrap_or(CHUNK).min(CHUNK);
        let reading = self.reading.get_or_insert_with(|| self.disk.read(bytes, self.at));
        let read = std::task::ready!(Pin::new(reading).poll(cx))??;
        self.reading = None;
        self.at = self.at.saturating_add(read.len() as u64);
        Poll::Ready(Ok(read))
    }
}

impl http_body::Body for Replay {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.head.has_remaining() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.head)))));
        }
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.left() > 0) {
            let read = std::task::ready!(tail.poll(cx));
            return Poll::Ready(Some(read.map(Frame::data).map_err(BodyError::Io)));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        !self.head.has_remaining()
            && self.trailers.is_none()
            && self.tail.as_ref().is_none_or(|tail| tail.left() == 0)
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.head.len() as u64 + self.tail.as_ref().map_or(0, Tail::left);
        if self.trailers.is_none() {
            return SizeHint::with_exact(left);
        }
        // A length that is said leaves no place for trailers.
        let mut hint = SizeHint::new();
        hint.set_lower(left);
        hint
    }
}
