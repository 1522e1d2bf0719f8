//! TLS on an accepted socket: options by server name, then the handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{CipherSuite, ProtocolVersion, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::acme;
use crate::message::TlsInfo;
use crate::table::Published;
use crate::tls::subject;

/// From the first byte to the end of the handshake.
const LIMIT: Duration = Duration::from_secs(10);
/// A fatal alert 112, `unrecognized_name`.
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// What a handshake gave.
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) info: TlsInfo,
    pub(super) is_http2: bool,
}

/// Shakes hands, or says with an alert why not.
pub(super) async fn accept(
    stream: TcpStream,
    published: &Published,
    entry_point: usize,
) -> io::Result<Secured> {
    let shaken = shake(stream, published, entry_point);
    tokio::time::timeout(LIMIT, shaken).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn shake(
    stream: TcpStream,
    published: &Published,
    entry_point: usize,
) -> io::Result<Secured> {
    let local = stream.local_addr()?.ip().to_canonical();
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let server_name: Option<Box<str>> =
        start.client_hello().server_name().map(|name| name.to_ascii_lowercase().into());
    if start.client_hello().alpn().is_some_and(|mut names| names.all(|name| name == acme::ALPN)) {
        return challenge(start, published, server_name.as_deref()).await;
    }
    let choice = published.load().tls.choose(entry_point, server_name.as_deref(), local);
    let choice = choice.map(|choice| {
        let config = choice.config(start.client_hello().cipher_suites());
        (Arc::clone(config), choice.options)
    });
    let Some((config, options)) = choice else {
        let mut stream = start.io;
        stream.write_all(UNRECOGNIZED_NAME).await?;
        stream.shutdown().await?;
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let stream = start.into_stream(config).await?;
    let session = stream.get_ref().1;
    let info = info(session, server_name, options);
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    Ok(Secured { stream, info, is_http2 })
}

/// TLS-ALPN-01 (RFC 8737): the certificate is the answer, and the connection ends with the
/// handshake.
async fn challenge(
    start: StartHandshake<TcpStream>,
    published: &Published,
    server_name: Option<&str>,
) -> io::Result<Secured> {
    let config = server_name.and_then(|name| published.acme().challenges.config(name));
    let Some(config) = config else {
        let mut stream = start.io;
        stream.write_all(UNRECOGNIZED_NAME).await?;
        stream.shutdown().await?;
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut stream = start.into_stream(config).await?;
    stream.shutdown().await?;
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn info(session: &ServerConnection, server_name: Option<Box<str>>, options: Arc<str>) -> TlsInfo {
    let certificates = session.peer_certificates().unwrap_or_default();
    let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    TlsInfo {
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        },
        cipher: suite.map_or("", go_name),
        server_name,
        options,
        client_subject: certificates.first().and_then(|leaf| subject(leaf)),
        client_certificates: certificates.iter().map(|der| Box::from(der.as_ref())).collect(),
    }
}

/// A cipher suite by the name that Go has for it.
fn go_name(suite: CipherSuite) -> &'static str {
    let name = suite.as_str().unwrap_or_default();
    let new = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    let of_13 = name.strip_prefix("TLS13_");
    let found = new.into_iter().find(|go| go.strip_prefix("TLS_") == of_13);
    found.unwrap_or(name)
}
