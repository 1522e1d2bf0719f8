use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

use super::*;
use crate::message::{BodyError, Protocol};
use crate::observe::{Exposition, Metrics};

/// A client's end of a connection whose requests all go to the service.
fn client(service: &Arc<Service>) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let service = Arc::clone(service);
    let answer = move |mut request: Request<hyper::body::Incoming>| {
        let service = Arc::clone(&service);
        async move {
            let mut exchange = Exchange::for_tests();
            exchange.upgrade = Some(hyper::upgrade::on(&mut request));
            let response = service.call(&mut exchange, request.map(Body::from)).await;
            Ok::<_, std::convert::Infallible>(response)
        }
    };
    tokio::task::spawn_local(async move {
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), hyper::service::service_fn(answer));
        let _ = connection.with_upgrades().await;
    });
    ours
}

async fn read_until(stream: &mut DuplexStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn an_upgrade_carries_bytes_both_ways_and_counts_with_code_0() {
    on_worker(async {
        let fake = Fake::new(|_, _| {
            Act::SayAndEcho(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                 Upgrade: chat\r\n\r\nhello"
                    .to_owned(),
            )
        })
        .await;
        let shown = crate::settings::Metrics {
            prometheus: Some(crate::settings::Prometheus::default()),
            ..crate::settings::Metrics::default()
        };
        let metrics = Metrics::new(&shown, 1);
        let service = Service::load_balancer(
            "web@docker".into(),
            settings(vec![server(&fake.url)]),
            &transport(),
            metrics.service("web@docker"),
            None,
        )
        .unwrap();
        let mut client = client(&service);

        let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: chat\r\n\r\n";
        client.write_all(upgrade.as_bytes()).await.unwrap();
        let head = read_until(&mut client, "\r\n\r\nhello").await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        client.write_all(b"ping").await.unwrap();
        assert_eq!(read_until(&mut client, "ping").await, "ping");

        let sent = fake.requests.borrow()[0].clone();
        assert!(sent.contains("\r\nConnection: Upgrade\r\n"), "{sent}");
        assert_eq!(service.replicas()[0].in_flight(), 1);
        drop(client);
        eventually("ended", || service.replicas()[0].in_flight() == 0).await;
        let (_, shown) = Exposition::new(metrics).render(None);
        assert!(shown.contains("traefik_service_requests_total{code=\"0\""), "{shown}");
    });
}

#[test]
fn servers_see_what_traefik_would_show_them() {
    on_worker(async {
        let fake = Fake::saying("a").await;
        let service = service(settings(vec![server(&fake.url)]));
        let mut client = client(&service);

        let request = "POST /p?q=1 HTTP/1.1\r\nhost: example.com\r\nx-lower: 1\r\n\
                       connection: close, x-gone\r\nx-gone: 1\r\ntransfer-encoding: chunked\r\n\
                       \r\n3\r\nabc\r\n0\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\r\n\r\na").await;

        assert!(answer.contains("content-length: 1\r\n"), "{answer}");
        let sent = fake.requests.borrow()[0].clone();
        assert!(sent.starts_with("POST /p?q=1 HTTP/1.1\r\n"), "{sent}");
        for field in [
            "Host: example.com",
            "X-Lower: 1",
            "X-Forwarded-For: 192.0.2.1",
            "Accept-Encoding: gzip",
            "Transfer-Encoding: chunked",
        ] {
            assert!(sent.contains(&format!("\r\n{field}\r\n")), "{field}: {sent}");
        }
        assert!(!sent.contains("X-Gone") && !sent.contains("Connection:"), "{sent}");
    });
}

#[test]
fn the_servers_own_host_is_sent_where_it_is_asked_for() {
    on_worker(async {
        let fake = Fake::saying("a").await;
        let url = format!("{}/base", fake.url);
        let preserved = ServerSettings { preserve_path: true, ..server(&url) };
        let service =
            service(LoadBalancerSettings { pass_host_header: false, ..settings(vec![preserved]) });

        text(ask(&service, get("/x?y")).await).await;

        let sent = fake.requests.borrow()[0].to_ascii_lowercase();
        let host = fake.url.strip_prefix("http://").unwrap();
        assert!(sent.starts_with("get /base/x?y http/1.1\r\n"), "{sent}");
        assert!(sent.contains(&format!("\r\nhost: {host}\r\n")), "{sent}");
    });
}

#[test]
fn an_answer_cut_short_cuts_the_client_and_is_not_pooled() {
    on_worker(async {
        let fake = Fake::new(|_, _| {
            Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned())
        })
        .await;
        let service = service(settings(vec![server(&fake.url)]));

        let response = ask(&service, get("/")).await;

        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(service.replicas()[0].errors(), 1);
    });
}

