//! Weighted, highest random weight and failover services.

use http::StatusCode;

use super::*;

/// A service with one server that always says its name.
async fn one(name: &'static str) -> (Fake, Arc<Service>) {
    let fake = Fake::saying(name).await;
    let balancer = service(settings(vec![server(&fake.url)]));
    (fake, balancer)
}

fn set_up(service: &Service, is_up: bool) {
    let why = (!is_up).then(|| "the test says so".into());
    service.replicas()[0].set_health(why);
}

async fn said(service: &Service, times: usize) -> String {
    let mut all = String::new();
    for _ in 0..times {
        let response = ask(service, get("/")).await;
        all += &if response.status() == 200 { text(response).await } else { "-".to_owned() };
    }
    all
}

fn count(said: &str, what: char) -> usize {
    said.chars().filter(|c| *c == what).count()
}

#[test]
fn a_child_that_is_down_gets_nothing_and_the_others_keep_their_shares() {
    on_worker(async {
        let [(_f1, a), (_f2, b), (_f3, c)] = [one("a").await, one("b").await, one("c").await];
        let children = || vec![child("a", 4, &a), child("b", 1, &b), child("c", 1, &c)];
        let made =
            |follow| Service::weighted("w@file".into(), children(), follow, None, Requests::off());
        let (following, not_following) = (made(true), made(false));
        set_up(&a, false);

        let to_others = said(&following, 8).await;
        assert_eq!((count(&to_others, 'b'), count(&to_others, 'c')), (4, 4), "{to_others}");
        assert_eq!(count(&said(&not_following, 6).await, '-'), 4);

        set_up(&a, true);
        assert_eq!(count(&said(&following, 6).await, 'a'), 4);
    });
}

#[test]
fn a_session_leaves_a_child_that_is_down() {
    on_worker(async {
        let [(_f1, a), (_f2, b)] = [one("a").await, one("b").await];
        let cookie = CookieSettings {
            name: "lb".to_owned(),
            secure: false,
            http_only: false,
            same_site: String::new(),
            max_age: 0,
            path: "/".to_owned(),
            domain: String::new(),
        };
        let children = vec![child("a", 1, &a), child("b", 1, &b)];
        let service =
            Service::weighted("w@file".into(), children, true, Some(&cookie), Requests::off());
        set_up(&b, false);
        let mut request = get("/");
        // Traefik's mark of `b`.
        request.headers_mut().insert("cookie", "lb=3e23e8160039594a".parse().unwrap());

        let response = ask(&service, request).await;

        assert_eq!(response.headers()["set-cookie"], "lb=ca978112ca1bbdca; Path=/");
        assert_eq!(text(response).await, "a");
    });
}

