//! Connections to servers: connect, TLS, pools, one request sent once. Must never choose
//! a server or retry.

mod bell;
mod connect;
mod cut;
pub mod gzip;
mod heard;
mod pool;
mod protocols;
mod refusal;
mod send;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod upgrade;

use http::Request;

use crate::message::Body;

pub use pool::Lease;
pub use send::{Reply, send, send_kept};
pub use server::Server;
pub use transport::{SpiffeTransport, Transport, TransportSettings};
pub use upgrade::{server_side, tunnel};

/// A request that got no answer. The whole of retry safety rests on this distinction.
#[derive(Debug)]
pub enum SendError {
    /// No byte was written, or an HTTP/2 server said that it did not look at it: any server
    /// may be asked.
    NotSent(Box<Request<Body>>, Cause),
    /// The server may have seen it.
    Sent(Cause),
}

/// Why there was no answer.
#[derive(Debug)]
pub enum Cause {
    /// Refused, reset, unreachable, closed before an answer, TLS failure: 502.
    Unreachable(std::io::Error),
    /// `dialTimeout` or `responseHeaderTimeout`: 504.
    TimedOut,
    /// An answer that is no HTTP: 500.
    Garbage(String),
    /// The client's body failed or stalled.
    Client(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(error) => error.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
            Self::Garbage(what) | Self::Client(what) => f.write_str(what),
        }
    }
}