#[test]
fn what_grpc_says_of_the_server_is_an_error_of_it() {
    on_worker(async {
        for (status, errors) in [(0, 0), (2, 1), (4, 0), (5, 0), (13, 1), (14, 1), (15, 1), (16, 0)]
        {
            let fake = Fake::new(move |_, _| {
                let fields = format!("grpc-status: {status}\r\nContent-Length: 0");
                Act::Say(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"))
            })
            .await;
            let service = service(settings(vec![server(&fake.url)]));
            for (protocol, counted) in [(Protocol::Http, 0), (Protocol::Grpc, errors)] {
                let mut exchange = Exchange::for_tests();
                exchange.protocol = protocol;

                text(service.call(&mut exchange, get("/")).await).await;

                assert_eq!(service.replicas()[0].errors(), counted, "{protocol:?} {status}");
            }
        }
    });
}

/// The client's body, and then its end: the connection is gone.
struct BrokenOff(Option<bytes::Bytes>);

impl http_body::Body for BrokenOff {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, BodyError>>> {
        let reset = || BodyError::Io(std::io::ErrorKind::ConnectionReset.into());
        let frame = self.0.take().map(http_body::Frame::data).ok_or_else(reset);
        std::task::Poll::Ready(Some(frame))
    }
}

#[test]
fn sec_an_upload_that_the_client_breaks_off_is_no_error_of_the_server() {
    on_worker(async {
        let fake = Fake::new(|_, _| Act::Hang).await;
        let service = service(settings(vec![server(&fake.url)]));
        let body = BrokenOff(Some(bytes::Bytes::from_static(b"a part")));
        let upload = Request::post("/").header("host", "example.com").body(Body::boxed(body));

        let response = ask(&service, upload.unwrap()).await;

        assert_eq!(response.status(), 504);
        let replica = &service.replicas()[0];
        assert_eq!((replica.requests(), replica.errors(), replica.in_flight()), (1, 0, 0));
    });
}

#[test]
fn a_client_that_goes_away_cancels_the_request() {
    on_worker(async {
        let fake = Fake::new(|_, _| Act::Hang).await;
        let service = service(settings(vec![server(&fake.url)]));
        let mut client = client(&service);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        eventually("asked", || fake.seen() == 1).await;
        assert_eq!(service.replicas()[0].in_flight(), 1);

        drop(client);

        eventually("cancelled", || service.replicas()[0].in_flight() == 0).await;
    });
}

#[test]
fn gzip_is_asked_for_where_the_client_left_it_open() {
    on_worker(async {
        let fake = Fake::new(|_, _| Act::Say(ok("a"))).await;
        let service = service(settings(vec![server(&fake.url)]));
        let mut choosy = get("/");
        choosy.headers_mut().insert("accept-encoding", "br".parse().unwrap());

        text(ask(&service, get("/")).await).await;
        text(ask(&service, choosy).await).await;

        let seen = fake.requests.borrow();
        assert!(seen[0].contains("\r\nAccept-Encoding: gzip\r\n"), "{}", seen[0]);
        assert!(seen[1].contains("\r\nAccept-Encoding: br\r\n"), "{}", seen[1]);
    });
}

#[test]
fn reasons_are_the_standards_whatever_the_server_says() {
    on_worker(async {
        for (line, wanted) in [("200 Fine", "200 OK"), ("599 Odd", "599 status code 599")] {
            let fake = Fake::new(move |_, _| Act::Say(ok("a").replace("200 OK", line))).await;
            let mut client = client(&service(settings(vec![server(&fake.url)])));
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();

            let answer = read_until(&mut client, "\r\n").await;

            assert_eq!(answer, format!("HTTP/1.1 {wanted}\r\n"));
        }
    });
}

#[test]
fn interim_answers_are_told() {
    on_worker(async {
        let fake = Fake::new(|_, _| {
            Act::Say(format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("a")))
        })
        .await;
        let service = service(settings(vec![server(&fake.url)]));
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut exchange = Exchange::for_tests();
        let telling = Arc::clone(&told);
        exchange.informational = Some(crate::message::Informational(Arc::new(
            move |status: http::StatusCode, headers: &http::HeaderMap| {
                telling.lock().unwrap().push((status.as_u16(), headers.len()));
            },
        )));

        let response = service.call(&mut exchange, get("/")).await;

        assert_eq!(response.status(), 200);
        assert_eq!(*told.lock().unwrap(), [(103, 1)]);
    });
}

#[test]
fn the_servers_fields_are_kept_where_the_log_wants_them() {
    on_worker(async {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: 5\r\n\r\n";
        let fake = Fake::new(move |_, _| Act::Say(answer.to_owned())).await;
        let service = service(settings(vec![server(&fake.url)]));
        for keeps in [false, true] {
            let mut exchange = Exchange::for_tests();
            exchange.served.keeps_origin_headers = keeps;

            service.call(&mut exchange, get("/")).await;

            let kept = exchange.served.origin_headers;
            assert_eq!(kept.map(|fields| fields.contains_key("keep-alive")), keeps.then_some(true));
        }
    });
}

#[test]
fn a_switch_to_a_protocol_nobody_asked_for_is_a_502() {
    on_worker(async {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: other\r\n\r\n";
        let fake = Fake::new(move |_, _| Act::Say(answer.to_owned())).await;
        let service = service(settings(vec![server(&fake.url)]));
        let mut request = get("/");
        request.headers_mut().insert("connection", "Upgrade".parse().unwrap());
        request.headers_mut().insert("upgrade", "websocket".parse().unwrap());

        assert_eq!(ask(&service, request).await.status(), 502);
    });
}

#[test]
fn a_get_keeps_its_body_of_unknown_length() {
    on_worker(async {
        let fake = Fake::saying("a").await;
        let service = service(settings(vec![server(&fake.url)]));
        let frames = [Ok(http_body::Frame::data(bytes::Bytes::from_static(b"query")))];
        let stream = http_body_util::StreamBody::new(futures_util::stream::iter(frames));

        let request = get("/").map(|_| Body::boxed(stream));
        assert_eq!(ask(&service, request).await.status(), 200);

        let seen = fake.requests.borrow().concat();
        assert!(seen.contains("Transfer-Encoding: chunked\r\n"), "{seen}");
    });
}
