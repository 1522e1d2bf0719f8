//! `wharf demo-server`: a small application that shows what it was sent, and can be slow,
//! sick, streaming or rude on demand.

mod answer;
mod websocket;

use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What `wharf demo-server --help` prints.
pub const HELP: &str = "\
A small web application for demonstrations and tests: it answers with what it was sent.

Usage: wharf demo-server [--port N] [--name TEXT] [OPTIONS]
       wharf demo-server --probe PORT

      --port N          port to listen on, on all addresses [8080]
      --name TEXT       name of the service, shown in answers [demo]
      --replica TEXT    name of this replica [the host's name]
      --start-delay MS  wait so long before listening [0]
      --h2c             speak HTTP/2 without TLS instead of HTTP/1.1
      --abrupt          on TERM end at once instead of finishing open requests
      --deaf            ignore TERM and INT, as some applications do
      --log FILE        append a line for each request as it arrives: replica, method, target
      --sick            begin with /health answering 503
      --failing         answer 500 to everything but /health, as a broken release does
      --probe PORT      ask http://127.0.0.1:PORT/health; the exit status is the answer

Paths:
  /health               200, or 503 after POST /health?up=false (?up=true mends it)
  /slow?ms=N            answers after N milliseconds
  /status/N             answers with status N
  /bytes?n=N            N bytes of body
  /stream?n=N&ms=M      N chunks, M milliseconds apart; ends when the replica is told to
                        stop, unless whole=true
  /events?n=N&ms=M      the same as server-sent events
  /count?ms=N           reads the request's body and says how long it was, after N milliseconds
  /echo                 sends the request's body back while it comes in
  with Upgrade          a WebSocket that echoes messages
  anything else         the request as JSON
";

/// How long open requests may go on after TERM.
const GRACE: Duration = Duration::from_secs(30);

/// The state of one running replica.
#[derive(Debug)]
pub struct Replica {
    /// Name of the service.
    pub service: String,
    /// Name of this replica: the container's host name.
    pub name: String,
    healthy: AtomicBool,
    failing: bool,
    requests: AtomicU64,
    stopping: CancellationToken,
    log: Option<File>,
}

impl Replica {
    /// A healthy replica that has served nothing; `stopping` ends it.
    pub fn new(service: &str, name: &str, stopping: CancellationToken) -> Self {
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            healthy: AtomicBool::new(true),
            failing: false,
            requests: AtomicU64::new(0),
            stopping,
            log: None,
        }
    }

    /// Counts a request that arrives, and logs it where that is wanted. One write, before
    /// anything else is done with it: the log says what a process that died had been given.
    fn arrived<B>(&self, request: &Request<B>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(mut log) = self.log.as_ref() {
            let line = format!("{} {} {}\n", self.name, request.method(), request.uri());
            if let Err(error) = log.write_all(line.as_bytes()) {
                eprintln!("wharf demo-server: log: {error}");
            }
        }
    }
}

/// Which protocol connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge, as gRPC servers do.
    H2c,
}

/// What TERM and INT do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtTerm {
    /// Open requests are finished, then the process ends.
    Drain,
    /// The process ends at once.
    End,
    /// Nothing.
    Ignore,
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    port: u16,
    name: String,
    replica: Option<String>,
    start_delay: Duration,
    speaks: Speaks,
    at_term: AtTerm,
    log: Option<PathBuf>,
    sick: bool,
    failing: bool,
    probe: Option<u16>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            port: 8080,
            name: "demo".to_owned(),
            replica: None,
            start_delay: Duration::ZERO,
            speaks: Speaks::Http1,
            at_term: AtTerm::Drain,
            log: None,
            sick: false,
            failing: false,
            probe: None,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--port" => options.port = number(flag, value()?)?,
                "--name" => options.name.clone_from(value()?),
                "--replica" => options.replica = Some(value()?.clone()),
                "--start-delay" => {
                    options.start_delay = Duration::from_millis(number(flag, value()?)?);
                }
                "--probe" => options.probe = Some(number(flag, value()?)?),
                "--h2c" => options.speaks = Speaks::H2c,
                "--abrupt" => options.at_term = AtTerm::End,
                "--deaf" => options.at_term = AtTerm::Ignore,
                "--log" => options.log = Some(value()?.into()),
                "--sick" => options.sick = true,
                "--failing" => options.failing = true,
                other => return Err(format!("no such option: {other}")),
            }
        }
        Ok(options)
    }
}

fn number<N: std::str::FromStr>(flag: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{flag}: {value:?} is not a number in range"))
}

