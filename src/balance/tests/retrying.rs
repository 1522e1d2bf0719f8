use super::*;

#[test]
fn requests_are_shared_in_turn() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let service = service(settings(fakes.iter().map(|fake| server(&fake.url)).collect()));

        for _ in 0..10 {
            text(ask(&service, get("/")).await).await;
        }

        assert_eq!(fakes.each_ref().map(Fake::seen), [5, 5]);
        assert_eq!(fakes.each_ref().map(|fake| fake.connections.get()), [1, 1]);
    });
}

#[test]
fn a_server_that_refuses_costs_no_request_with_any_method() {
    on_worker(async {
        let fake = Fake::saying("a").await;
        let service = service(settings(vec![server(&refusing().await), server(&fake.url)]));

        for _ in 0..8 {
            assert_eq!(ask(&service, post("x")).await.status(), 200);
        }

        assert_eq!(fake.seen(), 8);
        assert!(fake.requests.borrow().iter().all(|request| request.ends_with("\r\n\r\nx")));
        // Three refusals within ten seconds have taken it out.
        assert_eq!(service.replicas()[0].state(), ReplicaState::Unhealthy);
    });
}

/// An address that neither accepts nor refuses: the queue of its socket is full.
fn deaf() -> (String, Vec<socket2::Socket>) {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = socket().unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let first = socket().unwrap();
    first.connect(&address).unwrap();
    let url = format!("http://{}", address.as_socket().unwrap());
    (url, vec![listener, first])
}

#[test]
fn one_that_a_connection_takes_long_to_is_left_for_another() {
    on_worker(async {
        let (url, _sockets) = deaf();
        let fake = Fake::saying("a").await;
        let service = service(settings(vec![
            container(&url, "deaf", EngineState::Running),
            container(&fake.url, "a", EngineState::Running),
        ]));

        let asking: Vec<_> = (0..8)
            .map(|_| {
                let service = Arc::clone(&service);
                tokio::task::spawn_local(async move { ask(&service, post("x")).await.status() })
            })
            .collect();
        for answer in asking {
            assert_eq!(answer.await.unwrap(), 200);
        }

        assert_eq!(fake.seen(), 8);
        assert_eq!(service.replicas()[0].state(), ReplicaState::Unhealthy);
    });
}

#[test]
fn without_another_server_a_refused_connect_is_a_502() {
    on_worker(async {
        let service = service(settings(vec![server(&refusing().await)]));

        for _ in 0..5 {
            let response = ask(&service, get("/")).await;

            assert_eq!(response.status(), 502);
            assert!(response.headers().is_empty());
            assert_eq!(text(response).await, "Bad Gateway");
        }
    });
}

#[test]
fn only_idempotent_requests_are_sent_twice() {
    on_worker(async {
        let closing = Fake::new(|_, _| Act::SayAndClose(String::new())).await;
        let good = Fake::saying("a").await;
        let service = service(settings(vec![server(&closing.url), server(&good.url)]));

        let mut posts = Vec::new();
        for _ in 0..4 {
            assert_eq!(ask(&service, get("/")).await.status(), 200);
            posts.push(ask(&service, post("x")).await.status().as_u16());
        }

        assert!(posts.contains(&502), "{posts:?}");
    });
}

#[test]
fn an_idempotent_request_is_sent_again_with_its_body_if_that_is_small() {
    on_worker(async {
        for (length, status) in [(64 << 10, 200), (128 << 10, 502)] {
            let closing = Fake::new(|_, _| Act::SayAndClose(String::new())).await;
            let good = Fake::saying("a").await;
            let service = service(settings(vec![server(&closing.url), server(&good.url)]));
            let body = "x".repeat(length);
            let mut statuses = Vec::new();
            for _ in 0..2 {
                let request = Request::put("/").header("host", "a").body(Body::from(body.clone()));
                statuses.push(ask(&service, request.unwrap()).await.status().as_u16());
            }

            // One of the two at least met the server that closes.
            assert!(closing.seen() > 0 && good.seen() > 0, "{length}");
            let is_lost = statuses.contains(&502);
            assert_eq!(is_lost, status == 502, "{length}: {statuses:?}");
            let seen = good.requests.borrow();
            assert!(seen.iter().all(|request| request.ends_with(&format!("\r\n\r\n{body}"))));
        }
    });
}

#[test]
fn a_connection_is_not_used_any_more_shortly_before_its_server_closes_it() {
    on_worker(async {
        let answer = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 1\r\n\r\na";
        let fake = Fake::new(move |_, _| Act::Say(answer.to_owned())).await;
        let service = service(settings(vec![server(&fake.url)]));

        for pause in [0, 600] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            assert_eq!(text(ask(&service, post("x")).await).await, "a");
        }

        assert_eq!(fake.connections.get(), 2);
    });
}

#[test]
fn three_replicas_that_are_stopped_at_once_cost_no_idempotent_request() {
    on_worker(async {
        let close = || Fake::new(|_, _| Act::SayAndClose(String::new()));
        let stopping = [close().await, close().await, close().await];
        let good = Fake::saying("a").await;
        let mut servers: Vec<_> = stopping.iter().map(|fake| server(&fake.url)).collect();
        servers.push(server(&good.url));
        let service = service(settings(servers));

        for _ in 0..8 {
            assert_eq!(ask(&service, get("/")).await.status(), 200);
        }
    });
}

