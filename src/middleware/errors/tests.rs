use std::sync::Mutex;

use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;

use super::*;
use crate::message::{Handler, Served, plain};
use crate::middleware::{Chain, Link, Spec};
use crate::observe::Requests;

/// The service that fails: the status is in the path.
struct App;

impl Handler for App {
    fn handle(&self, _: &Exchange, request: Request<Body>) -> Response<Body> {
        let status = request.uri().path().trim_start_matches('/').parse().unwrap();
        let mut response = plain(status_of(status), "from the app");
        response.headers_mut().insert("x-from", HeaderValue::from_static("app"));
        response
    }
}

/// The service with the pages; keeps what it was asked.
#[derive(Default)]
struct Pages {
    asked: Mutex<Vec<(Method, String, HeaderMap, bool)>>,
    status: u16,
}

impl Handler for Pages {
    fn handle(&self, exchange: &Exchange, request: Request<Body>) -> Response<Body> {
        let (parts, _) = request.into_parts();
        let asked =
            (parts.method, parts.uri.to_string(), parts.headers, exchange.suppress_forwarded_for);
        self.asked.lock().unwrap().push(asked);
        let mut response = plain(status_of(self.status), "a page");
        response.headers_mut().insert("x-from", HeaderValue::from_static("page"));
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("6"));
        response
    }
}

