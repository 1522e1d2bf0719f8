//! What follows a 101: bytes both ways.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use crate::message::Body;

/// Right for WebSocket messages; held for as long as the tunnel is open.
const BUFFER: usize = 8 << 10;

/// Takes the server's side of an upgrade out of its 101.
pub fn server_side(response: &mut Response<Body>) -> OnUpgrade {
    hyper::upgrade::on(response)
}

/// Carries bytes until both sides ended or one failed. Says how many came from the client
/// and went to it.
pub async fn tunnel(client: OnUpgrade, server: OnUpgrade) -> (u64, u64) {
    let (client, server) = match futures_util::future::try_join(client, server).await {
        Ok(sides) => sides,
        Err(error) => {
            tracing::debug!(%error, "upgrade did not come about");
            return (0, 0);
        }
    };
    // Counted here, since the copy tells nothing when it fails.
    let (up, down) = (Cell::new(0), Cell::new(0));
    let mut client = Counted { side: TokioIo::new(client), read: &up };
    let mut server = Counted { side: TokioIo::new(server), read: &down };
    let done = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
    if let Err(error) = done {
        tracing::debug!(%error, "tunnel ended");
    }
    (up.get(), down.get())
}

struct Counted<'t> {
    side: TokioIo<Upgraded>,
    read: &'t Cell<u64>,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.side).poll_read(cx, buffer);
        let read = buffer.filled().len().saturating_sub(before) as u64;
        self.read.set(self.read.get().saturating_add(read));
        done
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.side).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.side).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.side).poll_shutdown(cx)
    }
}
