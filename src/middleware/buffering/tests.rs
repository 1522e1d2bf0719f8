use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::balance::Service;
use crate::message::{BodyError, Handler};
use crate::middleware::{Chain, Link, Spec};
use crate::observe::Requests;

type Frames = Vec<Result<Frame<Bytes>, BodyError>>;

fn stream(frames: Frames) -> Body {
    Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

fn trailers() -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", HeaderValue::from_static("1"));
    Frame::trailers(trailers)
}

/// Answers what a function says; it gets the number of the try and what was asked.
struct Server<A> {
    answer: A,
    asked: AtomicUsize,
    heads: Mutex<Vec<HeaderMap>>,
}

impl<A: Fn(usize) -> Response<Body> + Send + Sync> Handler for Server<A> {
    fn handle(&self, _: &Exchange, request: Request<Body>) -> Response<Body> {
        self.heads.lock().unwrap().push(request.headers().clone());
        assert!(http_body::Body::size_hint(request.body()).exact().is_some());
        (self.answer)(self.asked.fetch_add(1, Relaxed) + 1)
    }
}

struct Seen {
    response: Response<Body>,
    asked: usize,
    heads: Vec<HeaderMap>,
    retries: u32,
}

async fn ask(
    settings: Settings,
    request: Request<Body>,
    answer: impl Fn(usize) -> Response<Body> + Send + Sync + 'static,
) -> Seen {
    let step = super::super::Step::build(&Spec::Buffering(Box::new(settings)), None).unwrap();
    let link = Link { name: "b@file".into(), step: Arc::new(step), service: None };
    let server = Arc::new(Server { answer, asked: AtomicUsize::new(0), heads: Mutex::default() });
    let handler: Arc<dyn Handler> = Arc::clone(&server) as Arc<dyn Handler>;
    let end = Service::internal("s@file".into(), handler, Requests::off());
    let mut exchange = Exchange::for_tests();
    let response = Chain::new(vec![link]).run(&mut exchange, request, &end).await;
    let heads = std::mem::take(&mut *server.heads.lock().unwrap());
    Seen { response, asked: server.asked.load(Relaxed), heads, retries: exchange.served.retries }
}

fn request(body: Body) -> Request<Body> {
    Request::post("/").header(TRANSFER_ENCODING, "chunked").body(body).unwrap()
}

