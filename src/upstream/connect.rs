//! New connections to servers.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Cause;
use super::heard::Heard;
use super::pool::Shared;
use super::server::{Place, Scheme, Server};
use crate::message::Body;

/// As Go's transport, which has no setting for it in Traefik.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// So long a connection may take while another server is ready: the system tries a second time
/// after one.
const HESITATION: Duration = Duration::from_secs(2);

/// Heads larger than this are refused; the same bound as for clients.
const MAX_HEAD: usize = 1 << 20;
const MAX_FIELDS: usize = 512;

/// HTTP/2 flow-control windows.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection that was just made.
pub(super) enum Fresh {
    Http1(http1::SendRequest<Body>),
    Http2(Rc<Shared>),
}

/// Connects, shakes hands, and starts the connection's driver on this worker.
pub(super) async fn connect(server: &Server, http1_only: bool) -> Result<Fresh, Cause> {
    let limit = server.transport.settings().dial_timeout;
    if let Some(identity) = server.transport.identity().filter(|_| server.tls_name.is_some()) {
        within(limit, async {
            identity.ready().await;
            Ok(())
        })
        .await?;
    }
    let stream = tokio::select! {
        dialed = within(limit, dial(&server.place)) => dialed?,
        () = server.pool.cut.wait() => {
            return Err(unreachable(io::ErrorKind::NetworkUnreachable.into()));
        }
        () = hesitates(server) => {
            let text = "no connection within 2 s, and another server is ready";
            return Err(unreachable(io::Error::new(io::ErrorKind::HostUnreachable, text)));
        }
    };
    let Some(name) = &server.tls_name else {
        return match server.scheme {
            Scheme::H2c => http2(stream, server).await,
            Scheme::Http | Scheme::Https => http1(stream, server).await,
        };
    };
    let configs = server.transport.tls().map_err(|why| unreachable(io::Error::other(why)))?;
    let config = if http1_only { &configs.http1 } else { &configs.any };
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = within(Some(TLS_TIMEOUT), connector.connect(name.clone(), stream)).await?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, server).await
    } else {
        http1(stream, server).await
    }
}

/// Waits until it takes too long, as long as others can do what it would be asked: where a
/// container was a moment ago, nobody says that it is gone.
async fn hesitates(server: &Server) {
    loop {
        tokio::time::sleep(HESITATION).await;
        if server.pool.has_others.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Opens a TCP connection.
pub(super) async fn dial(place: &Place) -> io::Result<TcpStream> {
    let stream = match place {
        Place::Ip(address) => TcpStream::connect(address).await?,
        Place::Name(name, port) => TcpStream::connect((&**name, *port)).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn within<T>(
    limit: Option<Duration>,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Cause> {
    let done = match limit {
        None => work.await,
        Some(limit) => timeout(limit, work).await.map_err(|_| Cause::TimedOut)?,
    };
    done.map_err(unreachable)
}

fn unreachable(error: io::Error) -> Cause {
    if error.kind() == io::ErrorKind::TimedOut {
        Cause::TimedOut
    } else {
        Cause::Unreachable(error)
    }
}

async fn http1<S>(stream: S, server: &Server) -> Result<Fresh, Cause>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    // Traefik sends names in canonical case, and some old servers compare them so.
    builder.title_case_headers(true).max_buf_size(MAX_HEAD);
    // Any limit but hyper's own hundred costs an allocation of 24 KiB for each answer.
    if server.pool.sends_many_fields.load(Ordering::Relaxed) {
        builder.max_headers(MAX_FIELDS);
    }
    let (sender, connection) =
        builder.handshake(TokioIo::new(Heard::new(stream))).await.map_err(handshake)?;
    // Ends by itself: when the sender is dropped or the server closes.
    let driver = tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a server ended");
        }
    });
    server.pool.cut.keep(driver.abort_handle());
    Ok(Fresh::Http1(sender))
}

async fn http2<S>(stream: S, server: &Server) -> Result<Fresh, Cause>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = server.transport.settings();
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.read_idle_timeout)
        // As Go: also while no request is on its way.
        .keep_alive_while_idle(settings.read_idle_timeout.is_some())
        .keep_alive_timeout(settings.ping_timeout);
    let (sender, mut connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(handshake)?;
    let shared = Rc::new(Shared::new(sender));
    let limit = Rc::clone(&shared.limit);
    // Ends by itself: when all senders are dropped or the server closes.
    let driver = tokio::task::spawn_local(async move {
        let driven = poll_fn(|cx| {
            let driven = Pin::new(&mut connection).poll(cx);
            limit.set(connection.current_max_send_streams());
            driven
        });
        if let Err(error) = driven.await {
            tracing::debug!(%error, "HTTP/2 connection to a server ended");
        }
    });
    server.pool.cut.keep(driver.abort_handle());
    Ok(Fresh::Http2(shared))
}

fn handshake(error: hyper::Error) -> Cause {
    Cause::Unreachable(io::Error::other(error))
}

/// Runs hyper's tasks on the worker they were made on.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
