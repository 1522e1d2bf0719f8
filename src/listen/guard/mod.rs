//! Between a client's socket and hyper: passes on only whole, sound heads and sound body
//! framing, holds back what must wait, and knows when a connection is idle.

mod answer;
mod chunked;
mod framer;
mod goodbye;
mod head;
mod held;
mod hints;
#[cfg(test)]
mod property;
mod request_line;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::framer::{Framer, Hold};
use self::goodbye::Goodbye;
use self::held::Held;
use self::request_line::Span;
use super::life::{Expiry, Life, Phase, Verdict};
use super::stream::Stream;
use super::sweep::{Lease, Registry};

pub(super) use self::answer::Answer;
pub(super) use self::hints::Hints;

/// Fields that hyper takes without an allocation per request.
pub(super) const LIGHT_FIELDS: usize = 100;
/// Bytes that may wait behind a request for an upgrade.
const VERDICT_LIMIT: usize = 64 * 1024;
/// hyper's interim answer to `Expect: 100-continue`.
const CONTINUE: &[u8] = b"HTTP/1.1 100 ";
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

thread_local! {
    /// Where idle connections read to, so that they need no buffer of their own.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
}

/// What an idle connection got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole head, perhaps one with many fields.
    Head { heavy: bool },
    /// The beginning of HTTP/2.
    Http2,
    /// To be answered and closed.
    Refuse(Answer),
    /// The client left, or the time is up.
    Closed,
}

/// The guarded socket.
pub(super) struct Guarded {
    stream: Stream,
    framer: Framer,
    /// Read and not passed on.
    held: Held,
    /// So many from the front of `held` may pass.
    ready: usize,
    /// `held` was looked at since it last grew.
    looked: bool,
    hold: Hold,
    /// Takes heads with many fields.
    heavy: bool,
    /// Nothing was read yet.
    first: bool,
    goodbye: Option<Box<Goodbye>>,
    hints: Arc<Hints>,
    lease: Lease,
}

impl Guarded {
    pub(super) fn new(stream: Stream, head_limit: usize, hints: Arc<Hints>, lease: Lease) -> Self {
        Self {
            stream,
            framer: Framer::new(head_limit),
            held: Held::default(),
            ready: 0,
            looked: false,
            hold: Hold::Nothing,
            heavy: false,
            first: true,
            goodbye: None,
            hints,
            lease,
        }
    }

    /// Passes everything from now on: HTTP/2 frames itself.
    pub(super) fn open(&mut self) {
        self.framer.open();
        self.ready = self.held.len();
        self.hold = Hold::Nothing;
        self.first = false;
    }

    /// Whether something of a message was left unread, so that closing at once would
    /// reset the connection under the answer.
    pub(super) fn has_unread(&self) -> bool {
        !self.framer.is_between() || !self.held.is_empty()
    }