fn ok(body: Body) -> Response<Body> {
    Response::new(body)
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_is_passed_on_whole_with_its_length() {
    let seen =
        ask(Settings::default(), request(stream(vec![Ok(data("ab")), Ok(data("c"))])), |_| {
            ok(Body::from("fine"))
        })
        .await;

    let head = &seen.heads[0];
    assert_eq!(head.get(CONTENT_LENGTH).unwrap(), "3");
    assert!(!head.contains_key(TRANSFER_ENCODING));
    assert_eq!(seen.response.headers()[CONTENT_LENGTH], "4");
    assert_eq!(text(seen.response).await, "fine");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_a_413_and_not_passed_on() {
    let settings = Settings { max_request_body_bytes: 3, ..Settings::default() };
    for (body, status, asked) in [
        (stream(vec![Ok(data("ab")), Ok(data("cd"))]), 413, 0),
        (Body::from("abcd"), 413, 0),
        (Body::from("abc"), 200, 1),
        (stream(vec![Ok(data("ab")), Err(BodyError::Limit("cut"))]), 500, 0),
    ] {
        let seen = ask(settings.clone(), request(body), |_| ok(Body::empty())).await;

        assert_eq!((seen.response.status().as_u16(), seen.asked), (status, asked));
        if status == 413 {
            assert_eq!(text(seen.response).await, "Request Entity Too Large");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_a_500_and_one_that_breaks_off_a_502() {
    let settings = Settings { max_response_body_bytes: 3, ..Settings::default() };
    let answers: [(fn() -> Body, u16); 4] = [
        (|| stream(vec![Ok(data("ab")), Ok(data("cd"))]), 500),
        (|| Body::from("abcd"), 500),
        (|| stream(vec![Ok(data("ab")), Err(BodyError::Limit("cut"))]), 502),
        (|| stream(vec![Ok(data("ab")), Ok(trailers())]), 200),
    ];
    for (body, status) in answers {
        let seen = ask(settings.clone(), request(Body::empty()), move |_| ok(body())).await;

        assert_eq!(seen.response.status(), status);
    }
}

#[tokio::test]
async fn the_length_of_an_answer_without_a_body_stays() {
    let mut request = request(Body::empty());
    *request.method_mut() = Method::HEAD;
    let seen = ask(Settings::default(), request, |_| {
        let mut response = ok(Body::empty());
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("77"));
        response
    })
    .await;

    assert_eq!(seen.response.headers()[CONTENT_LENGTH], "77");
}

#[tokio::test]
async fn a_request_is_sent_again_as_the_expression_says() {
    let answer = |number: usize| {
        let mut response = ok(Body::from("body"));
        let status = if number < 3 { 503 } else { 200 };
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    for (expression, status, asked) in [
        ("ResponseCode() == 503", 200, 3),
        ("ResponseCode() == 503 && Attempts() <= 1", 503, 2),
        ("ResponseCode() >= 500 && RequestMethod() == \"GET\"", 503, 1),
        ("RequestMethod() == \"POST\" && Attempts() < 3", 200, 3),
        ("IsNetworkError()", 503, 1),
        ("Attempts() > 0", 200, 11),
    ] {
        let settings = Settings { retry_expression: expression.to_owned(), ..Settings::default() };

        let seen = ask(settings, request(stream(vec![Ok(data("again"))])), answer).await;

        assert_eq!((seen.response.status().as_u16(), seen.asked), (status, asked), "{expression}");
        assert_eq!(seen.retries as usize, asked - 1);
        assert!(seen.heads.iter().all(|head| head[CONTENT_LENGTH] == "5"));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_counts_as_a_network_error() {
    let settings =
        Settings { retry_expression: "IsNetworkError()".to_owned(), ..Settings::default() };

    let seen = ask(settings, request(Body::empty()), |number| {
        if number == 1 {
            return ok(stream(vec![Ok(data("ab")), Err(BodyError::Limit("cut"))]));
        }
        ok(Body::from("whole"))
    })
    .await;

    assert_eq!(seen.asked, 2);
    assert_eq!(text(seen.response).await, "whole");
}

#[tokio::test]
async fn what_memory_is_too_small_for_is_kept_on_disk() {
    let long = "0123456789".repeat(30_000);
    let frames = || {
        let chunks = long.as_bytes().chunks(7_000).map(Bytes::copy_from_slice);
        let mut frames: Frames = chunks.map(|chunk| Ok(Frame::data(chunk))).collect();
        frames.push(Ok(trailers()));
        frames
    };
    for (memory, in_memory) in [(1, 1), (10_000, 10_000), (1 << 20, long.len())] {
        let limits = Limits { most: None, memory };

        let spooled = Spooled::read(stream(frames()), limits).await.unwrap();

        assert_eq!(spooled.len(), long.len() as u64);
        assert_eq!(spooled.in_memory(), in_memory);
        for _ in 0..2 {
            let body = spooled.body();
            let whole = body.collect().await.unwrap();
            assert!(whole.trailers().is_some());
            assert_eq!(whole.to_bytes(), long);
        }
    }
}

#[tokio::test]
async fn a_spooled_body_says_how_long_it_is() {
    let limits = Limits { most: None, memory: 2 };
    let spooled =
        Spooled::read(stream(vec![Ok(data("abc")), Ok(data("de"))]), limits).await.unwrap();

    let mut body = spooled.body();
    for (left, part) in [(5, "ab"), (3, "cde")] {
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(left));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), part);
    }
    assert!(http_body::Body::is_end_stream(&body));
}

#[test]
fn wrong_settings_are_told_in_traefiks_words() {
    let retry = |text: &str| Settings { retry_expression: text.to_owned(), ..Settings::default() };
    for (settings, error) in [
        (
            Settings { max_request_body_bytes: -1, ..Settings::default() },
            "max bytes should be >= 0 got -1",
        ),
        (
            Settings { mem_response_body_bytes: -2, ..Settings::default() },
            "mem bytes should be >= 0 got -2",
        ),
        (retry("Foo() > 3"), "unsupported function: Foo"),
    ] {
        assert_eq!(Step::build(&settings).err().as_deref(), Some(error));
    }
    for text in ["IsNetworkError() &&", "Attempts() == \"1\"", "ResponseCode()"] {
        assert!(Step::build(&retry(text)).is_err(), "{text}");
    }
}

#[test]
fn unset_limits_are_traefiks() {
    let limits = |memory, most| super::limits((memory, most)).unwrap();
    assert_eq!(limits(0, 0), Limits { most: None, memory: IN_MEMORY });
    assert_eq!(limits(5, 7), Limits { most: Some(7), memory: 5 });
}
