use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::observe::Metrics;

/// A source for the checks that counts how often it was touched.
struct Published {
    services: Vec<Arc<Service>>,
    touched: Rc<Cell<usize>>,
    changes: watch::Sender<u64>,
}

impl checks::Source for Published {
    fn services(&self) -> Vec<Arc<Service>> {
        self.services.clone()
    }
    fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
    fn touch(&self) {
        self.touched.set(self.touched.get() + 1);
    }
}

/// Runs the checks for as long as the token is held.
pub(super) fn check(service: &Arc<Service>) -> (tokio_util::sync::DropGuard, Rc<Cell<usize>>) {
    let (token, touched) = (CancellationToken::new(), Rc::new(Cell::new(0)));
    let source = Published {
        services: vec![Arc::clone(service)],
        touched: Rc::clone(&touched),
        changes: watch::Sender::new(0),
    };
    let metrics = Metrics::new(&crate::settings::Metrics::default(), 1);
    tokio::task::spawn_local(checks::run(source, metrics, token.clone()));
    (token.drop_guard(), touched)
}

fn every(millis: u64) -> HealthCheckSettings {
    HealthCheckSettings {
        grpc: false,
        scheme: String::new(),
        port: 0,
        path: "/health".to_owned(),
        method: String::new(),
        status: 0,
        hostname: "check.example".to_owned(),
        headers: vec![("X-Check".to_owned(), "1".to_owned())],
        follow_redirects: true,
        interval: Duration::from_millis(millis),
        unhealthy_interval: Duration::ZERO,
        timeout: Duration::from_millis(500),
    }
}

#[test]
fn a_server_that_fails_its_check_is_left_out_until_it_passes() {
    on_worker(async {
        let is_well = Rc::new(Cell::new(true));
        let well = Rc::clone(&is_well);
        let fake = Fake::new(move |_, _| {
            Act::Say(if well.get() { ok("a") } else { ok("a").replace("200 OK", "500 Oh") })
        })
        .await;
        let service = service(LoadBalancerSettings {
            health_check: Some(every(10)),
            ..settings(vec![server(&fake.url)])
        });
        let replica = Arc::clone(&service.replicas()[0]);
        assert_eq!(replica.state(), ReplicaState::Ready);
        let (_checks, touched) = check(&service);

        eventually("a probe", || fake.seen() > 0).await;
        let probe = fake.requests.borrow()[0].clone();
        assert!(probe.starts_with("GET /health HTTP/1.1\r\n"), "{probe}");
        assert!(probe.contains("Host: check.example\r\n") && probe.contains("X-Check: 1\r\n"));
        is_well.set(false);
        eventually("down", || replica.state() == ReplicaState::Unhealthy).await;
        assert!(!replica.is_up());
        assert_eq!(&*replica.reason(), "health check: GET /health answered 500; wanted 200 to 399");
        assert_eq!(ask(&service, get("/")).await.status(), 503);

        is_well.set(true);
        eventually("up", || replica.is_ready()).await;
        assert!(replica.is_up() && touched.get() >= 2);
    });
}

#[test]
fn a_container_that_starts_gets_no_request_before_its_check_has_passed() {
    on_worker(async {
        let is_well = Rc::new(Cell::new(false));
        let well = Rc::clone(&is_well);
        let fake = Fake::new(move |_, request| {
            let is_fine = well.get() || !request.starts_with("GET /health ");
            Act::Say(if is_fine { ok("a") } else { ok("").replace("200 OK", "503 Not yet") })
        })
        .await;
        // The first check of a server that runs comes after an hour.
        let service = service(LoadBalancerSettings {
            health_check: Some(every(3_600_000)),
            ..settings(vec![container(&fake.url, "a", EngineState::Starting)])
        });
        let replica = Arc::clone(&service.replicas()[0]);
        let (_checks, _) = check(&service);
        replica.set_engine(EngineState::Running);
        let asking = {
            let service = Arc::clone(&service);
            tokio::task::spawn_local(async move { text(ask(&service, get("/")).await).await })
        };

        eventually("several checks", || fake.seen() > 2).await;
        assert_eq!(replica.state(), ReplicaState::Starting);
        assert_eq!(&*replica.reason(), "waiting for its health check");
        assert!(replica.is_up() && service.waiting() == 1);
        is_well.set(true);

        assert_eq!(asking.await.unwrap(), "a");
        let last = replica.changes().pop().unwrap();
        assert_eq!((last.to, &*last.reason), (ReplicaState::Ready, "its health check passed"));
    });
}

