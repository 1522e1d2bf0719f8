//! Which servers are asked.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::Error;

/// Where the system says which servers it asks.
pub const SYSTEM: &str = "/etc/resolv.conf";
/// Where DNS servers listen.
const PORT: u16 = 53;

/// A DNS server, by address or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: Box<str>,
    port: u16,
}

impl Server {
    /// A server at the usual port.
    pub fn at(address: IpAddr) -> Self {
        Self { host: address.to_string().into(), port: PORT }
    }

    /// Its addresses; a name is looked up as the system does.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let wrong =
            |why: String| Error::Server { server: self.to_string().into(), why: why.into() };
        let found = tokio::net::lookup_host((&*self.host, self.port)).await;
        let found: Vec<_> = found.map_err(|error| wrong(error.to_string()))?.collect();
        if found.is_empty() {
            return Err(wrong("it has no address".into()));
        }
        Ok(found)
    }
}

impl FromStr for Server {
    type Err = String;

    /// `host`, `host:port`, `[address]:port`, or an address. The error says what is wrong.
    fn from_str(written: &str) -> Result<Self, String> {
        let written = written.trim();
        if written.parse::<IpAddr>().is_ok() {
            return Ok(Self { host: written.into(), port: PORT });
        }
        let (host, port) = match written.rsplit_once(':') {
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                (host, port.ok_or_else(|| format!("{written:?} has no port after its colon"))?)
            }
            None => (written, PORT),
        };
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let inner = rest.strip_suffix(']').filter(|one| one.parse::<Ipv6Addr>().is_ok());
                inner.ok_or_else(|| format!("{written:?} is no address in brackets"))?
            }
            None => host,
        };
        let is_name = |host: &str| {
            let is_in =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(is_in)
        };
        if host.parse::<Ipv6Addr>().is_err() && !is_name(host) {
            return Err(format!("{written:?} names no DNS server"));
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The servers that a file in the form of resolv.conf(5) names, in its order.
pub fn configured(file: &str) -> Vec<Server> {
    let servers = file.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    // An address with a zone (`fe80::1%eth0`) is a name here, which the system looks up.
    servers
        .filter_map(|server| match server.parse::<IpAddr>() {
            Ok(address) => Some(Server::at(address)),
            Err(_) if server.contains('%') => Some(Server { host: server.into(), port: PORT }),
            Err(_) => None,
        })
        .collect()
}
