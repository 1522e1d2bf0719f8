//! Accepting connections and finding out what they speak.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Entry};
use super::guard::{Guarded, Hints};
use super::life::Life;
use super::stream::Stream;
use super::sweep::Lease;
use super::{connection, handshake, proxy_protocol};
use crate::message::{Connection, TlsInfo};

/// Pause when file descriptors or connections run out.
const PAUSE: Duration = Duration::from_millis(50);
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 22;

/// Accepts until told to stop, then what is in the queue already; the listener closes then.
pub(super) async fn accept(listener: TcpListener, entry: Rc<Entry>, stop: CancellationToken) {
    let accepting = async {
        loop {
            // The entry point `traefik` must answer when everything else is full.
            let open = entry.counts.total.load(Ordering::Relaxed);
            if open >= entry.worker.max_connections && !entry.point.is_admin {
                entry.worker.registry.shed();
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, peer)) => start(stream, peer, &entry, false),
                Err(error) => back_off(&error, &entry).await,
            }
        }
    };
    // Safe to drop: nothing is lost between two accepts.
    // Biased: what is accepted after the drain began would not be told of it.
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = accepting => {}
    }
    // They would be reset with the listener, though they did nothing wrong. The system is
    // asked itself: tokio knows of what came before its last look only.
    let Ok(listener) = listener.into_std() else { return };
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                let stream =
                    stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                if let Ok(stream) = stream {
                    start(stream, peer, &entry, true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return,
        }
    }
}

async fn back_off(error: &io::Error, entry: &Entry) {
    let gone = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
    ];
    if gone.contains(&error.kind()) {
        return;
    }
    tracing::warn!(entry_point = &*entry.point.name, %error, "accept");
    entry.worker.registry.shed();
    tokio::time::sleep(PAUSE).await;
}

/// Each connection is a task of its own; it ends by itself, by the sweep or with its worker,
/// and with its first answer when we are leaving.
fn start(stream: TcpStream, peer: SocketAddr, entry: &Rc<Entry>, leaving: bool) {
    let registry = &entry.worker.registry;
    let life = Rc::new(Life::new(Rc::clone(&entry.limits), Rc::clone(&registry.clock)));
    life.leaving.set(leaving);
    let lease = registry.enter(entry.point.index, &life, &entry.counts);
    let entry = Rc::clone(entry);
    let task = async move {
        let served = AssertUnwindSafe(serve(stream, peer, &entry, life, lease)).catch_unwind();
        if served.await.is_err() {
            entry.worker.metrics.panicked();
            tracing::error!(
                entry_point = &*entry.point.name,
                "a connection was closed after an internal error"
            );
        }
    };
    drop(tokio::task::spawn_local(task));
}

async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    entry: &Rc<Entry>,
    life: Rc<Life>,
    lease: Lease,
) {
    let Some((peer, is_tls)) = first_byte(&mut stream, peer, entry, &life).await else { return };
    let Ok(local) = stream.local_addr() else { return };
    let (stream, tls, is_http2) = if is_tls {
        let index = entry.point.index;
        match Box::pin(handshake::accept(stream, &entry.worker.published, index)).await {
            Ok(secured) => {
                (Stream::Tls(Box::new(secured.stream)), Some(secured.info), secured.is_http2)
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "TLS handshake");
                return;
            }
        }
    } else {
        (Stream::Plain(stream), None, false)
    };
    let client = client(entry, peer, local, tls, life);
    let guarded = Guarded::new(stream, entry.head_limit, Arc::clone(&client.hints), lease);
    if is_http2 {
        connection::serve_http2(guarded, client).await;
    } else {
        connection::serve(guarded, client).await;
    }
}

/// Waits for the client to speak: what it is, and who, if a trusted proxy says so.
async fn first_byte(
    stream: &mut TcpStream,
    peer: SocketAddr,
    entry: &Entry,
    life: &Life,
) -> Option<(SocketAddr, bool)> {
    // Small answers go out at once.
    stream.set_nodelay(true).ok()?;
    let mut peer = peer;
    if trusts_proxy(entry, peer)
        && let Some(client) = Box::pin(proxy_protocol::read(stream)).await.ok()?
    {
        peer = client;
    }
    let mut byte = [0];
    let seen = std::future::poll_fn(|cx| {
        life.register(cx.waker());
        if life.expired.take().is_some() || life.draining.get() {
            return std::task::Poll::Ready(Ok(0));
        }
        let mut buf = tokio::io::ReadBuf::new(&mut byte);
        stream.poll_peek(cx, &mut buf)
    });
    match seen.await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some((peer, byte == [HANDSHAKE])),
    }
}

fn trusts_proxy(entry: &Entry, peer: SocketAddr) -> bool {
    let peer = peer.ip().to_canonical();
    entry.proxy.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&peer)))
}

fn client(
    entry: &Rc<Entry>,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<TlsInfo>,
    life: Rc<Life>,
) -> Rc<Client> {
    let address = peer.ip().to_canonical();
    let peer = SocketAddr::new(address, peer.port());
    let entry_point = &entry.point;
    let tls_requests =
        tls.as_ref().map(|tls| entry.worker.metrics.tls_requests(&entry_point.name, tls));
    let connection = Connection {
        entry_point: Arc::clone(entry_point),
        peer,
        local: SocketAddr::new(local.ip().to_canonical(), local.port()),
        peer_value: HeaderValue::from_str(&address.to_string())
            .unwrap_or(HeaderValue::from_static("unknown")),
        tls,
        trusted: entry_point.trusts(address),
        worker: entry.worker.index,
        requests: std::cell::Cell::new(0),
    };
    let hints = Arc::new(Hints::default());
    let interim = hints.sink();
    let entry = Rc::clone(entry);
    let connection = Rc::new(connection);
    Rc::new(Client { entry, connection, life, tls_requests, hints, interim })
}
