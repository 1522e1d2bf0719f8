//! The step before an internal service, against a server on loopback that answers raw bytes.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::rc::Rc;

use http::HeaderMap;
use http::header::LOCATION;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::balance::Service;
use crate::message::{Connection, Handler};
use crate::middleware::{Chain, Link, Spec, testing};
use crate::observe::Requests;

/// A server that answers every question with the same bytes.
struct Asked {
    url: String,
    questions: Rc<RefCell<Vec<String>>>,
    connections: Rc<Cell<usize>>,
}

impl Asked {
    async fn saying(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/verify?k=v", listener.local_addr().unwrap());
        let asked = Self { url, questions: Rc::default(), connections: Rc::default() };
        let (questions, connections) = (Rc::clone(&asked.questions), Rc::clone(&asked.connections));
        let answer = answer.to_owned();
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.set(connections.get() + 1);
                let (questions, answer) = (Rc::clone(&questions), answer.clone());
                tokio::task::spawn_local(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        let question = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        questions.borrow_mut().push(question);
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        if answer.is_empty() {
                            return;
                        }
                    }
                });
            }
        });
        asked
    }

    /// A field of the last question.
    fn field(&self, name: &str) -> Option<String> {
        let questions = self.questions.borrow();
        let lines = questions.last()?.lines().map(|line| line.split_once(": "));
        let mut found = lines.flatten().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    }
}

fn answer(head: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {}\r\nContent-Length: {length}\r\n\r\n{body}", head.replace('\n', "\r\n"))
}

/// Says what reached it, and sets two cookies.
struct Echo;

impl Handler for Echo {
    fn handle(&self, _: &Exchange, request: Request<Body>) -> Response<Body> {
        let mut text = String::new();
        for (name, value) in request.headers() {
            let _ = writeln!(text, "{name}={}", value.to_str().unwrap());
        }
        let mut response = Response::new(Body::from(text));
        for cookie in ["own=1", "sess=old"] {
            response.headers_mut().append(SET_COOKIE, cookie.parse().unwrap());
        }
        response
    }
}

/// A status, the fields and the body.
type Seen = (u16, HeaderMap, String);

async fn run(settings: Settings, exchange: &mut Exchange, request: Request<Body>) -> Seen {
    let spec = Spec::ForwardAuth(Box::new(settings));
    let step = super::super::Step::build(&spec, None).unwrap();
    let link = Link { name: "auth".into(), step: Arc::new(step), service: None };
    let end = Service::internal("s".into(), Arc::new(Echo), Requests::off());
    let response = Chain::new(vec![link]).run(exchange, request, &end).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned())
}

async fn ask(asked: &Asked, settings: Settings, request: Request<Body>) -> Seen {
    let settings = Settings { address: asked.url.clone(), ..settings };
    run(settings, &mut Exchange::for_tests(), request).await
}

fn get(fields: &[(&str, &str)]) -> Request<Body> {
    testing::get("http://app.test:8080/x%20y?q=1", fields)
}

fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn the_question_is_the_request_without_what_belongs_to_the_connection() {
    local(async {
        let asked = Asked::saying(&answer("200 OK", "ignored")).await;
        let request = get(&[
            ("x-a", "1"),
            ("cookie", "a=b"),
            ("te", "trailers"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "k"),
            ("proxy-authorization", "p"),
            ("expect", "100-continue"),
        ]);

        let (status, _, body) = ask(&asked, Settings::default(), request).await;

        assert_eq!(status, 200);
        assert!(body.contains("upgrade=websocket"), "{body}");
        assert!(asked.questions.borrow()[0].starts_with("GET /verify?k=v HTTP/1.1\r\n"));
        let host = asked.url["http://".len()..].split('/').next();
        for (name, value) in [
            ("host", host),
            ("x-a", Some("1")),
            ("cookie", Some("a=b")),
            ("sec-websocket-key", Some("k")),
            ("proxy-authorization", Some("p")),
            ("x-forwarded-method", Some("GET")),
            ("x-forwarded-uri", Some("/x%20y?q=1")),
            ("x-forwarded-host", Some("app.test:8080")),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-for", Some("192.0.2.1")),
            ("accept-encoding", Some("gzip")),
            ("te", None),
            ("connection", None),
            ("upgrade", None),
            ("expect", None),
        ] {
            assert_eq!(asked.field(name).as_deref(), value, "{name}");
        }
    });
}