#[test]
fn a_redirect_is_followed_by_the_check() {
    on_worker(async {
        let fake = Fake::new(|_, request| {
            Act::Say(if request.starts_with("GET /health ") {
                "HTTP/1.1 302 Found\r\nLocation: /deep\r\nContent-Length: 0\r\n\r\n".to_owned()
            } else {
                ok("").replace("200 OK", "404 No")
            })
        })
        .await;
        let service = service(LoadBalancerSettings {
            health_check: Some(every(10)),
            ..settings(vec![server(&fake.url)])
        });
        let (_checks, _) = check(&service);

        eventually("down", || !service.replicas()[0].is_ready()).await;
        assert!(service.replicas()[0].reason().contains("/deep answered 404"));
    });
}

#[test]
fn requests_wait_for_a_container_that_starts() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://{address}");
        let service = service(settings(vec![container(&url, "a", EngineState::Starting)]));
        let (_checks, _) = check(&service);
        let asking = {
            let service = Arc::clone(&service);
            tokio::task::spawn_local(async move { text(ask(&service, get("/")).await).await })
        };
        eventually("waiting", || service.waiting() == 1).await;
        assert_eq!(service.replicas()[0].state(), ReplicaState::Starting);

        let listener = TcpListener::bind(address).await.unwrap();
        let _fake = Fake::on(listener, Rc::new(|_, _| Act::Say(ok("at last"))));

        assert_eq!(asking.await.unwrap(), "at last");
        assert_eq!(service.waiting(), 0);
        assert!(service.replicas()[0].is_ready());
    });
}

#[test]
fn upgrades_wait_like_any_request() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = service(settings(vec![container(&url, "a", EngineState::Starting)]));
        let mut request = get("/");
        request.headers_mut().insert("connection", "upgrade".parse().unwrap());
        request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        let asking = {
            let service = Arc::clone(&service);
            tokio::task::spawn_local(async move { ask(&service, request).await.status() })
        };
        eventually("waiting", || service.waiting() == 1).await;

        let fake = Fake::on(listener, Rc::new(|_, _| Act::Say(ok("no upgrade"))));
        service.replicas()[0].connected();

        assert_eq!(asking.await.unwrap(), 200);
        assert!(fake.requests.borrow()[0].contains("Upgrade: websocket"));
    });
}

/// A self-signed server that speaks HTTP/2.
fn acceptor() -> tokio_rustls::TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.key_pair.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

/// Answers gRPC health checks: serving while the cell says so.
async fn grpc_server(is_serving: Rc<Cell<bool>>, tls: Option<tokio_rustls::TlsAcceptor>) -> String {
    #[derive(Clone)]
    struct Local;
    impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
        fn execute(&self, future: F) {
            tokio::task::spawn_local(async move {
                future.await;
            });
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let is_serving = Rc::clone(&is_serving);
            let tls = tls.clone();
            let answer = move |request: Request<hyper::body::Incoming>| {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let status = if is_serving.get() { 1 } else { 2 };
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                let message = vec![0, 0, 0, 0, 2, 8, status].into();
                let frames =
                    [http_body::Frame::data(message), http_body::Frame::trailers(trailers)];
                let frames = futures_util::stream::iter(frames.map(Ok));
                let body = Body::boxed(http_body_util::StreamBody::new(frames));
                async { Ok::<_, std::convert::Infallible>(Response::new(body)) }
            };
            let service = hyper::service::service_fn(answer);
            let http2 = hyper::server::conn::http2::Builder::new(Local);
            tokio::task::spawn_local(async move {
                let _ = if let Some(tls) = tls {
                    let io = hyper_util::rt::TokioIo::new(tls.accept(stream).await.unwrap());
                    http2.serve_connection(io, service).await
                } else {
                    http2.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await
                };
            });
        }
    });
    url
}

