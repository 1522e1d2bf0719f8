//! One connection: opened, let in, and asked one thing at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Place;
use super::resp::{self, Malformed, Reply};
use super::{Address, Error, Options};

/// Bytes read at once; answers are shorter.
const CHUNK: usize = 512;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection to one Redis. One that was dropped while it was asked, or failed, must not be
/// used again: an answer may still be on its way.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// What was read and not yet looked at; empty between commands.
    read: Vec<u8>,
}

impl Connection {
    /// Connects, and says who we are.
    pub(super) async fn open(address: &Address, options: &Options) -> Result<Self, Error> {
        let failed = |error| Error::Connect(Arc::clone(address.text()), error);
        let stream = timeout(options.dial, dial(address, options))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        let mut connection = Self { stream, read: Vec::new() };
        for command in greeting(options) {
            let reply = connection.call(address, options, &command).await?;
            if let Reply::Error(error) = reply {
                return Err(Error::Refused(Arc::clone(address.text()), error));
            }
        }
        Ok(connection)
    }

    /// Sends a command and reads its answer.
    pub(super) async fn call(
        &mut self,
        address: &Address,
        options: &Options,
        command: &[u8],
    ) -> Result<Reply, Error> {
        let name = || Arc::clone(address.text());
        let sent = within(options.write, async {
            self.stream.write_all(command).await?;
            self.stream.flush().await
        });
        sent.await.map_err(|error| broken(name(), error))?;
        let answer = timeout(options.read, self.answer()).await;
        match answer.map_err(|_| Error::TimedOut(name()))? {
            Ok(reply) => Ok(reply),
            Err(Fault::Io(error)) => Err(broken(name(), error)),
            Err(Fault::Malformed(what)) => Err(Error::Strange(name(), what)),
        }
    }

    async fn answer(&mut self) -> Result<Reply, Fault> {
        loop {
            self.read.reserve(CHUNK);
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let Some((reply, length)) = resp::parse(&self.read)? else { continue };
            // It was asked one thing.
            if length != self.read.len() {
                return Err(Malformed::Unasked.into());
            }
            self.read.clear();
            return Ok(reply);
        }
    }
}

enum Fault {
    Io(io::Error),
    Malformed(Malformed),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Malformed> for Fault {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, io::Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn broken(address: Arc<str>, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::TimedOut {
        Error::TimedOut(address)
    } else {
        Error::Broken(address, error)
    }
}

async fn dial(address: &Address, options: &Options) -> io::Result<Box<dyn Stream>> {
    let stream = match &address.place {
        Place::Socket(path) => return Ok(Box::new(UnixStream::connect(&**path).await?)),
        Place::Net(host, port) => TcpStream::connect((&**host, *port)).await?,
    };
    stream.set_nodelay(true)?;
    let Some(config) = &options.tls else { return Ok(Box::new(stream)) };
    let name = address.tls_name().ok_or(io::ErrorKind::InvalidInput)?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    Ok(Box::new(stream))
}

/// What is said before anything else. As Traefik: a user without a password is not told, and
/// a cluster has one database only.
fn greeting(options: &Options) -> impl Iterator<Item = Vec<u8>> {
    let (username, password) = (options.username.as_bytes(), options.password.as_bytes());
    let auth = match (username, password) {
        (_, []) => None,
        ([], password) => Some(resp::command(&[b"AUTH", password])),
        (username, password) => Some(resp::command(&[b"AUTH", username, password])),
    };
    let database = options.database.to_string();
    let is_other = options.database != 0 && options.endpoints.len() < 2;
    let select = is_other.then(|| resp::command(&[b"SELECT", database.as_bytes()]));
    auth.into_iter().chain(select)
}