#[test]
fn sec_f5_forwarded_fields_pass_as_far_as_they_are_trusted() {
    local(async {
        let said = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "wss"),
            ("x-forwarded-host", "other"),
            ("x-forwarded-port", "99"),
            ("x-forwarded-uri", "/other"),
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-prefix", "/p"),
            ("x-real-ip", "1.1.1.1"),
        ];
        let ours = ["192.0.2.1", "http", "app.test:8080", "8080", "/x%20y?q=1", "GET"];
        for (trust, only, wanted) in [
            (None, &[][..], [&ours[..3], &["99"], &ours[4..], &["/p", "1.1.1.1"]].concat()),
            (Some(false), &[], [&ours[..], &["", ""]].concat()),
            (
                Some(true),
                &[],
                ["1.1.1.1, 192.0.2.1", "wss", "other", "99", "/other", "PUT", "/p", "1.1.1.1"]
                    .to_vec(),
            ),
            (None, &["x-a"], [&ours[..3], &[""], &ours[4..], &["", ""]].concat()),
            (Some(false), &["x-forwarded-prefix"], [&ours[..], &["", ""]].concat()),
            (
                Some(true),
                &["x-a"],
                ["1.1.1.1, 192.0.2.1", "wss", "other", "99", "/other", "PUT", "/p", "1.1.1.1"]
                    .to_vec(),
            ),
        ] {
            let asked = Asked::saying(&answer("200 OK", "")).await;
            let settings = Settings {
                trust_forward_header: trust,
                auth_request_headers: list(only),
                ..Settings::default()
            };

            ask(&asked, settings, get(&said)).await;

            let told = said.map(|(name, _)| asked.field(name).unwrap_or_default());
            assert_eq!(told.to_vec(), wanted, "{trust:?} {only:?}");
        }
    });
}

#[test]
fn sec_f3_the_answers_fields_replace_the_clients_and_all_that_resembles_them() {
    local(async {
        let head = "200 OK\nX-User: joe\nX-User: two\nX-Auth-Mail: m\nX-Other: o\nHost: evil";
        let asked = Asked::saying(&answer(head, "")).await;
        let settings = Settings {
            auth_response_headers: list(&["X-User", "x-gone", "Host", "no name"]),
            auth_response_headers_regex: "^X-Auth-".into(),
            ..Settings::default()
        };
        let request = get(&[
            ("x-user", "evil"),
            ("x_user", "evil"),
            ("x-gone", "evil"),
            ("x-auth-id", "evil"),
            ("x_auth_id", "evil"),
            ("x-kept", "1"),
        ]);

        let (_, _, body) = ask(&asked, settings, request).await;

        assert_eq!(body, "host=app.test:8080\nx-kept=1\nx-user=joe\nx-user=two\nx-auth-mail=m\n");
        assert_eq!(asked.field("x-user").as_deref(), Some("evil"), "the server may look at it");
    });
}

#[test]
fn another_answer_is_the_clients() {
    local(async {
        let head = "403 No\nX-Why: w\nSet-Cookie: a=1\nSet-Cookie: b=2\nKeep-Alive: 5";
        let asked = Asked::saying(&answer(head, "no")).await;

        let (status, headers, body) = ask(&asked, Settings::default(), get(&[])).await;

        assert_eq!((status, &*body), (403, "no"));
        assert_eq!(headers["x-why"], "w");
        assert_eq!(headers.get_all(SET_COOKIE).iter().count(), 2);
        assert_eq!(headers.len(), 3, "{headers:?}");
    });
}

