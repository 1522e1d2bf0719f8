//! A request's way: what it says is brought to one form, its route is found, its
//! middlewares and service answer, and the answer is finished.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::body::{Inbound, Outbound, Stall};
use super::client::Client;
use super::life::{Phase, Verdict};
use super::record::Record;
use super::refusal::Refusal;
use super::rest::Intake;
use crate::message::{Body, forwarded, hop, host, path};
use crate::route::{Route, View};
use crate::table::Table;

/// Most fields of an HTTP/2 request (`security.md` T1).
const FIELD_LIMIT: usize = 512;
const DEFAULT_OPTIONS: &str = "default";

/// Answers one request of a connection.
pub(super) async fn handle(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Outbound>, Infallible> {
    let is_http2 = request.version() == Version::HTTP_2;
    if is_http2 {
        client.life.deliver(1);
    } else {
        client.life.answering.set(false);
    }
    let mut record = Record::new(Rc::clone(&client), &request);
    // Of HTTP/1.0 nothing is held back behind an upgrade, so no verdict is waited for.
    let upgrades = request.version() == Version::HTTP_11 && hop::is_upgrade(request.headers());
    let answered = answer(&mut record, request).await;
    let mut response = answered.unwrap_or_else(Refusal::response);
    if client.life.broken.get() && !is_http2 {
        response = Refusal::Request.response();
    }
    if !is_http2 && record.intake.is_open() {
        settle_rest(&client, &record.intake, &mut response).await;
    }
    record.saw_response(response.status(), response.headers());
    if client.is_used_up() {
        if is_http2 {
            client.life.draining.set(true);
            client.life.wake();
        } else {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    if upgrades && response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(tunnel(&client, record, response));
    }
    if upgrades {
        client.life.verdict.set(Verdict::Refused);
    }
    Ok(response.map(|body| Outbound::new(body, record)))
}

/// An answer that comes before the end of its request: says that it is the last on its
/// connection, unless what is left to read is little.
async fn settle_rest(client: &Client, intake: &Intake, response: &mut Response<Body>) {
    let is_last = response.headers().get(CONNECTION).is_some_and(|value| value == "close");
    if !is_last && intake.may_have_ended() {
        intake.look().await;
    }
    if !is_last && (!intake.is_open() || intake.ends_in_reach()) {
        return;
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    intake.say_last();
    client.life.drop_rest();
}

/// The connection is handed over; its record ends with it.
fn tunnel(
    client: &Rc<Client>,
    record: Box<Record>,
    response: Response<Body>,
) -> Response<Outbound> {
    let life = &client.life;
    life.verdict.set(Verdict::Agreed);
    life.enter(Phase::Tunnel);
    life.websocket.set(hop::is_websocket(response.headers()));
    *life.tunnel.borrow_mut() = Some(record);
    response.map(|_| Outbound::silent())
}

/// The whole way.
async fn answer(
    record: &mut Record,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let (mut parts, incoming) = request.into_parts();
    let size = body_size(&incoming);
    // Made first: refused or not, what becomes of it is the same.
    let body = inbound(record, &parts, incoming);
    arrive(record, &mut parts)?;
    let alias = alias(record).await;
    let route = find(record, &mut parts, size, alias.as_deref())?;
    let mut request = Request::from_parts(parts, body);
    if hop::is_upgrade(request.headers()) && request.version() == Version::HTTP_11 {
        record.exchange.upgrade = Some(hyper::upgrade::on(&mut request));
    }
    record.exchange.counted = route.counted;
    record.route = Some(Arc::clone(&route));
    Ok(route.chain.run(&mut record.exchange, request, &route.service).await)
}

fn inbound(record: &Record, parts: &Parts, incoming: Incoming) -> Body {
    if incoming.is_end_stream() {
        return Body::empty();
    }
    let life = &record.client.life;
    record.intake.open(incoming.size_hint().exact(), parts.headers.contains_key(EXPECT));
    let stall = if parts.version == Version::HTTP_2 {
        Stall::Timer(life.limits().stall(), None)
    } else {
        Stall::Sweep(Rc::clone(life))
    };
    Body::boxed(Inbound::new(incoming, Rc::clone(&record.intake), stall))
}

/// Brings a request to one form.
fn arrive(record: &mut Record, parts: &mut Parts) -> Result<(), Refusal> {
    let client = Rc::clone(&record.client);
    let connection = &client.connection;
    let entry_point = &connection.entry_point;
    refuse_odd(parts)?;
    if parts.version == Version::HTTP_2 {
        refuse_odd_fields(&parts.headers)?;
        let size = head_size(&parts.headers);
        if !client.life.take_head(size) {
            return Err(Refusal::Fields);
        }
        record.head_bytes = size;
    }
    if parts.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        one_length(&mut parts.headers)?;
    }
    settle_authority(parts)?;
    if !entry_point.aliases.settle(&mut parts.headers) {
        return Err(Refusal::Alias);
    }
    hop::arrive(entry_point, &mut parts.headers);
    record.exchange.secure = forwarded::arrive(connection, &mut parts.headers);
    record.saw_request(&parts.headers);
    let authority = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    record.exchange.host = host::for_routing(authority.unwrap_or_default());
    Ok(())
}

/// What its host is an alias of, where rules look at that too.
async fn alias(record: &Record) -> Option<Rc<str>> {
    let aliases = record.client.entry.worker.aliases.as_ref()?;
    // On the heap, since it is rarely there and a request's future should stay small.
    Box::pin(aliases.find(&record.exchange.host)).await
}

/// Finds a request's route.
fn find(
    record: &mut Record,
    parts: &mut Parts,
    body_size: i64,
    alias: Option<&str>,
) -> Result<Arc<Route>, Refusal> {
    let client = Rc::clone(&record.client);
    let connection = &client.connection;
    let entry_point = &connection.entry_point;
    let table = client.entry.worker.published.load();
    if !has_options(&table, record, &record.exchange.host) {
        return Err(Refusal::Misdirected);
    }
    if parts.method == Method::OPTIONS && parts.uri.path() == "*" {
        return Err(Refusal::Options);
    }
    settle_path(parts, record)?;
    record.saw_target(&parts.uri);
    let routing = path::routing(parts.uri.path());
    let view = View {
        host: &record.exchange.host,
        alias,
        path: &routing,
        query: parts.uri.query().unwrap_or_default(),
        method: &parts.method,
        headers: &parts.headers,
        peer: peer(connection.peer.ip()),
        tls: connection.tls.is_some(),
    };
    let route =
        table.entry_points.get(entry_point.index).and_then(|routers| routers.find(&view, &mut ()));
    if record.watched.tracing.is_some() {
        record.trace(route.map(|route| &**route), parts, body_size);
    }
    let route = route.ok_or(Refusal::NotFound)?;
    // Anybody can make a name of theirs an alias of ours: it must not lead past the TLS options
    // that our name asks for. As Traefik.
    let is_other = connection.tls.as_ref().is_some_and(|tls| route.tls_options != tls.options);
    if is_other && alias.is_some_and(|alias| !has_options(&table, record, alias)) {
        return Err(Refusal::Misdirected);
    }
    if path::is_refused(parts.uri.path(), entry_point) {
        return Err(Refusal::Target);
    }
    Ok(Arc::clone(route))
}

/// The length of a body as far as its head tells; -1 when only its end will.
fn body_size(incoming: &Incoming) -> i64 {
    let size = incoming.size_hint().exact();
    size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX))
}

