//! Fields that belong to one hop only (RFC 9110 section 7.6.1).

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::{EntryPoint, forwarded};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// On arrival, before middlewares: removes the fields that `Connection` names, but for
/// those that a client must not be able to remove and those that the entry point keeps
/// (`forwardedHeaders.connection`). An upgrade to HTTP/2 is not offered further (H14).
pub fn arrive(entry_point: &EntryPoint, headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let names = named(headers);
    if !names.is_empty() {
        forget(&names, &entry_point.connection_fields, headers);
    }
    headers.remove(HTTP2_SETTINGS);
    let is_h2c = |token: &[u8]| {
        token.eq_ignore_ascii_case(b"h2c")
            || token.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/2"))
    };
    if headers.get_all(UPGRADE).iter().flat_map(tokens).any(is_h2c) {
        headers.remove(UPGRADE);
    }
}

/// Removes these fields, and their names from `Connection`: before the request is sent they
/// would else take what a middleware has set under the same name meanwhile (H18).
fn forget(names: &[HeaderName], stay: &[HeaderName], headers: &mut HeaderMap) {
    for name in names {
        if !is_kept(name) && !stay.contains(name) {
            headers.remove(name);
        }
    }
    let is_left = |token: &&[u8]| {
        HeaderName::from_bytes(token)
            .is_ok_and(|name| !names.contains(&name) || stay.contains(&name))
    };
    let said: Vec<_> =
        headers.get_all(CONNECTION).iter().flat_map(tokens).filter(is_left).collect();
    match HeaderValue::from_bytes(&said.join(&b", "[..])) {
        Ok(left) if !left.is_empty() => headers.insert(CONNECTION, left),
        Ok(_) | Err(_) => headers.remove(CONNECTION),
    };
}

/// Whether a request or a response 101 asks to change the protocol: `Upgrade` with a
/// `Connection` that names it.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(tokens)
            .any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}

/// Whether the upgrade is one to WebSocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    is_upgrade(headers)
        && headers
            .get_all(UPGRADE)
            .iter()
            .flat_map(tokens)
            .any(|token| token.eq_ignore_ascii_case(b"websocket"))
}

/// Before a request goes to a server: hop-by-hop fields out. A valid upgrade keeps
/// `Upgrade`, with `Connection: Upgrade`; `TE` keeps `trailers`.
pub fn strip_request(headers: &mut HeaderMap) {
    let upgrade = if is_upgrade(headers) { headers.remove(UPGRADE) } else { None };
    let trailers = headers
        .get_all(TE)
        .iter()
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case(b"trailers"));
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    strip(headers);
    if !chunked {
        headers.remove(TRAILER);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(token) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, token);
    }
}

/// Before a response goes to the client: hop-by-hop fields out. A 101 keeps `Upgrade`,
/// with `Connection: Upgrade`.
pub fn strip_response(status: http::StatusCode, headers: &mut HeaderMap) {
    let switching = status == http::StatusCode::SWITCHING_PROTOCOLS;
    let upgrade = if switching { headers.remove(UPGRADE) } else { None };
    strip(headers);
    if let Some(token) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, token);
    }
}

fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        // `Connection` can name further fields, so it goes last.
        for name in named(headers) {
            if !is_kept(&name) {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    let found: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| is_hop(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Whether a field is about one message on one connection: hop-by-hop, or about where the
/// message ends. None of these may stand in an interim answer or in trailers.
pub fn is_of_message(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TRAILER].contains(name) || is_hop(name)
}

fn is_hop(name: &HeaderName) -> bool {
    [TE, UPGRADE, TRANSFER_ENCODING, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == HTTP2_SETTINGS
}

/// Naming one of these in `Connection` has no effect (H18).
fn is_kept(name: &HeaderName) -> bool {
    [HOST, CONTENT_LENGTH, CONNECTION, UPGRADE, TE, TRANSFER_ENCODING].contains(name)
        || forwarded::is_managed(name)
}

/// The fields that `Connection` names; the usual options are no fields.
fn named(headers: &HeaderMap) -> SmallVec<[HeaderName; 4]> {
    let is_option = |token: &&[u8]| {
        let options: [&[u8]; 3] = [b"close", b"keep-alive", b"upgrade"];
        !options.iter().any(|option| token.eq_ignore_ascii_case(option))
    };
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter(is_option)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect()
}

/// The elements of a comma-separated value.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn connection_removes_what_it_names_but_not_what_clients_may_not_remove() {
        let mut headers = map(&[
            ("connection", "close, X-A, x-forwarded-for, Host, content-length, X-K"),
            ("x-a", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("host", "a"),
            ("content-length", "3"),
            ("x-k", "1"),
        ]);
        let mut entry_point = EntryPoint::for_tests();
        entry_point.connection_fields = Box::new([HeaderName::from_static("x-k")]);

        arrive(&entry_point, &mut headers);

        let left = ["connection", "content-length", "host", "x-forwarded-for", "x-k"];
        assert_eq!(names(&headers), left);
        strip_request(&mut headers);
        assert_eq!(names(&headers), ["content-length", "host", "x-forwarded-for"]);
    }

    #[test]
    fn sec_h18_connection_takes_nothing_that_a_middleware_sets() {
        for said in ["X-User", "close, X-User, X-K", "x-user, Upgrade"] {
            let mut headers = map(&[("connection", said), ("upgrade", "chat"), ("x-user", "evil")]);

            arrive(&EntryPoint::for_tests(), &mut headers);

            assert!(!headers.contains_key("x-user"), "{said}");
            headers.insert("x-user", HeaderValue::from_static("joe"));
            assert_eq!(is_upgrade(&headers), said.contains("Upgrade"));
            strip_request(&mut headers);
            assert_eq!(
                headers.get("x-user").map(HeaderValue::as_bytes),
                Some(&b"joe"[..]),
                "{said}"
            );
        }
    }

    #[test]
    fn servers_see_no_hop_by_hop_fields() {
        let mut headers = map(&[
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "x"),
            ("te", "gzip, trailers"),
            ("trailer", "x-t"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABk"),
            ("accept", "*/*"),
        ]);

        strip_request(&mut headers);

        assert_eq!(names(&headers), ["accept", "te"]);
        assert_eq!(headers.get("te").unwrap(), "trailers");
    }

    #[test]
    fn an_upgrade_passes_only_when_connection_names_it() {
        let mut headers = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);

        strip_request(&mut headers);

        assert_eq!(headers.get("connection").unwrap(), "Upgrade");
        assert_eq!(headers.get("upgrade").unwrap(), "websocket");
    }

    #[test]
    fn upgrades_to_http2_are_not_offered_further() {
        let mut headers = map(&[
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ]);

        arrive(&EntryPoint::for_tests(), &mut headers);

        assert!(!is_upgrade(&headers));
        assert!(!headers.contains_key(HTTP2_SETTINGS));
    }

    #[test]
    fn a_101_keeps_its_upgrade() {
        let mut headers = map(&[("connection", "upgrade"), ("upgrade", "chat"), ("te", "x")]);

        strip_response(http::StatusCode::SWITCHING_PROTOCOLS, &mut headers);

        assert_eq!(names(&headers), ["connection", "upgrade"]);
        strip_response(http::StatusCode::OK, &mut headers);
        assert_eq!(names(&headers), Vec::<&str>::new());
    }
}
