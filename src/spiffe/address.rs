//! Where the agent is.

use std::fmt;
use std::net::SocketAddr;

/// `unix:///run/spire/agent.sock` or `tcp://127.0.0.1:8081`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket's path.
    Unix(Box<str>),
    /// An address and a port.
    Tcp(SocketAddr),
}

impl Address {
    /// Reads an address, as go-spiffe does. The error completes a sentence about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') || path.contains(['?', '#']) {
                return Err("has no absolute path");
            }
            return Ok(Self::Unix(path.into()));
        }
        let Some(place) = text.strip_prefix("tcp://") else {
            return Err("begins with neither unix:// nor tcp://");
        };
        place.parse().map(Self::Tcp).map_err(|_| "is no address and port; a name is not taken")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_at_a_socket_or_an_address() {
        for (text, read) in [
            ("unix:///run/a.sock", Ok(Address::Unix("/run/a.sock".into()))),
            ("unix:/run/a.sock", Ok(Address::Unix("/run/a.sock".into()))),
            ("tcp://127.0.0.1:8081", Ok(Address::Tcp(([127, 0, 0, 1], 8081).into()))),
            ("unix://run/a.sock", Err("has no absolute path")),
            ("unix:", Err("has no absolute path")),
            ("tcp://agent:8081", Err("is no address and port; a name is not taken")),
            ("tcp://127.0.0.1", Err("is no address and port; a name is not taken")),
            ("/run/a.sock", Err("begins with neither unix:// nor tcp://")),
        ] {
            assert_eq!(Address::parse(text), read, "{text}");
        }
    }
}