fn peer(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// What no route can want.
fn refuse_odd(parts: &Parts) -> Result<(), Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    if parts.headers.len() > FIELD_LIMIT {
        return Err(Refusal::Fields);
    }
    let continues = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if parts.headers.get(EXPECT).is_some_and(|value| !continues(value)) {
        return Err(Refusal::Expectation);
    }
    Ok(())
}

/// What HTTP/2's own framing lets by and a server that speaks HTTP/1 could read in another
/// way than we do (T4, RFC 9113 section 8.2.1): blanks around a value, and a Host that is
/// none or is said twice. Over HTTP/1 all this never becomes a request.
fn refuse_odd_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_padded = |value: &HeaderValue| {
        let value = value.as_bytes();
        is_blank(value.first()) || is_blank(value.last())
    };
    let mut hosts = headers.get_all(HOST).iter();
    let is_host = hosts.next().is_none_or(|value| host::is_valid(value.as_bytes()));
    if !is_host || hosts.next().is_some() || headers.values().any(is_padded) {
        return Err(Refusal::Request);
    }
    Ok(())
}

/// As HTTP/2 counts it (RFC 9113 section 6.5.2).
fn head_size(headers: &HeaderMap) -> usize {
    let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    sizes.fold(0, usize::saturating_add)
}

/// One length out of several that say the same (H2, H17).
fn one_length(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next().cloned().ok_or(Refusal::Request)?;
    let number = |value: &HeaderValue| value.to_str().ok()?.parse::<u64>().ok();
    if number(&first).is_none() || lengths.any(|other| number(other) != number(&first)) {
        return Err(Refusal::Request);
    }
    headers.insert(CONTENT_LENGTH, first);
    Ok(())
}

