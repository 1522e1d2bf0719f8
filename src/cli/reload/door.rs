//! Where a running proxy takes `wharf reload`: a Unix socket with an abstract name (unix(7)), so
//! that there is no file to be left behind or to be written where nothing may be.

use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as Blocking};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::Report;

/// For the asker to take the answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The socket's name. Process ids count in their namespace, sockets in that of the network.
pub(super) fn address(pid: u32) -> io::Result<SocketAddr> {
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_else(|_| PathBuf::new());
    SocketAddr::from_abstract_name(format!("wharf-reload-{pid}-{}", namespace.display()))
}

/// The socket.
pub(in crate::cli) struct Door(Option<UnixListener>);

/// Somebody who wants to know what came of it.
pub(in crate::cli) struct Asker(UnixStream);

impl Door {
    /// Opens it. Without it SIGHUP is left.
    pub(in crate::cli) fn open() -> Self {
        let opened = address(std::process::id()).and_then(|address| {
            let listener = Blocking::bind_addr(&address)?;
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        if let Err(error) = &opened {
            tracing::debug!(%error, "`wharf reload` gets no answer");
        }
        Self(opened.ok())
    }

    /// The next who asks, of our own user or root. Safe to drop.
    pub(in crate::cli) async fn next(&self) -> Asker {
        let Some(listener) = &self.0 else { return pending().await };
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // No more files can be opened: it is not worth a busy loop.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let user = stream.peer_cred().map(|peer| peer.uid());
            if user.is_ok_and(|user| user == 0 || user == geteuid().as_raw()) {
                return Asker(stream);
            }
        }
    }
}

impl Asker {
    /// Tells what came of it.
    pub(in crate::cli) async fn tell(mut self, report: Report) {
        // Whoever does not wait for it does not want to know.
        let _ = timeout(ANSWER, self.0.write_all(report.written().as_bytes())).await;
    }
}
