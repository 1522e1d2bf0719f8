use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::message::BodyError;
use crate::middleware::testing::{self, Reply};

fn step() -> Step {
    Step::build(&Settings { allow_origins: vec!["http://ok.test".to_owned()] }).unwrap()
}

/// A body that comes in these pieces, with these trailers.
fn body(pieces: &[&'static str], trailers: &[(&'static str, &'static str)]) -> Body {
    let mut frames: Vec<Result<Frame<Bytes>, BodyError>> =
        pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect();
    if !trailers.is_empty() {
        let trailers = trailers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        frames.push(Ok(Frame::trailers(trailers.collect())));
    }
    Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

fn question(fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = testing::get("/a.Service/Method", fields);
    *request.method_mut() = Method::OPTIONS;
    request
}

fn call(kind: &str, pieces: &[&'static str]) -> Request<Body> {
    let fields = [("content-type", kind), ("origin", "http://ok.test"), ("content-length", "4")];
    let mut request = testing::get("/a.Service/Method", &fields);
    *request.method_mut() = Method::POST;
    *request.body_mut() = body(pieces, &[]);
    request
}

/// A body of texts, each in base64 on its own and padded, cut into pieces of this many bytes.
fn cut(texts: &[Vec<u8>], size: usize) -> Body {
    let letters: String = texts.iter().map(|text| STANDARD.encode(text)).collect();
    let pieces: Vec<Result<_, BodyError>> = (letters.as_bytes().chunks(size))
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    Body::boxed(StreamBody::new(futures_util::stream::iter(pieces)))
}

proptest::proptest! {
    #[test]
    fn base64_may_be_cut_anywhere(
        texts in proptest::collection::vec(proptest::collection::vec(0_u8.., 0..9), 0..6),
        size in 1_usize..12,
    ) {
        let decoded = Decoded::new(cut(&texts, size), Rc::default());

        let whole = futures_util::FutureExt::now_or_never(decoded.collect()).unwrap().unwrap();

        proptest::prop_assert_eq!(whole.to_bytes(), texts.concat());
    }

    #[test]
    fn no_text_panics(text in "[A-Za-z0-9+/=\\r\\n!\u{e9}]{0,40}", size in 1_usize..12) {
        let pieces: Vec<Result<_, BodyError>> = (text.as_bytes().chunks(size))
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let body = Body::boxed(StreamBody::new(futures_util::stream::iter(pieces)));
        let is_malformed = Rc::new(Cell::new(false));
        let decoded = Decoded::new(body, Rc::clone(&is_malformed));

        let whole = futures_util::FutureExt::now_or_never(decoded.collect()).unwrap();

        proptest::prop_assert_eq!(whole.is_err(), is_malformed.get());
    }
}

/// The request that the server sees, and what is remembered.
fn pass(request: Request<Body>) -> (Request<Body>, Memo) {
    match testing::ask(&step(), request) {
        Reply::After(request, memo) => (request, memo),
        Reply::Next(_) | Reply::Answer(_) => panic!("not taken for gRPC-Web"),
    }
}

fn answer(memo: Memo, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(TRAILER, HeaderValue::from_static("grpc-status"));
    step().response(memo, &mut response);
    response
}

async fn bytes(body: Body) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn servers_see_grpc() {
    for (kind, pieces, seen_kind, seen) in [
        ("application/grpc-web", &["a", "bc"][..], "application/grpc", "abc"),
        ("application/grpc-web+proto", &["abc"], "application/grpc+proto", "abc"),
        ("application/grpc-web-text+proto", &["YWJj"], "application/grpc+proto", "abc"),
        // Cut anywhere, and several texts after each other.
        (
            "application/grpc-web-text",
            &["YQ=", "=Ym", "M=\r\nYWJ", "j"],
            "application/grpc",
            "abcabc",
        ),
        ("application/grpc-web-text", &[], "application/grpc", ""),
    ] {
        let (request, _) = pass(call(kind, pieces));

        assert_eq!(request.headers()[CONTENT_TYPE], seen_kind);
        assert_eq!(request.headers()[TE], "trailers");
        assert!(!request.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(bytes(request.into_body()).await, seen);
    }
}

#[tokio::test]
async fn a_text_that_is_no_base64_is_the_clients_fault() {
    for pieces in [&["!!!!"][..], &["YWJ"], &["YQ==", "=YQ="], &["===="]] {
        let (request, memo) = pass(call("application/grpc-web-text", pieces));

        assert!(request.into_body().collect().await.is_err(), "{pieces:?}");
        let response = answer(memo, "text/plain", Body::empty());
        assert_eq!(response.status(), 400, "{pieces:?}");
    }
}

#[tokio::test]
async fn trailers_become_the_last_frame() {
    let trailers = &[("grpc-status", "0"), ("grpc-message", "fine")];
    let last = b"\x80\0\0\0\x24grpc-status: 0\r\ngrpc-message: fine\r\n";
    for (kind, told, written) in [
        ("application/grpc-web+x", "application/grpc-web+proto", [b"hello", &last[..]].concat()),
        (
            "application/grpc-web-text",
            "application/grpc-web-text+proto",
            [STANDARD.encode("hello"), STANDARD.encode(last)].concat().into_bytes(),
        ),
    ] {
        let (_, memo) = pass(call(kind, &[]));

        let response = answer(memo, "application/grpc+proto", body(&["hello"], trailers));

        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], told);
        assert!(!headers.contains_key(TRAILER));
        assert_eq!(headers["vary"], "Origin");
        assert_eq!(headers["access-control-allow-origin"], "http://ok.test");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        let exposed = headers["access-control-expose-headers"].to_str().unwrap();
        assert!(exposed.starts_with("content-type, ") && exposed.ends_with("grpc-message"));
        assert_eq!(bytes(response.into_body()).await, written);
    }
}

#[tokio::test]
async fn an_answer_without_trailers_ends_with_an_empty_frame() {
    let (_, memo) = pass(call("application/grpc-web", &[]));

    let response = answer(memo, "application/grpc", body(&["hello"], &[]));

    assert_eq!(
        bytes(response.into_body()).await,
        "hello\u{80}\0\0\0\0".chars().map(|c| c as u8).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn answers_without_body_and_of_another_kind_keep_theirs() {
    for (kind, told, whole) in [
        ("application/grpc", "application/grpc-web-text", ""),
        ("text/plain", "text/plain", "Bad Gateway"),
    ] {
        let (_, memo) = pass(call("application/grpc-web-text", &[]));

        let response = answer(memo, kind, Body::from(whole));

        assert_eq!(response.headers()[CONTENT_TYPE], told);
        assert_eq!(bytes(response.into_body()).await, whole);
    }
}

#[test]
fn browsers_that_ask_beforehand_are_answered() {
    let mark = ("access-control-request-headers", "X-Grpc-Web,content-type");
    let post = ("access-control-request-method", "POST");
    let origin = ("origin", "http://ok.test");
    for (fields, allowed) in [
        (&[mark, post, origin][..], true),
        (&[mark, post, ("origin", "http://bad.test")], false),
        (&[mark, post], false),
        (&[mark, ("access-control-request-method", "DELETE"), origin], false),
    ] {
        let Reply::Answer(response) = testing::ask(&step(), question(fields)) else {
            panic!("{fields:?} went to the server")
        };

        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers.get_all("vary").iter().count(), 3);
        assert_eq!(headers.len(), if allowed { 8 } else { 3 }, "{headers:?}");
        if allowed {
            assert_eq!(headers["access-control-allow-origin"], "http://ok.test");
            assert_eq!(headers["access-control-allow-methods"], "POST");
            assert_eq!(headers["access-control-allow-headers"], "X-Grpc-Web,content-type");
            assert_eq!(headers["access-control-max-age"], "600");
        }
    }
}

#[test]
fn other_requests_pass_untouched() {
    let post = |kind| {
        let mut request = call(kind, &[]);
        request.headers_mut().remove("origin");
        request
    };
    let mut get = call("application/grpc-web", &[]);
    *get.method_mut() = Method::GET;
    let plain_question =
        question(&[("access-control-request-method", "POST"), ("origin", "http://ok.test")]);
    for request in [post("application/grpc"), post("application/json"), get, plain_question] {
        assert!(matches!(testing::ask(&step(), request), Reply::Next(_)));
    }
}

#[test]
fn a_star_stands_for_every_site() {
    let step = Step::build(&Settings { allow_origins: vec!["*".to_owned()] }).unwrap();

    let fields = [("origin", "http://any.test")];

    assert!(step.cors.allowed(testing::get("/", &fields).headers()).is_some());
}
