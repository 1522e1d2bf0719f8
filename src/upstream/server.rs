//! A server's address, taken apart once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Uri};
use rustls::pki_types::ServerName;

use super::Transport;
use super::cut::Cut;

/// The protocol spoken to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// HTTP/1.1 in the clear.
    Http,
    /// TLS; HTTP/2 or HTTP/1.1 as the server likes.
    Https,
    /// HTTP/2 in the clear, with prior knowledge.
    H2c,
}

/// Where to connect to.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Ip(SocketAddr),
    Name(Box<str>, u16),
}

/// A server's address and how to talk to it.
#[derive(Clone, Debug)]
pub struct Server {
    /// `http://172.18.0.3:80`, as the API shows it.
    pub url: Arc<str>,
    /// `172.18.0.3:80`, as in the URL.
    pub address: Arc<str>,
    /// How to talk to it.
    pub transport: Arc<Transport>,
    pub(super) scheme: Scheme,
    pub(super) place: Place,
    pub(super) tls_name: Option<ServerName<'static>>,
    /// Path put in front of every request's, without a slash at its end.
    pub(super) base: Option<Box<str>>,
    pub(super) pool: Arc<PoolKey>,
    host_value: HeaderValue,
}

/// Tells the pools of one server from all others', and when to close them.
#[derive(Debug)]
pub(super) struct PoolKey {
    pub(super) id: u64,
    pub(super) retired: AtomicBool,
    /// It can't be heard, and others can do what it was asked.
    pub(super) is_silent: AtomicBool,
    /// Others can do what it is asked.
    pub(super) has_others: AtomicBool,
    /// It sent an answer with more fields than a new connection takes at first.
    pub(super) sends_many_fields: AtomicBool,
    pub(super) cut: Cut,
}

static POOLS: AtomicU64 = AtomicU64::new(0);

impl Server {
    /// Takes a server URL apart. Its path counts only with `preserve_path`.
    pub fn parse(
        url: &str,
        preserve_path: bool,
        transport: &Arc<Transport>,
    ) -> Result<Self, String> {
        let bad = |why: &str| {
            format!("server URL {url:?}: {why}; expected one such as http://10.0.0.3:8080")
        };
        let uri: Uri =
            url.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some("h2c") => Scheme::H2c,
            Some(other) => {
                return Err(bad(&format!("scheme {other:?} is not one of http, https, h2c")));
            }
            None => return Err(bad("no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| bad("no host"))?;
        let place = place(authority, scheme).ok_or_else(|| bad("no host or a bad port"))?;
        let tls_name = match scheme {
            Scheme::Https => Some(tls_name(authority, transport).map_err(|why| bad(&why))?),
            Scheme::Http | Scheme::H2c => None,
        };
        // User information is for an Authorization field that nobody asked for.
        let address = authority.as_str().rsplit('@').next().unwrap_or_default();
        let base = uri.path().trim_end_matches('/');
        Ok(Self {
            url: url.into(),
            host_value: HeaderValue::from_str(address).map_err(|_| bad("a bad host"))?,
            address: address.into(),
            transport: Arc::clone(transport),
            scheme,
            place,
            tls_name,
            base: (preserve_path && !base.is_empty()).then(|| base.into()),
            pool: Arc::new(PoolKey {
                id: POOLS.fetch_add(1, Ordering::Relaxed),
                retired: AtomicBool::new(false),
                is_silent: AtomicBool::new(false),
                has_others: AtomicBool::new(false),
                sends_many_fields: AtomicBool::new(false),
                cut: Cut::default(),
            }),
        })
    }

    /// `host:port` as a field value, for requests that do not keep their own Host.
    pub fn host_value(&self) -> &HeaderValue {
        &self.host_value
    }

    /// It may speak HTTP/2, whose servers refuse requests that were sent.
    pub fn may_refuse(&self) -> bool {
        match self.scheme {
            Scheme::Http => false,
            Scheme::Https | Scheme::H2c => true,
        }
    }

    /// Its address, unless it is written as a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.place {
            Place::Ip(address) => Some(address.ip()),
            Place::Name(..) => None,
        }
    }

    /// No new connection is pooled, and pooled ones are closed within a second.
    pub fn retire(&self) {
        self.pool.retired.store(true, Ordering::Relaxed);
    }

