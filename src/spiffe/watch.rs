//! Asks the agent for an identity, and listens for new ones as long as the process runs: gRPC
//! over HTTP/2, of which this is the one call.
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md>

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use rustls::crypto::CryptoProvider;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::svid::{BadSvid, Svid};
use super::{Address, Source};

const CALL: &str = "http://localhost/SpiffeWorkloadAPI/FetchX509SVID";
/// So that no page in a browser can ask.
const SECURITY: (&str, &str) = ("workload.spiffe.io", "true");
const AGENT: &str = concat!("Wharf/", env!("CARGO_PKG_VERSION"));
/// A message without fields.
const QUESTION: &[u8] = &[0; 5];
/// Largest message, as gRPC has it.
const LARGEST: usize = 4 << 20;
const CONNECT: Duration = Duration::from_secs(10);
/// For an agent that took a connection to say something at all. After that it may be silent for
/// as long as identities live.
const FIRST: Duration = Duration::from_secs(10);
/// Pauses before the first try after a failure, and before any later one, as in Traefik.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("connect: {0}")]
    Connect(io::Error),
    #[error(transparent)]
    Http(#[from] h2::Error),
    #[error("{0}")]
    Refused(String),
    #[error("a message that is compressed or of more than 4 MiB")]
    Message,
    #[error("it ended the call")]
    Ended,
    #[error("it takes connections and said nothing within {FIRST:?}")]
    Silent,
    #[error("{0}")]
    Svid(#[from] BadSvid),
}

/// Keeps the identity of this process up to date until `ending`.
pub async fn run(
    source: Source,
    address: Address,
    provider: Arc<CryptoProvider>,
    ending: CancellationToken,
) {
    tokio::select! {
        () = ending.cancelled() => {}
        () = watch(&source, &address, &provider) => {}
    }
}

async fn watch(source: &Source, address: &Address, provider: &CryptoProvider) {
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    loop {
        let mut is_heard = false;
        let result = ask(address, |message| {
            source.renew(Svid::read(message, provider)?);
            is_heard = true;
            if let Some(svid) = source.current() {
                tracing::info!("SPIFFE: this is {}", svid.id.as_str());
            }
            Ok(())
        });
        let Err(error) = result.await;
        let error = error.to_string();
        if is_heard {
            pause = FIRST_PAUSE;
            told.clear();
        }
        if error != told {
            let left = if source.current().is_some() {
                "the last identity stays in use"
            } else {
                "servers of SPIFFE transports can't be reached"
            };
            tracing::warn!("SPIFFE: the workload API {address}: {error}; {left}");
            told = error;
        }
        sleep(pause).await;
        pause = (pause + FIRST_PAUSE).min(LONGEST_PAUSE);
    }
}

async fn ask(
    address: &Address,
    heard: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<std::convert::Infallible, Error> {
    let late = |_| Error::Connect(io::ErrorKind::TimedOut.into());
    match address {
        Address::Unix(path) => {
            let stream = timeout(CONNECT, UnixStream::connect(&**path)).await.map_err(late)?;
            listen(stream.map_err(Error::Connect)?, heard).await
        }
        Address::Tcp(place) => {
            let stream = timeout(CONNECT, TcpStream::connect(place)).await.map_err(late)?;
            let stream = stream.map_err(Error::Connect)?;
            // The agent may be silent for hours: only so is it known when it has gone.
            let _ = socket2::SockRef::from(&stream).set_keepalive(true);
            listen(stream, heard).await
        }
    }
}

/// Makes the call, and hands on each answer to it.
async fn listen(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut heard: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<std::convert::Infallible, Error> {
    let first = Notify::new();
    let told = |message: &[u8]| {
        first.notify_one();
        heard(message)
    };
    let talk = async {
        let (client, connection) = h2::client::handshake(stream).await?;
        tokio::select! {
            ended = connection => Err(ended.err().map_or(Error::Ended, Error::Http)),
            result = call(client, told) => result,
        }
    };
    let silent = async {
        if timeout(FIRST, first.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        result = talk => result,
        () = silent => Err(Error::Silent),
    }
}

async fn call(
    client: h2::client::SendRequest<Bytes>,
    mut heard: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<std::convert::Infallible, Error> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(CALL);
    for (name, value) in [
        (CONTENT_TYPE.as_str(), "application/grpc"),
        (TE.as_str(), "trailers"),
        (USER_AGENT.as_str(), AGENT),
        SECURITY,
    ] {
        request.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    let (response, mut body) = client.ready().await?.send_request(request, false)?;
    body.send_data(Bytes::from_static(QUESTION), true)?;
    let response = response.await?;
    if response.status() != StatusCode::OK {
        return Err(Error::Refused(format!("it answered {}", response.status())));
    }
    refused(response.headers())?;
    let mut body = response.into_body();
    let mut held = Vec::new();
    loop {
        while let Some(message) = message(&held)? {
            heard(message)?;
            let length = message.len() + 5;
            held.drain(..length);
        }
        let Some(bytes) = chunk(&mut body).await? else {
            refused(&body.trailers().await?.unwrap_or_default())?;
            return Err(Error::Ended);
        };
        held.extend_from_slice(&bytes);
    }
}

async fn chunk(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(bytes) = body.data().await.transpose()? else { return Ok(None) };
    body.flow_control().release_capacity(bytes.len())?;
    Ok(Some(bytes))
}

/// The message at the start of these bytes, if it is there whole.
fn message(held: &[u8]) -> Result<Option<&[u8]>, Error> {
    let Some((frame, rest)) = held.split_first_chunk::<5>() else { return Ok(None) };
    let [is_compressed, length @ ..] = *frame;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if is_compressed != 0 || length > LARGEST {
        return Err(Error::Message);
    }
    Ok(rest.get(..length))
}

/// What gRPC says went wrong, if it did.
fn refused(fields: &HeaderMap) -> Result<(), Error> {
    let field = |name| fields.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match field("grpc-status") {
        None => Ok(()),
        Some(status) if status == "0" => Ok(()),
        Some(status) => {
            let words = field("grpc-message").unwrap_or_default();
            let words: String = words.chars().flat_map(char::escape_debug).take(200).collect();
            let hint =
                if status == "7" { " (no entry of the agent's is about this process)" } else { "" };
            Err(Error::Refused(format!("gRPC status {status}: {words}{hint}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_a_connection_and_says_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(1 << 16);

        let Err(error) = listen(ours, |_| Ok(())).await;

        assert_eq!(error.to_string(), "it takes connections and said nothing within 10s");
    }
}
