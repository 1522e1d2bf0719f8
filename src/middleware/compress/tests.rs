use std::collections::VecDeque;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::*;
use crate::message::{BodyError, plain};
use crate::middleware::testing::{self, Reply};

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// An answer of this type and size, with more fields.
fn answer(content_type: &str, size: usize, fields: &[(&'static str, &str)]) -> Response<Body> {
    let mut response = Response::new(Body::from("x".repeat(size)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
    }
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    response
}

fn run(
    settings: &Settings,
    request: Request<Body>,
    mut response: Response<Body>,
) -> Response<Body> {
    let step = Step::build(settings).unwrap();
    match testing::ask(&step, request) {
        Reply::After(_, memo) => step.response(memo, &mut response),
        Reply::Next(_) => {}
        Reply::Answer(_) => panic!("it answers nothing itself"),
    }
    response
}

/// The coding and Vary of the answer.
fn told(response: &Response<Body>) -> (Option<&str>, Option<&str>) {
    let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
    (text(CONTENT_ENCODING), text(VARY))
}

fn accepting(coding: &str) -> Request<Body> {
    testing::get("/", &[("accept-encoding", coding)])
}

#[test]
fn answers_are_compressed_by_size_type_and_status() {
    let yes = (Some("gzip"), Some("Accept-Encoding"));
    let no = (None, Some("Accept-Encoding"));
    for (content_type, size, expected) in [
        ("text/plain", 1024, yes),
        ("text/plain", 1023, no),
        ("", 2000, yes),
        ("image/png", 2000, yes),
        ("text/event-stream", 2000, yes),
        ("text/event-stream", 20, no),
        ("application/grpc", 2000, no),
        ("application/grpc+proto", 2000, no),
        ("text/plain", 0, no),
    ] {
        let response =
            run(&Settings::default(), accepting("gzip"), answer(content_type, size, &[]));

        assert_eq!(told(&response), expected, "{content_type} {size}");
        assert_eq!(response.headers().contains_key(CONTENT_LENGTH), expected == no);
    }
}

#[test]
fn what_is_encoded_or_a_part_or_has_no_body_stays_as_it_is() {
    for (status, field) in [
        (200, Some(("content-encoding", "x"))),
        (206, Some(("content-range", "bytes 0-1999/3000"))),
        (204, None),
        (304, None),
    ] {
        let mut before = answer("text/plain", 2000, field.as_slice());
        *before.status_mut() = StatusCode::from_u16(status).unwrap();

        let response = run(&Settings::default(), accepting("gzip"), before);

        assert!(response.headers().contains_key(CONTENT_LENGTH), "{status}");
        assert_eq!(told(&response).1, Some("Accept-Encoding"));
    }
}

#[test]
fn requests_that_are_not_looked_at_get_no_vary() {
    let mut head = accepting("gzip");
    *head.method_mut() = Method::HEAD;
    let grpc = [("accept-encoding", "gzip"), ("content-type", "application/grpc")];
    for request in [head, accepting("identity"), testing::get("/", &[]), testing::get("/", &grpc)] {
        let response = run(&Settings::default(), request, answer("text/plain", 2000, &[]));

        assert_eq!(told(&response), (None, None));
    }
}

#[test]
fn an_answer_that_forbids_changes_is_left_as_it_is() {
    for (value, coding) in [("private, No-Transform", None), ("no-cache", Some("gzip"))] {
        let fields = [("cache-control", value)];

        let response =
            run(&Settings::default(), accepting("gzip"), answer("text/plain", 2000, &fields));

        assert_eq!(told(&response).0, coding, "{value}");
    }
}

#[test]
fn other_fields_stay_but_for_ranges() {
    let fields = [("etag", "abc"), ("accept-ranges", "bytes"), ("vary", "Origin")];

    let response =
        run(&Settings::default(), accepting("gzip"), answer("text/plain", 2000, &fields));

    assert_eq!(response.headers()["etag"], "abc");
    assert!(!response.headers().contains_key(ACCEPT_RANGES));
    let vary: Vec<_> = response.headers().get_all(VARY).iter().collect();
    assert_eq!(vary, ["Origin", "Accept-Encoding"]);

    let said = [("vary", "accept-encoding")];
    let response = run(&Settings::default(), accepting("gzip"), answer("a/b", 2000, &said));
    assert_eq!(response.headers().get_all(VARY).iter().count(), 1);
}

#[test]
fn types_can_be_excluded_or_included() {
    let included = settings(|s| {
        s.included_content_types = list(&["text/html"]);
        s.min_response_body_bytes = 10;
    });
    let excluded =
        settings(|s| s.excluded_content_types = list(&["text/html", "application/json; x=y"]));
    for (settings, content_type, compressed) in [
        (&included, "text/html", true),
        (&included, "TEXT/html;charset=utf-8", true),
        (&included, "text/plain", false),
        (&included, "", false),
        (&excluded, "text/html", false),
        (&excluded, "application/json;charset=utf-8", false),
        (&excluded, "text/plain", true),
    ] {
        let response = run(settings, accepting("gzip"), answer(content_type, 2000, &[]));

        assert_eq!(told(&response).0.is_some(), compressed, "{content_type}");
    }
    let request = testing::get("/", &[("accept-encoding", "gzip"), ("content-type", "text/html")]);
    assert_eq!(told(&run(&excluded, request, answer("text/plain", 2000, &[]))), (None, None));
}

#[test]
fn wrong_settings_are_told_in_traefiks_words() {
    for (settings, error) in [
        (settings(|s| s.encodings = list(&["foo"])), "unsupported encoding: foo"),
        (settings(|s| s.encodings.clear()), "at least one encoding must be specified"),
        (
            settings(|s| {
                s.encodings = list(&["br"]);
                s.default_encoding = "gzip".into();
            }),
            "unsupported default encoding: gzip",
        ),
        (
            settings(|s| {
                s.included_content_types = list(&["a/b"]);
                s.excluded_content_types = list(&["c/d"]);
            }),
            "excludedContentTypes and includedContentTypes options are mutually exclusive",
        ),
        (
            settings(|s| s.included_content_types = list(&["a b"])),
            "parsing included media type: mime: expected slash after first token",
        ),
    ] {
        assert_eq!(Step::build(&settings).err().as_deref(), Some(error));
    }
}

/// Gives these steps one by one; `None` is a pause.
struct Script(VecDeque<Option<Frame<Bytes>>>);

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn decode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // What was cut short still gives all that was flushed.
    let result = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        _ => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out),
    };
    drop(result);
    out
}

