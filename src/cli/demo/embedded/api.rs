//! The needed part of Docker's API over the private socket.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::{Shown, view};

/// The version that is spoken; what Docker 20.10 speaks.
const API_VERSION: &str = "1.41";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until its task is aborted.
pub(super) async fn serve(listener: UnixListener, shown: Arc<Shown>) {
    // Connections end with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shown = Arc::clone(&shown);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, &shown);
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that goes away is no news.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, shown: &Arc<Shown>) -> Response<Body> {
    let path = without_version(request.uri().path());
    if let Some(id) = path.strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/json"))
    {
        return one(id, shown);
    }
    match path {
        "/_ping" => response(StatusCode::OK, "text/plain", whole(Bytes::from_static(b"OK"))),
        "/version" => value(&json!({
            "Version": concat!(env!("CARGO_PKG_VERSION"), "-embedded"),
            "ApiVersion": API_VERSION,
            "MinAPIVersion": "1.24",
            "Os": std::env::consts::OS,
            "Arch": std::env::consts::ARCH,
        })),
        "/info" => {
            let count = shown.with(|all| all.len());
            value(&json!({ "ID": "wharf-demo", "Name": "wharf-demo", "Containers": count,
                "ContainersRunning": count, "ServerVersion": env!("CARGO_PKG_VERSION") }))
        }
        "/containers/json" => {
            let listed = |all: &mut std::collections::BTreeMap<_, _>| {
                all.values().map(|c| view::listed(c, &shown.network)).collect::<Vec<_>>()
            };
            value(&Value::Array(shown.with(listed)))
        }
        "/events" => events(shown),
        _ => refused(&format!("the embedded engine knows no {path}")),
    }
}

/// `/v1.41/info` is `/info`.
fn without_version(path: &str) -> &str {
    let Some((version, rest)) = path.strip_prefix("/v").and_then(|path| path.split_once('/'))
    else {
        return path;
    };
    if version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        path.get(path.len() - rest.len() - 1..).unwrap_or(path)
    } else {
        path
    }
}

fn one(id: &str, shown: &Shown) -> Response<Body> {
    let found = shown.with(|all| {
        all.values()
            .find(|container| container.id.starts_with(id) || container.name == id)
            .map(|container| view::inspected(container, &shown.network))
    });
    found.map_or_else(|| refused(&format!("No such container: {id}")), |found| value(&found))
}

/// What happens from now on, a line each; ends when the reader lags too far behind.
fn events(shown: &Shown) -> Response<Body> {
    let receiver = shown.events.subscribe();
    let lines = stream::unfold(receiver, |mut receiver| async move {
        let line = receiver.recv().await.ok()?;
        Some((Ok(Frame::data(Bytes::from(line))), receiver))
    });
    response(StatusCode::OK, "application/json", StreamBody::new(lines).boxed_unsync())
}

fn value(value: &Value) -> Response<Body> {
    response(StatusCode::OK, "application/json", whole(Bytes::from(value.to_string())))
}

fn refused(text: &str) -> Response<Body> {
    let body = json!({ "message": text }).to_string();
    response(StatusCode::NOT_FOUND, "application/json", whole(Bytes::from(body)))
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert("api-version", HeaderValue::from_static(API_VERSION));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_in_front_of_the_path_is_passed_over() {
        let cases = [
            ("/v1.41/info", "/info"),
            ("/v1.53/containers/ab/json", "/containers/ab/json"),
            ("/version", "/version"),
            ("/_ping", "/_ping"),
            ("/volumes/x", "/volumes/x"),
        ];
        for (path, wanted) in cases {
            assert_eq!(without_version(path), wanted);
        }
    }
}
