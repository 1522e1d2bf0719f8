//! What the demo server answers to each path.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Replica, websocket};

/// Bodies of the demo server.
type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// The most that `/bytes` and `/stream` produce, so that a typo does not fill a disk.
const MOST_BYTES: u64 = 1 << 32;

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    replica: Arc<Replica>,
    peer: Option<SocketAddr>,
) -> Result<Response<Body>, Infallible> {
    replica.arrived(&request);
    let mut response = if replica.failing && request.uri().path() != "/health" {
        text(StatusCode::INTERNAL_SERVER_ERROR, "this release is broken\n")
    } else {
        route(request, &replica, peer).await
    };
    if let Ok(name) = HeaderValue::from_str(&replica.name) {
        response.headers_mut().insert("x-replica", name);
    }
    Ok(response)
}

async fn route(
    request: Request<Incoming>,
    replica: &Arc<Replica>,
    peer: Option<SocketAddr>,
) -> Response<Body> {
    if request.headers().contains_key(header::UPGRADE) {
        return websocket::accept(request, replica)
            .unwrap_or_else(|| text(StatusCode::BAD_REQUEST, "this is no WebSocket handshake\n"));
    }
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match path.as_str() {
        "/health" => health(&request, &query, replica),
        "/slow" => {
            tokio::time::sleep(query.millis("ms", 1000)).await;
            echo(&request, replica, peer)
        }
        "/bytes" => bytes(query.number("n", 1024)),
        "/stream" => ticks(replica, &query, "text/plain", |turn| format!("chunk {turn}\n")),
        "/events" => {
            let name = replica.name.clone();
            ticks(replica, &query, "text/event-stream", move |turn| {
                format!("id: {turn}\ndata: {{\"replica\":\"{name}\",\"turn\":{turn}}}\n\n")
            })
        }
        "/count" => count(request, query.millis("ms", 0)).await,
        "/echo" => pass_back(request),
        _ if is_grpc(request.headers()) => grpc(request).await,
        _ => match path.strip_prefix("/status/").map(str::parse::<StatusCode>) {
            Some(Ok(code)) => text(code, ""),
            Some(Err(_)) => text(StatusCode::BAD_REQUEST, "no such status\n"),
            None => echo(&request, replica, peer),
        },
    }
}

fn health(request: &Request<Incoming>, query: &Query, replica: &Replica) -> Response<Body> {
    if request.method() == http::Method::POST {
        replica.healthy.store(query.text("up") != Some("false"), Ordering::Relaxed);
    }
    if replica.healthy.load(Ordering::Relaxed) && !replica.stopping.is_cancelled() {
        text(StatusCode::OK, "well\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "sick\n")
    }
}

/// The request as JSON, so that a test or a reader sees what the proxy made of it.
fn echo(
    request: &Request<Incoming>,
    replica: &Replica,
    peer: Option<SocketAddr>,
) -> Response<Body> {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str()).or_default().push(value);
    }
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    let seen = json!({
        "service": replica.service,
        "replica": replica.name,
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "host": host,
        "protocol": format!("{:?}", request.version()),
        "peer": peer.map(|peer| peer.to_string()),
        "requests": replica.requests.load(Ordering::Relaxed),
        "headers": headers,
    });
    let mut pretty = serde_json::to_vec_pretty(&seen).unwrap_or_default();
    pretty.push(b'\n');
    answered("application/json", whole(pretty))
}

fn bytes(count: u64) -> Response<Body> {
    static BLOCK: [u8; 16 * 1024] = [b'w'; 16 * 1024];
    let mut left = count.min(MOST_BYTES);
    let blocks = std::iter::from_fn(move || {
        let size = left.min(BLOCK.len() as u64);
        left -= size;
        let block = BLOCK.get(..usize::try_from(size).ok()?)?;
        (!block.is_empty()).then(|| Ok(Frame::data(Bytes::from_static(block))))
    });
    let body = StreamBody::new(stream::iter(blocks)).boxed_unsync();
    let mut response = answered("application/octet-stream", body);
    response.headers_mut().insert(header::CONTENT_LENGTH, count.min(MOST_BYTES).into());
    response
}

/// A body of pieces that come one by one; ends early when the replica stops, unless the query
/// says `whole=true`.
fn ticks(
    replica: &Arc<Replica>,
    query: &Query,
    kind: &'static str,
    piece: impl Fn(u64) -> String + Send + 'static,
) -> Response<Body> {
    let (count, pause) = (query.number("n", 1_000_000), query.millis("ms", 1000));
    // One that nobody cancels, for answers that are to come whole.
    let stopping = match query.text("whole") {
        Some("true") => CancellationToken::new(),
        _ => replica.stopping.clone(),
    };
    let pieces = stream::unfold((0_u64, piece), move |(turn, piece)| {
        let stopping = stopping.clone();
        async move {
            if turn == count {
                return None;
            }
            if turn > 0 {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stopping.cancelled() => return None,
                }
            }
            let frame = Frame::data(Bytes::from(piece(turn)));
            Some((Ok(frame), (turn + 1, piece)))
        }
    });
    answered(kind, StreamBody::new(pieces).boxed_unsync())
}

async fn count(request: Request<Incoming>, pause: Duration) -> Response<Body> {
    let (mut body, mut size) = (request.into_body(), 0_usize);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => size += frame.data_ref().map_or(0, Bytes::len),
            Err(error) => return text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        }
    }
    tokio::time::sleep(pause).await;
    text(StatusCode::OK, &format!("{size}\n"))
}

fn pass_back(request: Request<Incoming>) -> Response<Body> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = Response::new(request.into_body().boxed_unsync());
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// Sends the messages of a gRPC call back and ends it with status 0.
async fn grpc(request: Request<Incoming>) -> Response<Body> {
    let Ok(messages) = request.into_body().collect().await else {
        return text(StatusCode::BAD_REQUEST, "the call was cut off\n");
    };
    let mut status = HeaderMap::new();
    status.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(messages.to_bytes())), Ok(Frame::trailers(status))];
    answered("application/grpc", StreamBody::new(stream::iter(frames).boxed()).boxed_unsync())
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = answered("text/plain; charset=utf-8", whole(text.to_owned()));
    *response.status_mut() = status;
    response
}

fn answered(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A body that is there at once.
pub(super) fn whole(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, hyper::Error> {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The parameters of a query; no escapes, since none of ours needs one.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.to_owned(), value.to_owned())
        };
        Self(text.split('&').map(pair).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, unset: u64) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(unset)
    }

    fn millis(&self, name: &str, unset: u64) -> Duration {
        // An hour at most: a request that never ends helps nobody.
        Duration::from_millis(self.number(name, unset).min(3_600_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_fall_back_when_absent_or_no_number() {
        let query = Query::parse("n=12&ms=soon&up");

        assert_eq!(query.number("n", 1), 12);
        assert_eq!(query.millis("ms", 7), Duration::from_millis(7));
        assert_eq!(query.text("up"), Some(""));
        assert_eq!(query.text("down"), None);
    }
}