/// Runs `wharf demo-server` with the arguments after that word.
#[expect(clippy::print_stdout, reason = "help goes to stdout")]
pub fn command(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments).and_then(|options| run(&options)) {
        Ok(status) => status,
        Err(text) => {
            eprintln!("wharf demo-server: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("start the runtime: {error}"))?;
    runtime.block_on(async {
        match options.probe {
            Some(port) => Ok(if probe(port).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
            None => listen(options).await.map(|()| ExitCode::SUCCESS),
        }
    })
}

async fn listen(options: &Options) -> Result<(), String> {
    // Handlers first: as process 1 of a container TERM is ignored without one.
    let mut term = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let stopping = CancellationToken::new();
    let stop = stopping.clone();
    let at_term = options.at_term;
    let signals = tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            if at_term != AtTerm::Ignore {
                stop.cancel();
            }
        }
    });
    tokio::select! {
        () = tokio::time::sleep(options.start_delay) => {}
        () = stopping.cancelled() => return Ok(()),
    }
    let address = ("::", options.port);
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        // A host without IPv6.
        Err(_) => TcpListener::bind(("0.0.0.0", options.port))
            .await
            .map_err(|error| format!("listen on port {}: {error}", options.port))?,
    };
    let name = options.replica.clone().unwrap_or_else(host_name);
    let mut replica = Replica::new(&options.name, &name, stopping.clone());
    replica.healthy.store(!options.sick, Ordering::Relaxed);
    replica.failing = options.failing;
    if let Some(path) = &options.log {
        let opened = File::options().create(true).append(true).open(path);
        replica.log = Some(opened.map_err(|error| format!("open {}: {error}", path.display()))?);
    }
    let serving = serve(listener, Arc::new(replica), options.speaks);
    match at_term {
        AtTerm::End => tokio::select! {
            () = serving => {}
            () = stopping.cancelled() => {}
        },
        AtTerm::Drain | AtTerm::Ignore => serving.await,
    }
    signals.abort();
    Ok(())
}

/// The container's host name; what Docker shows as the short id.
fn host_name() -> String {
    std::fs::read_to_string("/etc/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// Serves until the replica's token is cancelled, then until open requests have ended.
pub async fn serve(listener: TcpListener, replica: Arc<Replica>, speaks: Speaks) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted { stream } else {
                // Out of descriptors, or a peer that is gone already.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            },
            () = replica.stopping.cancelled() => break,
        };
        connections.spawn(connection(stream, Arc::clone(&replica), speaks));
    }
    drop(listener);
    connections.close();
    // What has not ended by then is cut by the process ending.
    let _ = tokio::time::timeout(GRACE, connections.wait()).await;
}

async fn connection(stream: TcpStream, replica: Arc<Replica>, speaks: Speaks) {
    let _ = stream.set_nodelay(true);
    // An IPv4 client of the dual-stack socket is shown as one.
    let canonical = |peer: SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let peer = stream.peer_addr().ok().map(canonical);
    let stopping = replica.stopping.clone();
    let service = service_fn(move |request| answer::answer(request, Arc::clone(&replica), peer));
    let io = TokioIo::new(stream);
    // Biased: a request that has arrived by then is read before its connection is closed.
    match speaks {
        Speaks::Http1 => {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(io, service)
                .with_upgrades();
            let mut serving = std::pin::pin!(serving);
            tokio::select! {
                biased;
                _ = serving.as_mut() => {}
                () = stopping.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            }
        }
        Speaks::H2c => {
            let serving = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .serve_connection(io, service);
            let mut serving = std::pin::pin!(serving);
            tokio::select! {
                biased;
                _ = serving.as_mut() => {}
                () = stopping.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            }
        }
    }
}

/// Whether the server on this port says that it is well; the HEALTHCHECK of an image that
/// holds nothing but this binary.
async fn probe(port: u16) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut head = [0_u8; 12];
        stream.read_exact(&mut head).await?;
        Ok::<bool, io::Error>(head == *b"HTTP/1.1 200")
    };
    matches!(tokio::time::timeout(Duration::from_secs(3), asked).await, Ok(Ok(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read() {
        let options = Options::parse(&words(
            "--port 9000 --name music --start-delay 250 --h2c --abrupt --log /told/requests \
             --failing",
        ))
        .expect("all known");

        assert_eq!(
            options,
            Options {
                port: 9000,
                name: "music".to_owned(),
                replica: None,
                start_delay: Duration::from_millis(250),
                speaks: Speaks::H2c,
                at_term: AtTerm::End,
                log: Some("/told/requests".into()),
                sick: false,
                failing: true,
                probe: None,
            }
        );
    }

    #[test]
    fn a_bad_option_is_named() {
        let cases = [
            ("--port 70000", "--port: \"70000\" is not a number in range"),
            ("--port", "--port needs a value"),
            ("--prot 1", "no such option: --prot"),
        ];
        for (arguments, text) in cases {
            assert_eq!(Options::parse(&words(arguments)), Err(text.to_owned()), "{arguments}");
        }
    }
}
