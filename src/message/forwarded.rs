//! `X-Forwarded-*` and `X-Real-Ip`: what a stranger says is dropped on arrival, and the
//! proxy says its own.

use std::sync::LazyLock;

use http::header::{HOST, HeaderName};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::{Connection, Exchange, hop, host};

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Port`.
pub const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// `X-Forwarded-Server`.
pub const X_FORWARDED_SERVER: HeaderName = HeaderName::from_static("x-forwarded-server");
/// `X-Real-Ip`.
pub const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Fields that only trusted peers may send, and that `Connection` cannot remove.
const MANAGED: [&str; 11] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-uri",
    "x-forwarded-method",
    "x-forwarded-prefix",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    "x-real-ip",
];

/// This machine's name, for `X-Forwarded-Server`; `None` when it has none.
static SERVER: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .ok()?;
    let name = name.trim();
    // A static field value takes visible ASCII only, and panics at anything else.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    // Leaked once, so that cloning it for each request touches no counter.
    let name: &'static str = Box::leak(Box::from(name));
    Some(HeaderValue::from_static(name))
});

/// Whether a field is one of the managed ones or an alias of one: each character that is
/// no letter or digit read as `-` (F1).
pub fn is_managed(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    if !matches!(name, [b'x', separator, ..] if !separator.is_ascii_alphanumeric()) {
        return false;
    }
    MANAGED.iter().any(|managed| {
        managed.len() == name.len()
            && managed.bytes().zip(name).all(|(wanted, byte)| {
                wanted == *byte || (wanted == b'-' && !byte.is_ascii_alphanumeric())
            })
    })
}

/// On arrival: deletes what an untrusted peer says, aliases included, then fills in what
/// is missing. Returns whether the client's own connection is secure, as far as is known.
pub fn arrive(connection: &Connection, headers: &mut HeaderMap) -> bool {
    remove_unmanaged(connection.trusted, headers);
    let tls = connection.tls.is_some();
    if !headers.contains_key(X_REAL_IP) {
        headers.insert(X_REAL_IP, connection.peer_value.clone());
    }
    let secure = if let Some(proto) = headers.get(X_FORWARDED_PROTO) {
        proto == "https" || proto == "wss"
    } else {
        let proto = match (hop::is_websocket(headers), tls) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
        tls
    };
    let authority = headers.get(HOST).cloned();
    if !headers.contains_key(X_FORWARDED_PORT) {
        let port = port(secure || tls, headers);
        headers.insert(X_FORWARDED_PORT, port);
    }
    if let Some(authority) = authority.filter(|value| !value.is_empty())
        && !headers.contains_key(X_FORWARDED_HOST)
    {
        headers.insert(X_FORWARDED_HOST, authority);
    }
    if let Some(server) = &*SERVER {
        headers.insert(X_FORWARDED_SERVER, server.clone());
    }
    secure
}

/// The port that a client asked: the one in Host, else that of the scheme.
pub fn port(secure: bool, headers: &HeaderMap) -> HeaderValue {
    let authority = headers.get(HOST).and_then(|value| value.to_str().ok());
    authority
        .and_then(host::port)
        .and_then(|port| HeaderValue::from_str(port).ok())
        .unwrap_or(HeaderValue::from_static(if secure { "443" } else { "80" }))
}

/// Before a request goes to a server: the peer at the end of `X-Forwarded-For`.
pub fn before_send(exchange: &Exchange, headers: &mut HeaderMap) {
    let connection = &exchange.connection;
    if exchange.suppress_forwarded_for {
        return;
    }
    let appends = !connection.entry_point.keep_forwarded_for;
    // As Traefik: several lines become one either way.
    if !appends && headers.get_all(X_FORWARDED_FOR).iter().nth(1).is_none() {
        return;
    }
    if !headers.contains_key(X_FORWARDED_FOR) {
        headers.insert(X_FORWARDED_FOR, connection.peer_value.clone());
        return;
    }
    let mut joined = Vec::with_capacity(128);
    for line in headers.get_all(X_FORWARDED_FOR) {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    if appends {
        joined.extend_from_slice(connection.peer_value.as_bytes());
    } else {
        joined.truncate(joined.len().saturating_sub(2));
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// From strangers everything managed goes; from trusted peers only misspelt aliases,
/// which no honest proxy sends.
fn remove_unmanaged(trusted: bool, headers: &mut HeaderMap) {
    let found: SmallVec<[HeaderName; 4]> = headers
        .keys()
        .filter(|name| is_managed(name) && (!trusted || !MANAGED.contains(&name.as_str())))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::TlsInfo;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    fn connection(trusted: bool, tls: bool) -> Connection {
        let tls = tls.then(|| TlsInfo {
            version: "1.3",
            cipher: "",
            server_name: None,
            options: "default".into(),
            client_subject: None,
            client_certificates: Box::new([]),
        });
        Connection { tls, trusted, ..Connection::for_tests() }
    }

    fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
        headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn a_stranger_cannot_set_managed_fields_in_any_spelling() {
        let mut headers = map(&[
            ("host", "a.example:8080"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X_Forwarded_Proto", "https"),
            ("X.Forwarded.Host", "evil"),
            ("x-forwarded_tls-client-cert", "evil"),
            ("X-Forwarded-Prefix", "/evil"),
            ("x_real_ip", "6.6.6.6"),
            ("Forwarded", "for=6.6.6.6"),
        ]);

        assert!(!arrive(&connection(false, false), &mut headers));

        assert_eq!(get(&headers, "x-forwarded-for"), None);
        assert_eq!(get(&headers, "x_forwarded_proto"), None);
        assert_eq!(get(&headers, "x.forwarded.host"), None);
        assert_eq!(get(&headers, "x-forwarded_tls-client-cert"), None);
        assert_eq!(get(&headers, "x-forwarded-prefix"), None);
        assert_eq!(get(&headers, "x_real_ip"), None);
        assert_eq!(get(&headers, "forwarded"), Some("for=6.6.6.6"));
        assert_eq!(get(&headers, "x-forwarded-proto"), Some("http"));
        assert_eq!(get(&headers, "x-forwarded-host"), Some("a.example:8080"));
        assert_eq!(get(&headers, "x-forwarded-port"), Some("8080"));
        assert_eq!(get(&headers, "x-real-ip"), Some("192.0.2.1"));
    }

    #[test]
    fn a_trusted_peer_is_believed() {
        let mut headers = map(&[
            ("host", "a"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b"),
            ("x-forwarded-prefix", "/p"),
            ("x-real-ip", "10.0.0.1"),
        ]);

        assert!(arrive(&connection(true, false), &mut headers));

        assert_eq!(get(&headers, "x-forwarded-for"), Some("10.0.0.1"));
        assert_eq!(get(&headers, "x-forwarded-host"), Some("b"));
        assert_eq!(get(&headers, "x-forwarded-port"), Some("443"));
        assert_eq!(get(&headers, "x-forwarded-prefix"), Some("/p"));
        assert_eq!(get(&headers, "x-real-ip"), Some("10.0.0.1"));
    }

    #[test]
    fn proto_tells_tls_and_websocket_apart() {
        for (tls, upgrade, proto, port) in [
            (false, false, "http", "80"),
            (true, false, "https", "443"),
            (false, true, "ws", "80"),
            (true, true, "wss", "443"),
        ] {
            let mut headers = map(&[("host", "a")]);
            if upgrade {
                headers.insert("connection", HeaderValue::from_static("Upgrade"));
                headers.insert("upgrade", HeaderValue::from_static("websocket"));
            }
            arrive(&connection(false, tls), &mut headers);
            assert_eq!(get(&headers, "x-forwarded-proto"), Some(proto));
            assert_eq!(get(&headers, "x-forwarded-port"), Some(port));
        }
    }

    #[test]
    fn the_peer_goes_to_the_end_of_the_list() {
        let exchange = Exchange::for_tests();
        let mut headers = map(&[("x-forwarded-for", "a, b"), ("x-forwarded-for", "c")]);
        before_send(&exchange, &mut headers);
        assert_eq!(get(&headers, "x-forwarded-for"), Some("a, b, c, 192.0.2.1"));

        let mut headers = HeaderMap::new();
        before_send(&exchange, &mut headers);
        assert_eq!(get(&headers, "x-forwarded-for"), Some("192.0.2.1"));

        let exchange = Exchange { suppress_forwarded_for: true, ..Exchange::for_tests() };
        let mut headers = HeaderMap::new();
        before_send(&exchange, &mut headers);
        assert!(headers.is_empty());
    }
}
