//! Sockets to the engine, with a bound on what may be read from each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Target;

/// What the answers may hold at most.
const LIST_BYTES: usize = 64 << 20;
const INSPECT_BYTES: usize = 4 << 20;
const EVENT_BYTES: usize = 1 << 20;

/// A client for one call: a socket of its own, bounded as that call needs.
pub(super) fn client<B>(
    target: Target,
    bound: Bound,
) -> Client<impl Connect + Clone + Send + Sync + 'static, B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    let connector = tower::service_fn(move |_: Uri| Box::pin(connect(target.clone(), bound)));
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

async fn connect(target: Target, bound: Bound) -> io::Result<TokioIo<Socket>> {
    let stream: Box<dyn Wire> = match target {
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Target::Tcp { authority, tls } => {
            let stream = TcpStream::connect(&*authority).await?;
            stream.set_nodelay(true)?;
            match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let connector = tokio_rustls::TlsConnector::from(tls.config);
                    Box::new(connector.connect(tls.name, stream).await?)
                }
            }
        }
        #[cfg(test)]
        Target::Fake(fake) => Box::new(fake.connect()?),
    };
    Ok(TokioIo::new(Socket { stream, bound }))
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How much may be read from a socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// So much in all.
    All { left: usize },
    /// So much in one line.
    Line { most: usize, seen: usize },
}

impl Bound {
    /// The bound of the call with this path.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/events" => Self::Line { most: EVENT_BYTES, seen: 0 },
            "/containers/json" => Self::All { left: LIST_BYTES },
            _ => Self::All { left: INSPECT_BYTES },
        }
    }

    /// Counts what was read; false when it was too much.
    fn allows(&mut self, read: &[u8]) -> bool {
        match self {
            Self::All { left } => match left.checked_sub(read.len()) {
                Some(rest) => {
                    *left = rest;
                    true
                }
                None => false,
            },
            Self::Line { most, seen } => {
                for line in read.split_inclusive(|byte| *byte == b'\n') {
                    *seen += line.len();
                    if *seen > *most {
                        return false;
                    }
                    if line.ends_with(b"\n") {
                        *seen = 0;
                    }
                }
                true
            }
        }
    }
}

/// A socket whose reads are bounded: an engine, or what poses as one, must not fill memory.
struct Socket {
    stream: Box<dyn Wire>,
    bound: Bound,
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(if self.bound.allows(read) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "the engine's answer is too large"))
        })
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_event_lines_are_bounded() {
        let mut all = Bound::All { left: 5 };
        assert!(all.allows(b"abc"));
        assert!(!all.allows(b"def"));

        let mut line = Bound::Line { most: 4, seen: 0 };
        assert!(line.allows(b"abc\nabc\n"));
        assert!(line.allows(b"abc"));
        assert!(!line.allows(b"de"));
    }
}
