//! A connection that is read on after writing to it failed: a server that answers before the
//! end of a request and closes at once resets the connection behind its answer, which lies in
//! our socket then. hyper gives up at the first write that fails.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hears out a server that takes nothing any more.
pub(super) struct Heard<S> {
    stream: S,
    /// How writing failed. What is written after that goes nowhere.
    failed: Option<ErrorKind>,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, failed: None }
    }

    /// A write that failed takes all that it was given.
    fn pretend<T>(&mut self, done: Poll<io::Result<T>>, all: T) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(Err(error)) => {
                self.failed = Some(error.kind());
                Poll::Ready(Ok(all))
            }
            Poll::Ready(Ok(done)) => Poll::Ready(Ok(done)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        // The system has told of the failure already, and says that this is the end: it may
        // be the middle of an answer.
        let is_end = matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before;
        match this.failed.filter(|_| is_end) {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.failed.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.pretend(written, buf.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if this.failed.is_some() {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.pretend(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.failed.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.pretend(flushed, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.failed.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A socket after a reset: writes fail, and what had come before can be read.
    struct Reset(&'static [u8]);

    impl AsyncRead for Reset {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(std::mem::take(&mut self.get_mut().0));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Reset {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(ErrorKind::NotConnected.into()))
        }
    }

    #[tokio::test]
    async fn what_a_server_said_before_it_closed_is_heard_and_then_the_failure() {
        let mut heard = Heard::new(Reset(b"answer"));
        let mut answer = [0; 6];

        heard.write_all(b"request").await.unwrap();
        heard.flush().await.unwrap();
        heard.shutdown().await.unwrap();
        heard.read_exact(&mut answer).await.unwrap();
        let end = heard.read(&mut answer).await;

        assert_eq!(&answer, b"answer");
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn the_end_of_a_connection_that_takes_all_is_no_failure() {
        let mut heard = Heard::new(Reset(b""));

        assert_eq!(heard.read(&mut [0; 6]).await.unwrap(), 0);
    }
}
