use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::balance::Service;
use crate::message::{BodyError, Handler, Informational, plain};
use crate::middleware::{Chain, Link, Spec};
use crate::observe::Requests;

/// Answers with these statuses in turn, then with the last for ever.
struct Server {
    statuses: Vec<u16>,
    asked: AtomicUsize,
    hears_interim: Mutex<Vec<bool>>,
}

impl Server {
    fn saying(statuses: &[u16]) -> Arc<Self> {
        Arc::new(Self {
            statuses: statuses.to_vec(),
            asked: AtomicUsize::new(0),
            hears_interim: Mutex::default(),
        })
    }
}

impl Handler for Server {
    fn handle(&self, exchange: &Exchange, request: Request<Body>) -> Response<Body> {
        assert_eq!(request.headers()["x-a"], "1");
        self.hears_interim.lock().unwrap().push(exchange.informational.is_some());
        let at = self.asked.fetch_add(1, Relaxed).min(self.statuses.len() - 1);
        plain(StatusCode::from_u16(self.statuses[at]).unwrap(), "")
    }
}

fn settings(attempts: i64, status: &[&str]) -> Settings {
    let status = status.iter().map(ToString::to_string).collect();
    Settings { attempts, status, ..Settings::default() }
}

async fn ask_in(
    exchange: &mut Exchange,
    settings: Settings,
    server: &Arc<Server>,
    request: Request<Body>,
) -> u16 {
    let step = super::super::Step::build(&Spec::Retry(Box::new(settings)), None).unwrap();
    let link = Link { name: "r@file".into(), step: Arc::new(step), service: None };
    let handler: Arc<dyn Handler> = Arc::clone(server) as Arc<dyn Handler>;
    let end = Service::internal("s@file".into(), handler, Requests::off());
    Chain::new(vec![link]).run(exchange, request, &end).await.status().as_u16()
}

/// The status that a client gets, how often the server was asked, and the retries counted.
async fn ask(settings: Settings, statuses: &[u16], request: Request<Body>) -> (u16, usize, u32) {
    let (server, mut exchange) = (Server::saying(statuses), Exchange::for_tests());
    let status = ask_in(&mut exchange, settings, &server, request).await;
    (status, server.asked.load(Relaxed), exchange.served.retries)
}

fn request(method: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri("/").header("x-a", "1").body(body.into()).unwrap()
}

#[tokio::test]
async fn a_status_is_tried_again_until_one_passes_or_the_tries_are_used_up() {
    for (attempts, statuses, found) in [
        (4, &[503, 503, 200][..], (200, 3, 2)),
        (4, &[503], (503, 4, 3)),
        (2, &[503, 500, 200], (500, 2, 1)),
        (4, &[404], (404, 1, 0)),
        (1, &[503, 200], (503, 1, 0)),
    ] {
        let settings = settings(attempts, &["500-503"]);

        assert_eq!(ask(settings, statuses, request("GET", "")).await, found, "{statuses:?}");
    }
}

#[tokio::test]
async fn requests_that_are_not_idempotent_are_tried_again_only_where_that_was_asked_for() {
    for (method, asked, asked_of_any) in [
        ("GET", 2, 2),
        ("PUT", 2, 2),
        ("DELETE", 2, 2),
        ("POST", 1, 2),
        ("PATCH", 1, 2),
        ("LOCK", 1, 2),
    ] {
        let told = settings(2, &["503"]);
        let any = Settings { retry_non_idempotent_method: true, ..told.clone() };

        assert_eq!(ask(told, &[503], request(method, "")).await.1, asked, "{method}");
        assert_eq!(ask(any, &[503], request(method, "body")).await.1, asked_of_any, "{method}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_to_keep_is_sent_once() {
    for (limit, asked) in [(4, 2), (3, 1), (0, 1), (-1, 2)] {
        let settings = Settings { max_request_body_bytes: limit, ..settings(2, &["503"]) };

        assert_eq!(ask(settings, &[503], request("PUT", "body")).await.1, asked, "{limit}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_request() {
    let frames = [Ok(Frame::data(Bytes::from_static(b"a"))), Err(BodyError::Limit("cut"))];
    let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));

    assert_eq!(ask(settings(2, &["503"]), &[200], request("PUT", body)).await, (500, 0, 0));
}

#[tokio::test]
async fn an_upgrade_is_never_tried_again() {
    assert_eq!(ask(settings(3, &["100-599"]), &[101], request("GET", "")).await, (101, 1, 0));
}

#[tokio::test]
async fn tries_start_within_the_timeout_only() {
    let settings = Settings {
        initial_interval: GoDuration::from_millis(5),
        timeout: GoDuration::from_millis(20),
        ..settings(100, &["503"])
    };

    let (status, asked, _) = ask(settings, &[503], request("GET", "")).await;

    assert_eq!(status, 503);
    assert!(asked < 100, "99 waits of 2.5 ms at least are past the timeout");
}

#[tokio::test]
async fn only_the_last_try_may_speak_to_the_client_before_its_answer() {
    let (server, mut exchange) = (Server::saying(&[503]), Exchange::for_tests());
    exchange.informational = Some(Informational(Arc::new(|_, _| {})));

    ask_in(&mut exchange, settings(3, &["503"]), &server, request("GET", "")).await;

    assert_eq!(*server.hears_interim.lock().unwrap(), [false, false, true]);
}

#[test]
fn wrong_settings_are_told_in_traefiks_words() {
    let off = Settings { disable_retry_on_network_error: true, ..settings(2, &[]) };
    for (settings, error) in [
        (settings(0, &[]), "incorrect (or empty) value for attempt (0)"),
        (settings(-2, &["500"]), "incorrect (or empty) value for attempt (-2)"),
        (off, "retry middleware requires at least HTTP status codes or retry on TCP"),
        (
            settings(2, &["a"]),
            "creating HTTP code ranges: strconv.Atoi: parsing \"a\": invalid syntax",
        ),
    ] {
        assert_eq!(Step::build(&settings).err().as_deref(), Some(error));
    }
}

#[test]
fn what_is_not_done_is_told() {
    assert_eq!(
        Step::remarks(&settings(1000, &["599-500"])),
        [
            "`retry.attempts`: 1000 tries; 100 are made at most",
            "`retry.status`: `599-500` ends before it begins",
        ]
    );
    assert_eq!(Step::build(&settings(i64::MAX, &[])).unwrap().attempts, MOST);
}