fn status_of(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

fn service(name: &str, handler: Arc<dyn Handler>) -> Arc<Service> {
    Service::internal(name.into(), handler, Requests::off())
}

fn settings(status: &[&str]) -> Settings {
    Settings {
        status: status.iter().map(ToString::to_string).collect(),
        service: "pages".to_owned(),
        ..Settings::default()
    }
}

/// What a client gets that goes through `errors` to the app, and what was asked of the pages.
async fn ask(
    settings: Settings,
    pages: Pages,
    request: Request<Body>,
) -> (Response<Body>, Vec<(Method, String, HeaderMap, bool)>) {
    let pages = Arc::new(pages);
    let handler = Arc::clone(&pages);
    let target = Some(service("pages@file", handler));
    let step = super::super::Step::build(&Spec::Errors(Box::new(settings)), target.clone());
    let link = Link { name: "e@file".into(), step: Arc::new(step.unwrap()), service: target };
    let mut exchange = Exchange::for_tests();
    exchange.served = Served { origin_status: Some(500), ..Served::default() };
    let chain = Chain::new(vec![link]);

    let response = chain.run(&mut exchange, request, &service("app@file", Arc::new(App))).await;

    assert_eq!(exchange.served.origin_status, Some(500), "the log speaks of the app");
    assert!(!exchange.suppress_forwarded_for);
    let asked = std::mem::take(&mut *pages.asked.lock().unwrap());
    (response, asked)
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header(HOST, "a.test").body(Body::empty()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn pages() -> Pages {
    Pages { status: 200, ..Pages::default() }
}

#[tokio::test]
async fn a_caught_status_is_answered_with_the_page_under_that_status() {
    for (path, is_caught) in [("/404", true), ("/503", true), ("/403", false), ("/200", false)] {
        let settings = Settings { query: "/{status}".to_owned(), ..settings(&["404", "500-599"]) };

        let (response, asked) = ask(settings, pages(), get(path)).await;

        assert_eq!(response.status().as_str(), &path[1..]);
        assert_eq!(response.headers()["x-from"], if is_caught { "page" } else { "app" });
        assert_eq!(text(response).await, if is_caught { "a page" } else { "from the app" });
        assert_eq!(asked.len(), usize::from(is_caught));
        assert!(asked.iter().all(|(_, target, ..)| target == path));
    }
}

#[tokio::test]
async fn the_page_is_asked_for_with_a_plain_get_without_the_clients_address() {
    let request = Request::post("/500?a=1")
        .header(HOST, "a.test")
        .header(CONTENT_LENGTH, "5")
        .header(EXPECT, "100-continue")
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header("cookie", "c=1")
        .body(Body::from("hello"))
        .unwrap();
    let settings = Settings { query: "/p?u={url}".to_owned(), ..settings(&["500"]) };

    let (_, asked) = ask(settings, pages(), request).await;

    let (method, target, headers, is_suppressed) = asked.into_iter().next().unwrap();
    assert_eq!(method, Method::GET);
    assert_eq!(target, "/p?u=http%3A%2F%2Fa.test%2F500%3Fa%3D1");
    assert!(is_suppressed);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cookie", "host"]);
}

#[tokio::test]
async fn only_the_listed_fields_go_to_the_page_where_some_are_listed() {
    for (list, wanted) in [
        (Some(vec!["X-A".to_owned(), "x y".to_owned()]), &["host", "x-a"][..]),
        (Some(Vec::new()), &["host"]),
        (None, &["host", "x-a", "x-b"]),
    ] {
        let mut request = get("/500");
        request.headers_mut().insert("x-a", HeaderValue::from_static("1"));
        request.headers_mut().insert("x-b", HeaderValue::from_static("1"));
        let settings = Settings { error_request_headers: list, ..settings(&["500"]) };

        let (_, asked) = ask(settings, pages(), request).await;

        let mut names: Vec<_> = asked[0].2.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, wanted);
    }
}

#[tokio::test]
async fn a_status_is_rewritten_by_the_closest_that_fits() {
    let rewrites = [("500-599", 599), ("503", 418), ("500-510", 404), ("501", 99)];
    for (path, status) in [("/500", 404), ("/503", 418), ("/520", 599), ("/501", 404)] {
        let settings = Settings {
            status_rewrites: rewrites.map(|(from, to)| (from.to_owned(), to)).into(),
            query: "/{status}/{originalStatus}".to_owned(),
            ..settings(&["500-599"])
        };

        let (response, asked) = ask(settings, pages(), get(path)).await;

        assert_eq!(response.status(), status);
        assert_eq!(asked[0].1, format!("/{status}{path}"));
    }
}

#[tokio::test]
async fn the_length_of_a_body_that_is_not_sent_is_not_said() {
    for (page, status) in [(304, 500), (204, 500), (200, 204), (200, 304)] {
        let settings =
            Settings { status_rewrites: [("500".to_owned(), status)].into(), ..settings(&["500"]) };
        let pages = Pages { status: page, ..Pages::default() };

        let (response, _) = ask(settings, pages, get("/500")).await;

        assert_eq!(i64::from(response.status().as_u16()), status);
        assert!(!response.headers().contains_key(CONTENT_LENGTH), "{page} {status}");
    }
}

#[tokio::test]
async fn an_upgrade_is_not_caught() {
    let (response, asked) = ask(settings(&["100-599"]), pages(), get("/101")).await;

    assert_eq!(response.status(), 101);
    assert!(asked.is_empty());
}

#[tokio::test]
async fn a_query_that_makes_no_target_is_a_bare_error() {
    let settings = Settings { query: "/%zz".to_owned(), ..settings(&["500"]) };

    let (response, asked) = ask(settings, pages(), get("/500")).await;

    assert_eq!(response.status(), 500);
    assert_eq!(text(response).await, "Internal Server Error\n");
    assert!(asked.is_empty());
}

#[test]
fn what_can_match_nothing_or_not_be_sent_is_told() {
    let rewrites = [("500", 99), ("501", 1000), ("502", 150), ("503", 999), ("509-501", 404)];
    let settings = Settings {
        status_rewrites: rewrites.map(|(from, to)| (from.to_owned(), to)).into(),
        ..settings(&["599-500", "404"])
    };

    assert_eq!(
        Step::remarks(&settings),
        [
            "`errors.statusRewrites.500`: 99 is no status to answer with; not used",
            "`errors.statusRewrites.501`: 1000 is no status to answer with; not used",
            "`errors.statusRewrites.502`: 150 is no status to answer with; not used",
            "`errors`: `599-500` ends before it begins and matches nothing",
            "`errors`: `509-501` ends before it begins and matches nothing",
        ]
    );
    let bad = |settings: Settings| Step::build(&settings).err();
    let error = Some("strconv.Atoi: parsing \"5xx\": invalid syntax".to_owned());
    assert_eq!(bad(self::settings(&["5xx"])), error);
    let status_rewrites = [("5xx".to_owned(), 404)].into();
    assert_eq!(bad(Settings { status_rewrites, ..self::settings(&["500"]) }), error);
}

#[test]
fn without_a_status_nothing_is_done() {
    let step = Step::build(&settings(&[])).unwrap();
    let flow = step.request(&mut Exchange::for_tests(), &mut get("/"));
    assert!(matches!(flow, Flow::Next));
}