#[test]
fn answers_that_are_wrong_are_not_asked_for_again() {
    on_worker(async {
        for (answer, status, body) in [
            ("what?\r\n\r\n", 500, "Internal Server Error"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                502,
                "Bad Gateway",
            ),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 502, "Bad Gateway"),
        ] {
            let fakes = [
                Fake::new(move |_, _| Act::SayAndClose(answer.to_owned())).await,
                Fake::new(move |_, _| Act::SayAndClose(answer.to_owned())).await,
            ];
            let service = service(settings(fakes.iter().map(|fake| server(&fake.url)).collect()));

            let response = ask(&service, get("/")).await;

            assert_eq!(response.status(), status, "{answer}");
            assert_eq!(text(response).await, body);
            assert_eq!(fakes[0].seen() + fakes[1].seen(), 1, "{answer}");
        }
    });
}

#[test]
fn a_pooled_connection_that_was_closed_is_replaced() {
    on_worker(async {
        // Keeps the connection by its words, and closes it by its deeds.
        let fake = Fake::new(|_, _| Act::SayAndClose(ok("a"))).await;
        let service = service(settings(vec![server(&fake.url)]));

        for _ in 0..5 {
            assert_eq!(text(ask(&service, post("x")).await).await, "a");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        assert_eq!(fake.connections.get(), 5);
    });
}

#[test]
fn a_late_answer_is_a_504() {
    on_worker(async {
        let fake = Fake::new(|_, _| Act::Hang).await;
        let transport = Transport::build(&TransportSettings {
            response_header_timeout: Some(Duration::from_millis(30)),
            ..TransportSettings::default()
        });
        let service = Service::load_balancer(
            "web@docker".into(),
            settings(vec![server(&fake.url)]),
            &transport.unwrap(),
            Requests::off(),
            None,
        )
        .unwrap();

        for request in [get("/"), post("x")] {
            let response = ask(&service, request).await;

            assert_eq!(response.status(), 504);
            assert_eq!(text(response).await, "Gateway Timeout");
        }
    });
}

#[test]
fn a_service_without_servers_says_so_at_once() {
    on_worker(async {
        let service = service(settings(Vec::new()));

        let response = ask(&service, get("/")).await;

        assert_eq!(response.status(), 503);
        assert_eq!(response.headers().get("retry-after").unwrap(), "1");
        assert_eq!(text(response).await, "no available server\n");
    });
}

#[test]
fn a_retry_is_counted_on_its_service() {
    on_worker(async {
        let prometheus = Some(crate::settings::Prometheus::default());
        let told = crate::settings::Metrics { prometheus, ..Default::default() };
        let metrics = crate::observe::Metrics::new(&told, 1);
        let good = Fake::saying("a").await;
        let servers = vec![server(&refusing().await), server(&good.url)];
        let requests = metrics.service("web@docker");
        let name = "web@docker".into();
        let service =
            Service::load_balancer(name, settings(servers), &transport(), requests, None).unwrap();

        let mut exchange = Exchange::for_tests();
        for _ in 0..2 {
            service.call(&mut exchange, get("/")).await;
        }

        let retries = exchange.served.retries;
        assert!(retries > 0);
        let wanted = format!("traefik_service_retries_total{{service=\"web@docker\"}} {retries}\n");
        assert!(crate::observe::Exposition::new(metrics).render(None).1.contains(&wanted));
    });
}

#[test]
fn a_servers_own_502_is_no_network_error() {
    on_worker(async {
        let sick = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
        let sick = Fake::new(|_, _| Act::Say(sick.to_owned())).await;
        let garbage = Fake::new(|_, _| Act::SayAndClose("nonsense\r\n\r\n".to_owned())).await;
        let mut exchange = Exchange::for_tests();
        for (url, status, is_network_error) in
            [(&refusing().await, 502, true), (&sick.url, 502, false), (&garbage.url, 500, false)]
        {
            let service = service(settings(vec![server(url)]));

            let response = service.call(&mut exchange, get("/")).await;

            assert_eq!(response.status(), status);
            assert_eq!(exchange.served.network_error, is_network_error, "{status}");
        }
    });
}

#[test]
fn a_request_of_which_no_server_saw_a_byte_is_said_to_be_unsent() {
    on_worker(async {
        let closing = Fake::new(|_, _| Act::SayAndClose(String::new())).await;
        let sick = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
        let sick = Fake::new(|_, _| Act::Say(sick.to_owned())).await;
        let none = refusing().await;
        for (servers, request, unsent) in [
            (vec![server(&none)], post("x"), true),
            (vec![server(&none), server(&refusing().await)], get("/"), true),
            (vec![server(&closing.url)], post("x"), false),
            (vec![server(&closing.url)], get("/"), false),
            (vec![server(&sick.url)], get("/"), false),
            (vec![], get("/"), false),
        ] {
            let mut exchange = Exchange::for_tests();
            exchange.served.unsent = !unsent;

            service(settings(servers)).call(&mut exchange, request).await;

            assert_eq!(exchange.served.unsent, unsent);
        }
    });
}

#[test]
fn what_a_service_sends_again_is_bounded_over_all_tries_of_a_middleware() {
    on_worker(async {
        let close = || Fake::new(|_, _| Act::SayAndClose(String::new()));
        let fakes = [close().await, close().await, close().await, close().await, close().await];
        let service = service(settings(fakes.iter().map(|fake| server(&fake.url)).collect()));
        let mut exchange = Exchange::for_tests();

        for _ in 0..3 {
            exchange.served.try_again();
            assert_eq!(service.call(&mut exchange, get("/")).await.status(), 502);
        }

        let seen: usize = fakes.iter().map(Fake::seen).sum();
        assert_eq!(seen, 3 + 3);
        assert_eq!(exchange.served.retries, 3);
    });
}