    /// Waits for the next head while hyper's state does not exist.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let life = self.lease.life();
        life.register(cx.waker());
        self.heavy = true;
        life.refused.set(None);
        let brisk = life.is_recent();
        if life.heavy.replace(false) {
            self.looked = false;
        }
        loop {
            if self.first && !self.held.is_empty() {
                let common = PREFACE.len().min(self.held.len());
                if PREFACE.get(..common) != self.held.get(..common) {
                    self.first = false;
                } else if common == PREFACE.len() {
                    self.open();
                    return Poll::Ready(Next::Http2);
                }
            }
            if !self.first
                && let Some(next) = self.look_for_next()
            {
                life.brisk.set(brisk);
                life.rested.set(false);
                return Poll::Ready(next);
            }
            match life.expired.take() {
                Some(Expiry::Close) => return Poll::Ready(Next::Closed),
                Some(Expiry::Say(answer)) => return Poll::Ready(Next::Refuse(answer)),
                None => {}
            }
            if self.held.is_empty() && life.draining.get() {
                return Poll::Ready(Next::Closed);
            }
            let phase = if self.held.is_empty() { Phase::Idle } else { Phase::Head };
            let waits = life.phase();
            if waits != phase && !(phase == Phase::Idle && waits == Phase::Fresh) {
                life.enter(phase);
            }
            if phase == Phase::Head && held::is_too_much() {
                // Looked at when one of them grows; it may be this one.
                Registry::here().shed_heads();
                if life.expired.get().is_some() {
                    continue;
                }
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Next::Closed),
                Ok(_) => {}
            }
        }
    }

    fn look_for_next(&mut self) -> Option<Next> {
        let heavy = self.look();
        if self.ready > 0 {
            self.lease.life().enter(Phase::Busy);
            self.heavy = heavy;
            return Some(Next::Head { heavy });
        }
        match self.hold {
            Hold::Refused(answer) | Hold::Broken(answer) => Some(Next::Refuse(answer)),
            Hold::Nothing | Hold::Partial | Hold::Verdict | Hold::Heavy => None,
        }
    }

    /// Reads into the worker's scratch and keeps what came.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            self.held.extend(bytes);
            self.looked = false;
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// Judges what is held. Returns whether a head with many fields may pass.
    fn look(&mut self) -> bool {
        if self.looked || self.ready > 0 {
            return false;
        }
        self.looked = true;
        let progress = self.framer.advance(&self.held, self.heavy);
        self.ready = progress.pass;
        self.hold = progress.hold;
        if let Some(target) = progress.odd_target {
            self.escape(target);
        }
        self.note(progress.heads);
        progress.heavy
    }

    /// Escapes a target that may pass; what is behind its head is not looked at yet.
    fn escape(&mut self, target: Span) {
        let Some(odd) = self.held.get(target.start..target.end) else { return };
        let escaped = request_line::escaped(odd);
        self.ready += escaped.len() - odd.len();
        self.held.replace(target.start..target.end, escaped);
        self.looked = false;
    }

    fn note(&self, heads: u64) {
        let life = self.lease.life();
        life.deliver(heads);
        life.between.set(self.framer.is_between());
    }

    fn apply_verdict(&mut self, life: &Life) {
        match life.verdict.replace(Verdict::Open) {
            Verdict::Open => {}
            Verdict::Agreed => {
                self.framer.open();
                self.hold = Hold::Nothing;
                self.looked = false;
                self.goodbye = Some(Box::default());
            }
            Verdict::Refused => {
                self.framer.refuse_upgrade();
                self.hold = Hold::Nothing;
                self.looked = false;
            }
        }
    }

    /// Hands out what is held and may pass.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let len = self.ready.min(buf.remaining());
        let Some(bytes) = self.held.get(..len).filter(|bytes| !bytes.is_empty()) else {
            return false;
        };
        buf.put_slice(bytes);
        self.ready -= len;
        self.held.release(len);
        true
    }

    /// Why nothing may be read now, if so.
    fn is_blocked(&self, life: &Life) -> Option<Poll<io::Result<()>>> {
        match self.hold {
            Hold::Refused(answer) => {
                life.refused.set(Some(answer));
                Some(Poll::Pending)
            }
            Hold::Broken(answer) => {
                life.refused.set(Some(answer));
                life.broken.set(true);
                Some(Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidData))))
            }
            Hold::Heavy => {
                life.heavy.set(true);
                Some(Poll::Pending)
            }
            Hold::Verdict if self.held.len() > VERDICT_LIMIT => Some(Poll::Pending),
            Hold::Nothing | Hold::Partial | Hold::Verdict => None,
        }
    }

    fn poll_read_checked(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        life: &Life,
    ) -> Poll<io::Result<()>> {
        loop {
            self.apply_verdict(life);
            if !self.held.is_empty() {
                self.look();
                if self.hand_out(buf) {
                    return Poll::Ready(Ok(()));
                }
            }
            if let Some(blocked) = self.is_blocked(life) {
                return blocked;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let bytes = buf.filled().get(before..).unwrap_or_default();
            let len = bytes.len();
            if len == 0 {
                return Poll::Ready(Ok(()));
            }
            let pass = if self.held.is_empty() {
                let progress = self.framer.advance(bytes, self.heavy);
                self.hold = progress.hold;
                self.note(progress.heads);
                if let Some(target) = progress.odd_target {
                    self.held.extend(bytes);
                    buf.set_filled(before);
                    self.ready = progress.pass;
                    self.escape(target);
                    continue;
                }
                progress.pass
            } else {
                0
            };
            if pass < len {
                self.looked = self.held.is_empty();
                self.held.extend(bytes.get(pass..).unwrap_or_default());
                buf.set_filled(before + pass);
                if self.hold == Hold::Partial && held::is_too_much() {
                    self.framer.refuse(Answer::FieldsTooLarge);
                    self.looked = false;
                }
            }
            if pass > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let life = this.lease.life();
        let before = buf.filled().len();
        if this.goodbye.is_some()
            && let Some(said) = this.say_goodbye(cx, buf, &life)
        {
            return said;
        }
        let read = this.poll_read_checked(cx, buf, &life);
        life.read_pending.set(read.is_pending());
        if let Some(goodbye) = &mut this.goodbye {
            // The connection's own task has ended; the tunnel's is to be woken now.
            life.register(cx.waker());
            let bytes = buf.filled().get(before..).unwrap_or_default();
            goodbye.client_sent(bytes);
            let (sent, received) = life.tunnel_bytes.get();
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            life.tunnel_bytes.set((sent, received.saturating_add(len)));
        }
        read
    }
}

impl Guarded {
    /// At the end of a drain: a close frame to both sides of a WebSocket, each at a frame
    /// boundary, then the end of the stream.
    fn say_goodbye(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        life: &Life,
    ) -> Option<Poll<io::Result<()>>> {
        let goodbye = self.goodbye.as_mut().filter(|_| life.goodbye.get())?;
        if let Some(frame) = goodbye.for_client() {
            // Five bytes: either the socket takes them at once or the client is stuck.
            let _ = Pin::new(&mut self.stream).poll_write(cx, frame);
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
        if let Some(frame) = goodbye.for_server()
            && buf.remaining() >= frame.len()
        {
            buf.put_slice(frame);
            return Some(Poll::Ready(Ok(())));
        }
        goodbye.is_said().then_some(Poll::Ready(Ok(())))
    }

    fn wrote(&mut self, start: &[u8], written: &Poll<io::Result<usize>>) -> usize {
        let life = self.lease.life();
        life.write_waits(written.is_pending());
        let Poll::Ready(Ok(len)) = written else { return 0 };
        life.unflushed.set(true);
        if !life.answering.get() && !start.starts_with(CONTINUE) {
            life.answering.set(true);
        }
        if self.goodbye.is_some() {
            let (sent, received) = life.tunnel_bytes.get();
            let len = u64::try_from(*len).unwrap_or(u64::MAX);
            life.tunnel_bytes.set((sent.saturating_add(len), received));
        }
        *len
    }

    /// Interim answers go out while the final one has not begun.
    fn poll_hints(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.hints.peek() {
            if self.lease.life().answering.get() {
                self.hints.clear();
                break;
            }
            let len = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes))?;
            self.hints.take(len);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.goodbye.as_ref().is_some_and(|goodbye| goodbye.is_client_told()) {
            // Nothing may follow a close frame.
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(this.poll_hints(cx))?;
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        let len = this.wrote(buf, &written);
        if let Some(goodbye) = &mut this.goodbye {
            goodbye.server_sent(buf.get(..len).unwrap_or_default());
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.goodbye.is_some() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        let this = self.get_mut();
        ready!(this.poll_hints(cx))?;
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(bufs.first().map_or(&[], |buf| buf), &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_hints(cx))?;
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.lease.life().unflushed.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
