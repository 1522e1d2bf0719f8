//! `wharf healthcheck`: asks a running proxy's `/ping`, with Traefik's words and statuses.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::print;
use crate::settings::{Settings, Start, read};
use crate::upstream::{Transport, TransportSettings};

const TIME_LIMIT: Duration = Duration::from_secs(5);
/// The head of an answer is read up to here; only its first line matters.
const MAX_HEAD: u64 = 64 * 1024;

/// Runs it with the arguments after its word.
pub(super) fn command(arguments: &[String]) -> ExitCode {
    let settings = match read(&Start::with_arguments(arguments)) {
        Ok(read) => read.settings,
        Err(problems) => {
            for problem in problems {
                eprintln!("wharf: {problem}");
            }
            return ExitCode::FAILURE;
        }
    };
    let target = match Target::new(&settings) {
        Ok(target) => target,
        Err(text) => return failed(&format!("Error calling healthcheck: {text}")),
    };
    match target.ask() {
        Ok(status) if status.starts_with("200 ") || status == "200" => {
            print(&format!("OK: {}\n", target.url()))
        }
        Ok(status) => failed(&format!("Bad healthcheck status: {status}")),
        Err(error) => failed(&format!("Error calling healthcheck: {error}")),
    }
}

fn failed(text: &str) -> ExitCode {
    print(&format!("{text}\n"));
    ExitCode::FAILURE
}

struct Target {
    address: String,
    is_tls: bool,
}

impl Target {
    fn new(settings: &Settings) -> Result<Self, String> {
        let Some(ping) = &settings.ping else {
            return Err("please enable `ping` to use health check".to_owned());
        };
        let Some(entry_point) = settings.entry_points.get(&ping.entry_point) else {
            return Err(format!("ping: missing {} entryPoint", ping.entry_point));
        };
        let address = entry_point.address.split('/').next().unwrap_or_default();
        Ok(Self { address: address.to_owned(), is_tls: entry_point.http.tls.is_some() })
    }

    fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}/ping", self.address)
    }

    /// The status of the answer: `200 OK`.
    fn ask(&self) -> io::Result<String> {
        let stream = connect(&self.address)?;
        stream.set_read_timeout(Some(TIME_LIMIT))?;
        stream.set_write_timeout(Some(TIME_LIMIT))?;
        if !self.is_tls {
            return exchange(stream, &self.address);
        }
        // As Traefik: its own entry point's certificate is not verified.
        let settings = TransportSettings { insecure_skip_verify: true, ..Default::default() };
        let config = Transport::build(&settings).and_then(|transport| transport.client_config());
        let config = config.map_err(io::Error::other)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let tls = rustls::ClientConnection::new(Arc::clone(&config), name);
        let tls = tls.map_err(io::Error::other)?;
        exchange(rustls::StreamOwned::new(tls, stream), &self.address)
    }
}

/// Without a host, and for one that means all addresses, this machine's own.
fn connect(address: &str) -> io::Result<TcpStream> {
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let targets: Vec<SocketAddr> = match host {
        "" | "0.0.0.0" => {
            vec![([127, 0, 0, 1], port).into(), (std::net::Ipv6Addr::LOCALHOST, port).into()]
        }
        "::" => vec![(std::net::Ipv6Addr::LOCALHOST, port).into(), ([127, 0, 0, 1], port).into()],
        host => (host, port).to_socket_addrs()?.collect(),
    };
    let mut last = io::Error::other("the address has no host");
    for target in targets {
        match TcpStream::connect_timeout(&target, TIME_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = io::Error::new(error.kind(), format!("{target}: {error}")),
        }
    }
    Err(last)
}

fn exchange(mut stream: impl Read + Write, host: &str) -> io::Result<String> {
    write!(
        stream,
        "HEAD /ping HTTP/1.1\r\nHost: {host}\r\nUser-Agent: wharf-healthcheck\r\n\
         Connection: close\r\n\r\n"
    )?;
    stream.flush()?;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.contains(&b'\n') && (head.len() as u64) < MAX_HEAD {
        match stream.read(&mut chunk)? {
            0 => break,
            length => head.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    match line.split_once(' ') {
        Some((version, status)) if version.starts_with("HTTP/1.") => Ok(status.trim().to_owned()),
        Some(_) | None => Err(io::Error::other("the answer is not HTTP/1.1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{EntryPoint, Ping};

    fn settings(ping: Option<Ping>, address: &str) -> Settings {
        let point = EntryPoint { address: address.to_owned(), ..EntryPoint::default() };
        let entry_points = [("traefik".to_owned(), point)].into();
        Settings { entry_points, ping, ..Settings::default() }
    }

    #[test]
    fn ping_must_be_on() {
        let error = Target::new(&settings(None, ":8080")).err();
        assert_eq!(error.as_deref(), Some("please enable `ping` to use health check"));

        let ping = Ping { entry_point: "web".to_owned(), ..Ping::default() };
        let error = Target::new(&settings(Some(ping), ":8080")).err();
        assert_eq!(error.as_deref(), Some("ping: missing web entryPoint"));
    }

    #[test]
    fn the_status_line_is_the_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: what is left unread at the end resets the connection.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
            request
        });

        let target =
            Target::new(&settings(Some(Ping::default()), &format!(":{}", address.port()))).unwrap();

        assert_eq!(target.url(), format!("http://:{}/ping", address.port()));
        assert_eq!(target.ask().unwrap(), "503 Service Unavailable");
        assert!(server.join().unwrap().starts_with(b"HEAD /ping HTTP/"));
    }
}
