//! Connections to servers: connect, TLS, pools, one request sent once. Must never choose
//! a server or retry.

mod transport;

use std::sync::Arc;

use http::{Request, Response};

use crate::message::{Body, Exchange};

pub use transport::TransportSettings;

/// How servers of one service are talked to: TLS and time limits. Built at compile,
/// shared while its settings stay the same.
#[derive(Debug)]
pub struct Transport {
    settings: TransportSettings,
}

impl Transport {
    /// Reads the certificates and makes the TLS configuration. The error names the setting.
    pub fn build(settings: &TransportSettings) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self { settings: settings.clone() }))
    }

    /// What it was built from; compile reuses a transport whose settings are equal.
    pub fn settings(&self) -> &TransportSettings {
        &self.settings
    }
}

/// A server's address.
#[derive(Clone, Debug)]
pub struct Server {
    /// `http://172.18.0.3:80`, as the API shows it.
    pub url: Arc<str>,
    /// `172.18.0.3:80`.
    pub address: Arc<str>,
    /// How to talk to it.
    pub transport: Arc<Transport>,
}

/// A request that got no answer. The whole of retry safety rests on this distinction.
#[derive(Debug)]
pub enum SendError {
    /// No byte was written: any server may be asked.
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

/// Sends a request once, over a pooled connection of this worker or a new one.
pub async fn send(
    _server: &Server,
    _exchange: &mut Exchange,
    _request: Request<Body>,
) -> Result<Response<Body>, SendError> {
    todo!()
}