#[test]
fn streams_are_flushed_at_each_pause_and_keep_their_trailers() {
    let trailers: HeaderMap =
        [(http::header::ETAG, HeaderValue::from_static("t"))].into_iter().collect();
    for coding in ["gzip", "br", "zstd"] {
        let script = [
            Some(Frame::data(Bytes::from_static(b"data: one\n\n"))),
            None,
            None,
            Some(Frame::data(Bytes::from_static(b"data: two\n\n"))),
            None,
            Some(Frame::trailers(trailers.clone())),
        ];
        let mut response = plain(StatusCode::OK, "");
        *response.body_mut() = Body::boxed(Script(script.into()));
        let mut body = run(&Settings::default(), accepting(coding), response).into_body();
        let mut cx = Context::from_waker(Waker::noop());
        let mut next = || Pin::new(&mut body).poll_frame(&mut cx);
        let mut sent = Vec::new();

        for expected in ["data: one\n\n", "data: one\n\ndata: two\n\n"] {
            let Poll::Ready(Some(Ok(frame))) = next() else { panic!("nothing was flushed") };
            sent.extend_from_slice(&frame.into_data().unwrap());
            assert_eq!(decode(coding, &sent), expected.as_bytes(), "{coding}");
            if expected.len() == 11 {
                assert!(next().is_pending(), "{coding}");
            }
        }
        let Poll::Ready(Some(Ok(end))) = next() else { panic!("no end") };
        sent.extend_from_slice(&end.into_data().unwrap());
        let Poll::Ready(Some(Ok(last))) = next() else { panic!("no trailers") };
        assert_eq!(last.into_trailers().unwrap(), trailers);
        assert!(matches!(next(), Poll::Ready(None)));
        assert_eq!(decode(coding, &sent), b"data: one\n\ndata: two\n\n", "{coding}");
    }
}

#[test]
fn large_bodies_come_out_whole_and_in_pieces() {
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..2_500_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    for coding in ["gzip", "br", "zstd"] {
        let chunks = noise.chunks(100_000).map(|c| Some(Frame::data(Bytes::copy_from_slice(c))));
        let mut response = plain(StatusCode::OK, "");
        *response.body_mut() = Body::boxed(Script(chunks.collect()));
        let mut body = run(&Settings::default(), accepting(coding), response).into_body();
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = Vec::new();
        let mut pieces = 0;

        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(frame)) => {
                    sent.extend_from_slice(&frame.unwrap().into_data().unwrap());
                    pieces += 1;
                }
                Poll::Ready(None) => break,
                Poll::Pending => {}
            }
        }
        assert!(pieces > 1, "{coding}: {pieces}");
        assert!(decode(coding, &sent) == noise, "{coding}");
    }
}