#[test]
fn a_location_is_made_whole_unless_it_is_to_stay() {
    local(async {
        let asked = Asked::saying(&answer("302 Found\nLocation: /login", "")).await;
        let origin = asked.url.split("/verify").next().unwrap().to_owned();
        for (preserve, wanted) in [(false, format!("{origin}/login")), (true, "/login".into())] {
            let settings = Settings { preserve_location_header: preserve, ..Settings::default() };
            let (status, headers, _) = ask(&asked, settings, get(&[])).await;
            assert_eq!((status, headers[LOCATION].to_str().unwrap()), (302, &*wanted));
        }
    });
}

#[test]
fn a_401_leads_to_where_one_signs_in() {
    local(async {
        let settings = Settings { auth_signin_url: "https://idp/in".into(), ..Settings::default() };
        for (head, status, location) in
            [("401 No\nX-A: 1", 302, Some("https://idp/in")), ("403 No", 403, None)]
        {
            let asked = Asked::saying(&answer(head, "no")).await;
            let (found, headers, _) = ask(&asked, settings.clone(), get(&[])).await;
            assert_eq!(found, status);
            assert_eq!(headers.get(LOCATION).map(|l| l.to_str().unwrap()), location);
            assert!(!headers.contains_key("x-a"));
        }
    });
}

#[test]
fn listed_cookies_of_the_server_replace_those_of_the_service() {
    local(async {
        let settings = Settings {
            add_auth_cookies_to_response: list(&["sess", "more"]),
            ..Settings::default()
        };
        for (head, wanted) in [
            (
                "200 OK\nSet-Cookie: sess=new; Path=/\nSet-Cookie: x=1",
                vec!["own=1", "sess=new; Path=/"],
            ),
            ("200 OK\nSet-Cookie: x=1", vec!["own=1"]),
            ("200 OK", vec!["own=1", "sess=old"]),
        ] {
            let asked = Asked::saying(&answer(head, "")).await;
            let (_, headers, _) = ask(&asked, settings.clone(), get(&[])).await;
            let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
            assert_eq!(cookies, wanted, "{head}");
        }
    });
}

#[test]
fn the_body_is_sent_to_both_up_to_its_limit() {
    local(async {
        for (forward, limit, status, sent) in [
            (false, -1, 200, ""),
            (true, -1, 200, "abcd"),
            (true, 4, 200, "abcd"),
            (true, 3, 401, ""),
        ] {
            let asked = Asked::saying(&answer("200 OK", "")).await;
            let settings = Settings {
                forward_body: forward,
                max_body_size: limit,
                preserve_request_method: true,
                ..Settings::default()
            };
            let mut request = get(&[("content-length", "4")]);
            *request.method_mut() = http::Method::POST;
            *request.body_mut() = Body::from("abcd");

            let (found, _, _) = ask(&asked, settings, request).await;

            assert_eq!(found, status, "{limit}");
            let questions = asked.questions.borrow().concat();
            if status == 200 {
                assert!(questions.starts_with("POST /verify"), "{questions}");
                assert!(questions.ends_with(&format!("\r\n\r\n{sent}")), "{questions}");
            } else {
                assert_eq!(questions, "");
            }
        }
    });
}

#[test]
fn sec_f5_an_answer_is_read_up_to_a_limit_also_where_none_is_set() {
    local(async {
        let large = "x".repeat(usize::try_from(ANSWER_LIMIT).unwrap() + 1);
        for (limit, body, status) in [
            (None, "abcd", 200),
            (None, &*large, 401),
            (Some(-1), &*large, 200),
            (Some(4), "abcd", 200),
            (Some(3), "abcd", 401),
            (Some(0), "", 200),
        ] {
            let asked = Asked::saying(&answer("200 OK", body)).await;
            let settings = Settings { max_response_body_size: limit, ..Settings::default() };
            let (found, _, _) = ask(&asked, settings, get(&[])).await;
            assert_eq!(found, status, "{limit:?} {}", body.len());
        }
    });
}

