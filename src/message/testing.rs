//! Values for the tests of all modules.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use http::HeaderValue;

use super::{Connection, EntryPoint, Exchange, Protocol, Served};

impl EntryPoint {
    /// `web` on port 80 with the defaults, trusting nobody.
    pub(crate) fn for_tests() -> Self {
        Self {
            name: "web".into(),
            index: 0,
            port: 80,
            trusted: Some(Box::new([])),
            keep_forwarded_for: false,
            connection_fields: Box::new([]),
            sanitize_path: true,
            encode_query_semicolons: false,
            refused_escapes: Box::new([]),
            aliases: super::Aliases::Keep,
            is_admin: false,
        }
    }
}

impl Connection {
    /// A plain, untrusted one from 192.0.2.1.
    pub(crate) fn for_tests() -> Self {
        Self {
            entry_point: EntryPoint::for_tests().into(),
            peer: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 4711)),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 80)),
            peer_value: HeaderValue::from_static("192.0.2.1"),
            tls: None,
            trusted: false,
            worker: 0,
            requests: Cell::new(1),
        }
    }
}

impl Exchange {
    /// One on [`Connection::for_tests`] for `example.com`.
    pub(crate) fn for_tests() -> Self {
        Self {
            connection: Rc::new(Connection::for_tests()),
            started: Instant::now(),
            started_at: SystemTime::now(),
            protocol: Protocol::Http,
            secure: false,
            host: "example.com".into(),
            suppress_forwarded_for: false,
            upgrade: None,
            until_tunnel_ends: Vec::new(),
            informational: None,
            user: None,
            trace: None,
            counted: true,
            served: Served::default(),
        }
    }
}