    /// It can't be heard, and others can do what it was asked: requests that may reach a server
    /// twice, and those that wait for a connection, are given up within a second.
    pub fn set_silent(&self, is_silent: bool) {
        self.pool.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Others can do what it is asked: a connection to it must not take long.
    pub fn set_has_others(&self, has_others: bool) {
        self.pool.has_others.store(has_others, Ordering::Relaxed);
    }

    /// Connections are pooled again.
    pub fn restore(&self) {
        self.pool.retired.store(false, Ordering::Relaxed);
        self.pool.cut.mend();
    }

    /// Its address leads nowhere any more: ends its connections, with what is on its way over
    /// them.
    pub fn cut(&self) {
        self.retire();
        self.pool.cut.cut();
    }

    /// Has what carries a tunnel to it end with its connections.
    pub fn carries(&self, tunnel: &tokio::task::JoinHandle<()>) {
        self.pool.cut.keep(tunnel.abort_handle());
    }

    /// Opens and closes a TCP connection, to see whether it is answered.
    pub async fn probe(&self) -> std::io::Result<()> {
        super::connect::dial(&self.place).await.map(drop)
    }

    /// The path and query that this server is asked for.
    pub(super) fn target(&self, given: Option<&PathAndQuery>) -> PathAndQuery {
        let given = given.map_or("/", PathAndQuery::as_str);
        let joined = match &self.base {
            Some(base) if given.starts_with('/') => format!("{base}{given}"),
            Some(base) => format!("{base}/{given}"),
            None => given.to_owned(),
        };
        PathAndQuery::try_from(joined).unwrap_or_else(|_| PathAndQuery::from_static("/"))
    }
}

fn place(authority: &Authority, scheme: Scheme) -> Option<Place> {
    let host = bare_host(authority);
    if host.is_empty() {
        return None;
    }
    let written = authority.as_str().rsplit('@').next().unwrap_or_default();
    let after_host = written.strip_prefix(authority.host()).unwrap_or_default();
    let port = match after_host.strip_prefix(':') {
        None | Some("") => match scheme {
            Scheme::Https => 443,
            Scheme::Http | Scheme::H2c => 80,
        },
        Some(port) => port.parse().ok()?,
    };
    Some(match host.parse() {
        Ok(ip) => Place::Ip(SocketAddr::new(ip, port)),
        Err(_) => Place::Name(host.into(), port),
    })
}

fn bare_host(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn tls_name(authority: &Authority, transport: &Transport) -> Result<ServerName<'static>, String> {
    let given = &transport.settings().server_name;
    let name = if given.is_empty() { bare_host(authority) } else { given };
    ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no TLS server name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::TransportSettings;

    fn parse(url: &str, preserve_path: bool) -> Result<Server, String> {
        let transport = Transport::build(&TransportSettings::default()).unwrap();
        Server::parse(url, preserve_path, &transport)
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, scheme, address, place) in [
            ("http://10.0.0.3:8080", Scheme::Http, "10.0.0.3:8080", "Ip(10.0.0.3:8080)"),
            ("https://10.0.0.3", Scheme::Https, "10.0.0.3", "Ip(10.0.0.3:443)"),
            ("h2c://api:50051/x", Scheme::H2c, "api:50051", "Name(\"api\", 50051)"),
            ("http://[::1]:81/", Scheme::Http, "[::1]:81", "Ip([::1]:81)"),
            ("http://u:p@h:82", Scheme::Http, "h:82", "Name(\"h\", 82)"),
        ] {
            let server = parse(url, false).unwrap();

            assert_eq!(server.scheme, scheme, "{url}");
            assert_eq!(&*server.address, address, "{url}");
            assert_eq!(format!("{:?}", server.place), place, "{url}");
        }
    }

    #[test]
    fn urls_that_cannot_be_asked_are_refused() {
        for url in ["", "10.0.0.3", "foo:80", "ftp://a", "http://", "http://a:99999", "/x"] {
            assert!(parse(url, false).is_err(), "{url}");
        }
    }

    #[test]
    fn the_path_of_the_url_counts_only_when_it_is_preserved() {
        let asked = PathAndQuery::from_static("/a?b=c");

        for (url, preserve, target) in [
            ("http://a/base/", true, "/base/a?b=c"),
            ("http://a/base", false, "/a?b=c"),
            ("http://a/", true, "/a?b=c"),
        ] {
            assert_eq!(parse(url, preserve).unwrap().target(Some(&asked)).as_str(), target);
        }
    }
}