#[test]
fn a_grpc_server_is_asked_by_its_own_protocol_also_over_tls() {
    for tls in [None, Some(acceptor())] {
        on_worker(async {
            let is_serving = Rc::new(Cell::new(false));
            let url = grpc_server(Rc::clone(&is_serving), tls).await;
            let settings = LoadBalancerSettings {
                health_check: Some(HealthCheckSettings { grpc: true, ..every(10) }),
                ..settings(vec![server(&url)])
            };
            let transport = TransportSettings { insecure_skip_verify: true, ..Default::default() };
            let transport = Transport::build(&transport).unwrap();
            let name = "web@docker".into();
            let service =
                Service::load_balancer(name, settings, &transport, Requests::off(), None).unwrap();
            let replica = Arc::clone(&service.replicas()[0]);
            let (_checks, _) = check(&service);

            eventually("down", || !replica.is_up()).await;
            assert_eq!(&*replica.reason(), "health check: gRPC health check: not serving");
            is_serving.set(true);
            eventually("up", || replica.is_up()).await;
        });
    }
}

#[test]
fn waiting_ends_in_time_and_with_the_client() {
    on_worker(async {
        let limit = Duration::from_millis(40);
        let hold = HoldSettings { limit, ..HoldSettings::default() };
        let url = refusing().await;
        let starting = container(&url, "a", EngineState::Starting);
        let service = service(LoadBalancerSettings { hold, ..settings(vec![starting]) });

        let began = std::time::Instant::now();
        assert_eq!(ask(&service, get("/")).await.status(), 503);
        assert!(began.elapsed() >= limit);

        let gone = tokio::time::timeout(limit / 4, ask(&service, get("/"))).await;
        assert!(gone.is_err());
        assert_eq!(service.waiting(), 0);
    });
}

