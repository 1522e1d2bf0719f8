//! Where a Redis is.

use std::net::Ipv6Addr;
use std::sync::Arc;

use rustls::pki_types::ServerName;

/// The port of a Redis that says nothing else.
const PORT: u16 = 6379;

/// `redis:6379`, `[::1]:6379`, or a socket's path: `/run/redis.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: Arc<str>,
    pub(super) place: Place,
}

/// An address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Net(Box<str>, u16),
    Socket(Box<str>),
}

impl Default for Address {
    fn default() -> Self {
        let place = Place::Net("localhost".into(), PORT);
        Self { text: format!("localhost:{PORT}").into(), place }
    }
}

impl Address {
    /// Reads an address; without a port it is 6379. The error completes a sentence about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with('/') {
            return Ok(Self { text: text.into(), place: Place::Socket(text.into()) });
        }
        if text.contains("://") {
            return Err("is a URL; write host:port");
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Self::of_node(&address.to_string(), PORT).ok_or("is no address");
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "has no port from 1 to 65535 behind its colon")?)
            }
            Some(_) | None => (text, PORT),
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_bare = inner.is_none() && host.contains(':');
        let host = inner.unwrap_or(host);
        let made = if is_bare { None } else { Self::of_node(host, port) };
        made.ok_or("is no host:port")
    }

    /// A host without brackets, and a port; `None` if they are none.
    pub(super) fn of_node(host: &str, port: u16) -> Option<Self> {
        let is_ipv6 = host.parse::<Ipv6Addr>().is_ok();
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if port == 0 || host.is_empty() || !(is_ipv6 || host.bytes().all(is_name)) {
            return None;
        }
        let text = if is_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Some(Self { text: text.into(), place: Place::Net(host.into(), port) })
    }

    /// As it is written: `redis:6379`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The host's name or number; `None` for a socket.
    pub fn host(&self) -> Option<&str> {
        match &self.place {
            Place::Net(host, _) => Some(host),
            Place::Socket(_) => None,
        }
    }

    pub(super) fn tls_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host()?.to_owned()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port_or_a_sockets_path() {
        for (text, read) in [
            ("redis:6380", Ok("redis:6380")),
            ("redis", Ok("redis:6379")),
            ("10.0.0.1:1", Ok("10.0.0.1:1")),
            ("[::1]:6380", Ok("[::1]:6380")),
            ("[::1]", Ok("[::1]:6379")),
            ("::1", Ok("[::1]:6379")),
            ("/run/redis.sock", Ok("/run/redis.sock")),
            ("redis://redis:6379", Err("is a URL; write host:port")),
            ("redis:", Err("has no port from 1 to 65535 behind its colon")),
            ("redis:70000", Err("has no port from 1 to 65535 behind its colon")),
            ("redis:0", Err("is no host:port")),
            ("::1:6379x", Err("has no port from 1 to 65535 behind its colon")),
            ("a:b:1", Err("is no host:port")),
            ("", Err("is no host:port")),
            ("joe@redis:1", Err("is no host:port")),
            ("a b:1", Err("is no host:port")),
        ] {
            let address = Address::parse(text);

            assert_eq!(address.as_ref().map(Address::as_str).map_err(|why| *why), read, "{text}");
        }
    }

    #[test]
    fn the_host_is_what_a_certificate_is_for() {
        let name = |text: &str| Address::parse(text).unwrap().tls_name();

        assert_eq!(name("redis.test:1"), ServerName::try_from("redis.test").ok());
        assert_eq!(name("[::1]:1"), ServerName::try_from("::1").ok());
        assert_eq!(name("/run/redis.sock"), None);
    }
}
