use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use super::*;
use crate::otlp::{Queued, queue};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn policy(sample_rate: f64) -> (Arc<Policy>, Queued) {
    let (queue, queued) = queue();
    let request = [HeaderName::from_static("x-in")];
    let response = [HeaderName::from_static("x-out")];
    (Arc::new(Policy::new(sample_rate, &request, &response, &["safe".to_owned()], queue)), queued)
}

fn begin(
    policy: &Arc<Policy>,
    verbosity: Verbosity,
    fields: &[(&'static str, &'static str)],
) -> Box<Trace> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let arrival = Arrival {
        entry_point: "web",
        peer: "192.0.2.1:4711".parse().unwrap(),
        method: &Method::GET,
        uri: &Uri::from_static("/a?safe=1&secret=2"),
        version: Version::HTTP_11,
        headers: &headers,
        body_size: 0,
    };
    Trace::begin(policy, verbosity, (Instant::now(), SystemTime::now()), &arrival)
}

/// What is in the queue as text, with the bytes that are none left out.
fn told(queued: &Queued) -> (String, u32) {
    let (items, count) = queued.take(usize::MAX).unwrap_or_default();
    (String::from_utf8_lossy(&items).into_owned(), count)
}

fn sent(trace: &mut Trace) -> Request<()> {
    let mut request = Request::get("/b?secret=3").body(()).unwrap();
    trace.send(&mut request, "http://10.0.0.3:8080", 0);
    request
}

fn parent_of(request: &Request<()>) -> Parent {
    Parent::of(request.headers()).unwrap()
}

#[test]
fn a_request_of_a_client_that_traces_is_part_of_its_trace() {
    let (policy, queued) = policy(0.0);
    let mut trace =
        begin(&policy, Verbosity::Minimal, &[("traceparent", PARENT), ("tracestate", "a=b")]);
    let SpanContext { trace: id, span: server, .. } = trace.context();
    assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");

    let asked = parent_of(&sent(&mut trace));
    trace.answered(200, None);
    trace.finish(200);

    assert_eq!((asked.trace, asked.is_sampled), (id, true));
    assert_ne!(asked.span, server);
    let (text, count) = told(&queued);
    assert_eq!(count, 2);
    for part in
        ["a=b", "ReverseProxy", "http://10.0.0.3:8080/b?secret=REDACTED", "safe=1&secret=REDACTED"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_is_not_sampled_has_ids_and_no_spans() {
    let (policy, queued) = policy(1.0);
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let mut trace = begin(&policy, Verbosity::Detailed, &[("traceparent", unsampled)]);

    assert!(!trace.is_detailed());
    let asked = parent_of(&sent(&mut trace));
    trace.answered(200, None);
    trace.finish(200);

    assert!(!asked.is_sampled);
    assert_eq!(asked.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(told(&queued).1, 0);
}

#[test]
fn the_share_decides_over_traces_that_begin_here() {
    let (never, always, half) = (policy(0.0).0, policy(1.0).0, policy(0.5).0);

    for (id, is_in_half) in [([0; 16], true), ([0xff; 16], false)] {
        let id = TraceId(id);
        assert!(!never.samples(id));
        assert!(always.samples(id));
        assert_eq!(half.samples(id), is_in_half);
    }
}

#[test]
fn a_parent_that_is_none_begins_a_trace() {
    let (policy, queued) = policy(1.0);
    let trace =
        begin(&policy, Verbosity::Minimal, &[("traceparent", "00-zz-1"), ("tracestate", "a=b")]);

    trace.finish(200);

    let (text, count) = told(&queued);
    assert_eq!(count, 1);
    assert!(!text.contains("a=b"), "{text}");
}

#[test]
fn spans_of_an_earlier_run_end_before_the_next() {
    let (policy, queued) = policy(1.0);
    let mut trace = begin(&policy, Verbosity::Detailed, &[]);
    trace.enter("Retry").unwrap();
    let depth = trace.depth();
    for _ in 0..2 {
        trace.leave(depth);
        trace.enter("Service").unwrap();
        sent(&mut trace);
        trace.answered(502, None);
        assert_eq!(trace.depth(), depth + 1);
    }
    trace.finish(502);

    assert_eq!(told(&queued).1, 6);
}

#[test]
fn only_captured_fields_are_told() {
    let (policy, queued) = policy(1.0);
    let mut trace = begin(
        &policy,
        Verbosity::Minimal,
        &[("x-in", "in1"), ("x-in", "in2"), ("cookie", "secret")],
    );
    let mut answer = HeaderMap::new();
    answer.insert("x-out", HeaderValue::from_static("out1"));
    answer.insert("set-cookie", HeaderValue::from_static("secret"));
    trace.saw_response(&answer);
    trace.finish(204);

    let (text, _) = told(&queued);
    for part in ["http.request.header.x-in", "in1", "in2", "http.response.header.x-out", "out1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("cookie"), "{text}");
}