/// The authority into Host and out of the target: an absolute target and HTTP/2's
/// `:authority` win (RFC 9112 section 3.2.2).
fn settle_authority(parts: &mut Parts) -> Result<(), Refusal> {
    let is_http2 = parts.version == Version::HTTP_2;
    if is_http2 {
        join_cookies(&mut parts.headers);
    }
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    if !host::is_valid(authority.as_str().as_bytes()) {
        return Err(Refusal::Request);
    }
    let differs = parts
        .headers
        .get(HOST)
        .is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
    if is_http2 && differs {
        return Err(Refusal::Request);
    }
    let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Request)?;
    parts.headers.insert(HOST, value);
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = None;
    uri.authority = None;
    parts.uri = Uri::from_parts(uri).map_err(|_| Refusal::Request)?;
    Ok(())
}

/// HTTP/2 sends cookies in crumbs (RFC 9113 section 8.2.3); servers want one line.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// The path in its one form; routed, logged and sent on as such.
fn settle_path(parts: &mut Parts, record: &Record) -> Result<(), Refusal> {
    let entry_point = &record.client.connection.entry_point;
    let settled = path::normalise(parts.uri.path(), entry_point).map_err(|_| Refusal::Request)?;
    let query = parts.uri.query().map(|query| path::query(query, entry_point));
    let is_same = matches!(settled, Cow::Borrowed(_))
        && query.as_ref().is_none_or(|query| matches!(query, Cow::Borrowed(_)));
    if is_same {
        return Ok(());
    }
    let mut target = settled.into_owned();
    if let Some(query) = query {
        target.push('?');
        target.push_str(&query);
    }
    let target =
        PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).map_err(|_| Refusal::Target)?;
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(target);
    parts.uri = Uri::from_parts(uri).map_err(|_| Refusal::Target)?;
    Ok(())
}

/// Whether a connection has the TLS options that a host's routers ask for. Without them it
/// must not be served: its client certificates may never have been asked for (T6).
fn has_options(table: &Table, record: &Record, host: &str) -> bool {
    let Some(tls) = &record.client.connection.tls else { return true };
    let index = record.client.connection.entry_point.index;
    let wanted = table.tls.options_for(index, host);
    wanted.map_or(DEFAULT_OPTIONS, |options| options) == &*tls.options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn sec_t4_http2_fields_that_http1_reads_otherwise_are_refused() {
        for (fields, is_refused) in [
            (&[("host", "a"), ("x", "1 2")][..], false),
            (&[("x", "")], false),
            (&[("x", " 1")], true),
            (&[("x", "1\t")], true),
            (&[("host", "a"), ("host", "a")], true),
            (&[("host", "u@a")], true),
        ] {
            let result = refuse_odd_fields(&map(fields));
            assert_eq!(result.is_err(), is_refused, "{fields:?}");
        }
    }

    #[test]
    fn sec_h2_equal_lengths_go_on_as_one_and_others_nowhere() {
        let mut headers = map(&[("content-length", "5"), ("content-length", "5")]);
        assert_eq!(one_length(&mut headers), Ok(()));
        assert_eq!(headers.get_all(CONTENT_LENGTH).iter().count(), 1);

        let mut headers = map(&[("content-length", "5"), ("content-length", "6")]);
        assert_eq!(one_length(&mut headers), Err(Refusal::Request));
        let mut headers = map(&[("content-length", "5, 5"), ("content-length", "5, 5")]);
        assert_eq!(one_length(&mut headers), Err(Refusal::Request));
    }
}
