//! The new process: takes the sockets, and says when it accepts.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Blocking;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::wire;
use crate::listen::Handed;

/// For the old process to send the sockets.
const SEND: Duration = Duration::from_secs(10);
/// For the old process to finish what only one may do, such as an order for a certificate.
const RELEASE: Duration = Duration::from_secs(15);

/// A hand-over, from the side of the process that takes.
#[derive(Debug)]
pub(in crate::cli) struct Taking {
    stream: Blocking,
}

impl Taking {
    /// Takes the sockets from the process that started this one.
    ///
    /// # Errors
    /// Standard input is not a process that hands over.
    pub(in crate::cli) fn begin() -> io::Result<(Self, Handed)> {
        let stream = Blocking::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_read_timeout(Some(SEND))?;
        let handed = wire::receive(&stream)?;
        Ok((Self { stream }, handed))
    }

    /// Says that this process accepts now.
    pub(in crate::cli) fn accepts(&self) {
        // Should the other have gone, this one is alone and serves all the same.
        let _ = wire::write_line(&self.stream, wire::LOADED);
    }

    /// Says that this process gives up, and why.
    pub(in crate::cli) fn fails(&self, why: &str) {
        let _ = wire::write_line(&self.stream, why);
    }

    /// Waits until the old process leaves this one everything, or is gone.
    pub(in crate::cli) async fn released(self) {
        let waiting = async {
            self.stream.set_nonblocking(true)?;
            let mut stream = UnixStream::from_std(self.stream)?;
            let mut said = [0; wire::RELEASED.len()];
            stream.read_exact(&mut said).await
        };
        // Whatever comes instead: the other no longer does it.
        let _ = tokio::time::timeout(RELEASE, waiting).await;
    }
}