#[test]
fn sec_f5_whatever_goes_wrong_denies() {
    local(async {
        for said in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 101 X\r\nUpgrade: a\r\n\r\n"] {
            let asked = Asked::saying(said).await;
            let (status, headers, body) = ask(&asked, Settings::default(), get(&[])).await;
            assert_eq!((status, headers.len(), &*body), (500, 0, ""), "{said}");
        }
        for address in ["", "nourl", "h2c://127.0.0.1:1", "http://127.0.0.1:1/"] {
            let settings = Settings { address: address.into(), ..Settings::default() };
            let (status, ..) = run(settings, &mut Exchange::for_tests(), get(&[])).await;
            assert_eq!(status, 500, "{address}");
        }
    });
}

#[test]
fn connections_are_kept_and_shared_by_those_who_ask_the_same_server() {
    local(async {
        let asked = Asked::saying(&answer("200 OK", "ok")).await;
        let kept = AuthServer::of(&Settings { address: asked.url.clone(), ..Settings::default() });
        for _ in 0..3 {
            ask(&asked, Settings::default(), get(&[])).await;
        }

        assert_eq!(asked.questions.borrow().len(), 3);
        assert_eq!(asked.connections.get(), 1);
        assert!(kept.is_ok());
    });
}

#[test]
fn the_user_is_logged_and_the_peer_is_told() {
    local(async {
        let asked = Asked::saying(&answer("401 No\nRemote-User: joe", "")).await;
        let settings = Settings {
            address: asked.url.replace("http://", "http://u:p%40@"),
            header_field: "Remote-User".into(),
            ..Settings::default()
        };
        let mut exchange = testing::exchange_from("198.51.100.7");
        let connection = Connection {
            peer_value: HeaderValue::from_static("198.51.100.7"),
            ..Connection::for_tests()
        };
        exchange.connection = Rc::new(connection);

        run(settings, &mut exchange, get(&[])).await;

        assert_eq!(exchange.user.as_deref(), Some("joe"));
        assert_eq!(asked.field("x-forwarded-for").as_deref(), Some("198.51.100.7"));
        assert_eq!(asked.field("authorization").as_deref(), Some("Basic dTpwQA=="));
    });
}

#[test]
fn wrong_settings_are_told() {
    let tls = |tls: settings::Tls| Settings { tls: Some(tls), ..Settings::default() };
    for (settings, error) in [
        (
            Settings { auth_response_headers_regex: "(".into(), ..Settings::default() },
            "error compiling regular expression (: error parsing regexp: missing closing ): `(`",
        ),
        (
            tls(settings::Tls { cert: "/nonexistent".into(), ..Default::default() }),
            "unable to create client TLS configuration: both TLS cert and key must be defined",
        ),
        (
            tls(settings::Tls { ca: "/nonexistent".into(), ..Default::default() }),
            "unable to create client TLS configuration: tls.ca: open /nonexistent: no such file \
             or directory",
        ),
        (
            tls(settings::Tls { ca: "/proc/version".into(), ..Default::default() }),
            "unable to create client TLS configuration: tls.ca: open /proc/version: not a place \
             for such a file",
        ),
        (
            tls(settings::Tls { ca: "-----BEGIN secret".into(), ..Default::default() }),
            "unable to create client TLS configuration: failed to parse CA",
        ),
    ] {
        assert_eq!(Step::build(&settings).err().as_deref(), Some(error));
    }
    let settings = Settings {
        address: "h2c://a".into(),
        auth_response_headers: list(&["a b"]),
        tls: Some(settings::Tls { ca_optional: Some(true), ..Default::default() }),
        ..Settings::default()
    };
    assert_eq!(settings.remarks().len(), 3, "{:?}", settings.remarks());
}

#[test]
fn a_key_is_not_shown() {
    let key = "-----BEGIN PRIVATE KEY-----\nsecret".to_owned();
    let tls = settings::Tls { key, ..Default::default() };

    assert_eq!(serde_json::to_string(&tls).unwrap(), r#"{"key":"xxxx"}"#);
}