#[test]
fn a_draining_replica_gets_requests_only_when_nobody_else_can() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let service = service(settings(vec![
            container(&fakes[0].url, "a", EngineState::Running),
            container(&fakes[1].url, "b", EngineState::Running),
        ]));
        service.replicas()[0].set_engine(EngineState::Stopping);

        for _ in 0..4 {
            assert_eq!(text(ask(&service, get("/")).await).await, "b");
        }
        service.replicas()[1].set_engine(EngineState::Paused);
        assert_eq!(text(ask(&service, get("/")).await).await, "a");
        assert_eq!(service.replicas()[0].state(), ReplicaState::Draining);
    });
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_sent_twice_waits_until_it_is_known_whether_a_stopping_server_goes_on() {
    for refuses in [false, true] {
        let servers = vec![container("http://127.0.0.1:1", "a", EngineState::Running)];
        let service = service(settings(servers));
        let balancer = service.balancer().unwrap();
        let exchange = Exchange::for_tests();
        let replica = &service.replicas()[0];
        replica.set_engine(EngineState::Stopping);
        let (mut posted, mut asked) = (post("x"), get("/"));
        let mut posted = Box::pin(forward::choose(balancer, &exchange, &mut posted));

        assert!(forward::choose(balancer, &exchange, &mut asked).await.is_some());
        assert!(futures_util::poll!(&mut posted).is_pending());
        if refuses {
            replica.request_failed(true, None);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        replica.review();
        let chosen = futures_util::poll!(&mut posted);

        assert_eq!(chosen.is_pending(), refuses);
        if refuses {
            replica.set_engine(EngineState::Gone);
            replica.set_engine(EngineState::Running);
            replica.connected();
            assert!(posted.await.is_some());
        }
        assert_eq!(service.waiting(), 0);
    }
}

#[test]
fn a_server_that_is_told_to_stop_is_looked_at_and_asked_if_it_goes_on() {
    on_worker(async {
        let (fake, closed) = (Fake::saying("a").await, refusing().await);
        for (url, goes_on) in [(&fake.url, true), (&closed, false)] {
            let service = service(settings(vec![container(url, "a", EngineState::Running)]));
            let (_checks, _) = check(&service);
            let replica = Arc::clone(&service.replicas()[0]);
            replica.set_engine(EngineState::Stopping);
            if goes_on {
                assert_eq!(text(ask(&service, post("x")).await).await, "a");
                assert_eq!(replica.state(), ReplicaState::Draining);
            } else {
                eventually("refused", || !replica.is_last_resort()).await;
            }
        }
    });
}

#[test]
fn one_that_refused_before_its_stop_was_told_is_waited_for() {
    on_worker(async {
        let url = refusing().await;
        let service = service(settings(vec![container(&url, "a", EngineState::Running)]));
        let replica = Arc::clone(&service.replicas()[0]);
        for _ in 0..3 {
            replica.request_failed(true, None);
        }
        assert_eq!(replica.state(), ReplicaState::Unhealthy);

        replica.set_engine(EngineState::Stopping);
        replica.request_failed(true, None);
        let asking = {
            let service = Arc::clone(&service);
            tokio::task::spawn_local(async move { ask(&service, get("/")).await.status() })
        };

        eventually("waiting", || service.waiting() == 1).await;
        asking.abort();
    });
}

#[test]
fn one_that_stops_to_accept_is_waited_for_though_the_engine_says_nothing() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake::on(listener, Rc::new(|_, _| Act::SayAndClose(ok("old"))));
        let service = service(settings(vec![container(&fake.url, "a", EngineState::Running)]));
        let (_checks, _) = check(&service);
        assert_eq!(text(ask(&service, get("/")).await).await, "old");

        drop(fake);
        tokio::task::yield_now().await;
        let asking = [0, 1, 2, 3].map(|_| {
            let service = Arc::clone(&service);
            tokio::task::spawn_local(async move { text(ask(&service, post("x")).await).await })
        });
        eventually("waiting", || service.waiting() == 4).await;
        assert_eq!(service.replicas()[0].state(), ReplicaState::Unhealthy);

        let listener = TcpListener::bind(address).await.unwrap();
        let _fake = Fake::on(listener, Rc::new(|_, _| Act::Say(ok("new"))));
        for answer in asking {
            assert_eq!(answer.await.unwrap(), "new");
        }
    });
}

#[test]
fn a_restart_of_the_only_container_delays_and_fails_nothing() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake::on(listener, Rc::new(|_, _| Act::SayAndClose(ok("old"))));
        let service = service(settings(vec![container(&fake.url, "a", EngineState::Running)]));
        let replica = Arc::clone(&service.replicas()[0]);
        let (_checks, _) = check(&service);
        assert_eq!(text(ask(&service, get("/")).await).await, "old");

        replica.set_engine(EngineState::Stopping);
        drop(fake);
        tokio::task::yield_now().await;
        let asking = {
            let service = Arc::clone(&service);
            tokio::task::spawn_local(async move { text(ask(&service, post("x")).await).await })
        };
        eventually("waiting", || service.waiting() == 1).await;
        replica.set_engine(EngineState::Gone);
        replica.set_engine(EngineState::Starting);
        let listener = TcpListener::bind(address).await.unwrap();
        let _fake = Fake::on(listener, Rc::new(|_, _| Act::Say(ok("new"))));

        assert_eq!(asking.await.unwrap(), "new");
    });
}