#[test]
fn health_goes_up_through_every_kind() {
    on_worker(async {
        let [(_f1, a), (_f2, b)] = [one("a").await, one("b").await];
        let both = || vec![child("a", 1, &a), child("b", 1, &b)];
        let off = Requests::off;
        let weighted = Service::weighted("w@file".into(), both(), true, None, off());
        let highest = Service::highest_random_weight("h@file".into(), both(), true, off());
        let pair = FailoverSettings { main: a.clone(), fallback: b.clone(), errors: None };
        let failover = Service::failover("f@file".into(), pair, off());
        let mirroring = mirroring::over(&a, vec![(b.clone(), 100)]);
        let all = [&weighted, &highest, &failover, &mirroring];
        let up = |all: [&Arc<Service>; 4]| all.map(|service| service.is_up());

        assert_eq!(up(all), [true; 4]);
        set_up(&a, false);
        assert_eq!(up(all), [true, true, true, false]);
        set_up(&b, false);
        assert_eq!(up(all), [false; 4]);
        for service in all {
            assert_eq!(ask(service, get("/")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    });
}

#[test]
fn a_client_address_keeps_its_service_until_that_is_down() {
    on_worker(async {
        let [(_f1, a), (_f2, b)] = [one("a").await, one("b").await];
        let children = vec![child("a", 1, &a), child("b", 1, &b)];
        let service =
            Service::highest_random_weight("h@file".into(), children, true, Requests::off());

        let first = said(&service, 1).await;
        assert_eq!(said(&service, 5).await, first.repeat(5));
        set_up(if first == "a" { &a } else { &b }, false);
        let other = if first == "a" { "b" } else { "a" };
        assert_eq!(said(&service, 5).await, other.repeat(5));

        let nobody = vec![child("a", 0, &a)];
        let nobody = Service::highest_random_weight("n@file".into(), nobody, true, Requests::off());
        assert_eq!(said(&nobody, 1).await, "-");
    });
}

#[test]
fn client_addresses_are_spread_by_weight() {
    on_worker(async {
        let [(_f1, a), (_f2, b)] = [one("a").await, one("b").await];
        let highest = highest::Highest::new(vec![child("a", 3, &a), child("b", 1, &b)], false);
        let mut to_a = 0;
        for number in 0..1000_u32 {
            let client = std::net::IpAddr::V4((0x0a00_0000 + number * 7).into());
            let score =
                |place: &children::Place| strategy::rendezvous(&place.name, place.weight, client);
            let best = highest.children.candidates().max_by(|x, y| score(x).total_cmp(&score(y)));
            to_a += usize::from(&*best.unwrap().name == "a");
        }

        assert!((680..820).contains(&to_a), "{to_a} of 1000");
    });
}

#[test]
fn the_fallback_is_asked_while_the_first_is_down() {
    on_worker(async {
        let [(_f1, a), (_f2, b)] = [one("a").await, one("b").await];
        let pair = FailoverSettings { main: a.clone(), fallback: b.clone(), errors: None };
        let service = Service::failover("f@file".into(), pair, Requests::off());

        assert_eq!(said(&service, 2).await, "aa");
        set_up(&a, false);
        assert_eq!(said(&service, 2).await, "bb");
        set_up(&a, true);
        assert_eq!(said(&service, 2).await, "aa");
    });
}

fn with_errors(main: &Arc<Service>, fallback: &Arc<Service>, most: Option<u64>) -> Arc<Service> {
    let errors = ErrorSettings { statuses: vec![500..=599], max_request_body: most };
    let pair =
        FailoverSettings { main: main.clone(), fallback: fallback.clone(), errors: Some(errors) };
    Service::failover("f@file".into(), pair, Requests::off())
}

#[test]
fn an_error_of_the_first_sends_the_same_request_to_the_fallback() {
    on_worker(async {
        let bad = Fake::new(|_, request| {
            let status = if request.starts_with("GET /fine") { "404" } else { "503" };
            Act::Say(format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nbad"))
        })
        .await;
        let main = service(settings(vec![server(&bad.url)]));
        let (good, fallback) = one("good").await;
        let failover = with_errors(&main, &fallback, None);

        let mut exchange = Exchange::for_tests();
        let response = failover.call(&mut exchange, post("hello")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, "good");
        assert_eq!(exchange.served.origin_status, Some(200));
        for fake in [&bad, &good] {
            let seen = fake.requests.borrow();
            assert!(seen[0].starts_with("POST / ") && seen[0].ends_with("hello"), "{seen:?}");
        }
        let fine = ask(&failover, get("/fine")).await;
        assert_eq!(fine.status(), 404);
        // The answer that was thrown away was read, so its connection went on to be used.
        assert_eq!(bad.connections.get(), 1);
    });
}

#[test]
fn a_first_that_refuses_connections_is_an_error_too() {
    on_worker(async {
        let main = service(settings(vec![server(&refusing().await)]));
        let (_fake, fallback) = one("good").await;

        assert_eq!(said(&with_errors(&main, &fallback, None), 1).await, "good");
    });
}

#[test]
fn a_body_over_the_limit_is_refused_as_traefik_does() {
    on_worker(async {
        let [(first, main), (_f, fallback)] = [one("a").await, one("b").await];
        let failover = with_errors(&main, &fallback, Some(4));

        assert_eq!(ask(&failover, post("12345")).await.status(), 413);
        assert_eq!(first.seen(), 0);
        assert_eq!(ask(&failover, post("1234")).await.status(), 200);
    });
}