#[test]
fn cells_are_carried_over_and_events_outrun_settings() {
    on_worker(async {
        let fake = Fake::saying("a").await;
        let one = container(&fake.url, "a", EngineState::Running);
        let transport = transport();
        let build = |servers, previous: Option<&Arc<Service>>| {
            let name: Arc<str> = "web@docker".into();
            let settings = settings(servers);
            Service::load_balancer(name, settings, &transport, Requests::off(), previous).unwrap()
        };
        let first = build(vec![one.clone()], None);
        text(ask(&first, get("/")).await).await;
        first.replicas()[0].set_engine(EngineState::Stopping);

        let other = container("http://127.0.0.1:9", "b", EngineState::Running);
        let second = build(vec![one.clone(), other.clone()], Some(&first));

        assert!(Arc::ptr_eq(&first.replicas()[0], &second.replicas()[0]));
        assert_eq!(second.replicas()[0].state(), ReplicaState::Draining);
        assert_eq!(second.replicas()[0].requests(), 1);
        let renewed = ServerSettings { preserve_path: true, ..one };
        let third = build(vec![renewed], Some(&second));
        assert!(!Arc::ptr_eq(&second.replicas()[0], &third.replicas()[0]));
        assert_eq!(third.replicas()[0].state(), ReplicaState::Draining);
        assert_eq!(third.replicas()[0].requests(), 1);
    });
}

#[test]
fn passive_checks_take_a_server_out_for_their_window() {
    on_worker(async {
        let fake = Fake::new(|number, _| {
            Act::Say(if number < 2 { ok("").replace("200 OK", "500 Oh") } else { ok("fine") })
        })
        .await;
        let passive =
            PassiveSettings { failure_window: Duration::from_millis(60), max_failed_attempts: 2 };
        let service = service(LoadBalancerSettings {
            passive: Some(passive),
            ..settings(vec![server(&fake.url)])
        });
        let (_checks, _) = check(&service);

        for status in [500, 500, 503] {
            assert_eq!(ask(&service, get("/")).await.status(), status);
        }
        assert!(service.replicas()[0].is_up(), "serverStatus is of active checks alone");
        eventually("ready again", || service.replicas()[0].is_ready()).await;
        assert_eq!(text(ask(&service, get("/")).await).await, "fine");
    });
}

/// A service of one server that hangs and one that answers, and a request to the one that hangs.
async fn hanging(
    request: fn() -> Request<Body>,
) -> (Arc<Service>, [Fake; 2], tokio::task::JoinHandle<Response<Body>>) {
    let fakes = [Fake::new(|_, _| Act::Hang).await, Fake::saying("b").await];
    let service = service(settings(vec![
        container(&fakes[0].url, "a", EngineState::Running),
        container(&fakes[1].url, "b", EngineState::Running),
    ]));
    let mut asking = Vec::new();
    while fakes[0].seen() == 0 {
        let service = Arc::clone(&service);
        asking.push(tokio::task::spawn_local(async move { ask(&service, request()).await }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let hangs = asking.into_iter().rfind(|asking| !asking.is_finished());
    (service, fakes, hangs.unwrap())
}

#[test]
fn a_request_to_a_container_that_is_paused_is_taken_to_another() {
    on_worker(async {
        let (service, _fakes, asking) = hanging(|| get("/")).await;

        service.replicas()[0].set_engine(EngineState::Paused);

        assert_eq!(text(asking.await.unwrap()).await, "b");
    });
}

#[test]
fn a_request_that_may_not_be_repeated_waits_for_the_container_to_go_on() {
    on_worker(async {
        let (service, fakes, asking) = hanging(|| post("x")).await;
        let seen = fakes[1].seen();

        service.replicas()[0].set_engine(EngineState::Paused);
        // Two looks of the worker at its pools.
        tokio::time::sleep(Duration::from_millis(2100)).await;

        assert!(!asking.is_finished());
        assert_eq!(fakes[1].seen(), seen);
    });
}
