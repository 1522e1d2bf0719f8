use super::*;

fn cookie() -> CookieSettings {
    CookieSettings {
        name: "lb".to_owned(),
        secure: false,
        http_only: false,
        same_site: String::new(),
        max_age: 0,
        path: "/".to_owned(),
        domain: String::new(),
    }
}

async fn with_cookie(service: &Service, value: &str) -> (Option<String>, String) {
    let mut request = get("/");
    request.headers_mut().insert("cookie", format!("lb={value}").parse().unwrap());
    let response = ask(service, request).await;
    let set = response.headers().get("set-cookie").map(|set| set.to_str().unwrap().to_owned());
    (set, text(response).await)
}

#[test]
fn a_session_stays_with_its_server_until_that_is_gone() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let servers = vec![
            container(&fakes[0].url, "a", EngineState::Running),
            container(&fakes[1].url, "b", EngineState::Running),
        ];
        let settings = LoadBalancerSettings { sticky: Some(cookie()), ..settings(servers) };
        let service = service(settings);

        let (set, first) = with_cookie(&service, "nonsense").await;
        let set = set.unwrap();
        let value = set.strip_prefix("lb=").unwrap().strip_suffix("; Path=/").unwrap();
        for _ in 0..4 {
            assert_eq!(with_cookie(&service, value).await, (None, first.clone()));
        }

        let own = usize::from(first == "b");
        service.replicas()[own].set_engine(EngineState::Stopping);
        let (set_again, second) = with_cookie(&service, value).await;
        assert_ne!(second, first);
        assert_ne!(set_again, Some(set));
        assert!(set_again.is_some());
    });
}

#[test]
fn weighted_services_get_their_shares_and_keep_their_sessions() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let [a, b] = fakes.each_ref().map(|fake| service(settings(vec![server(&fake.url)])));
        let children = vec![child("a", 3, &a), child("b", 1, &b)];
        let plain =
            Service::weighted("w@file".into(), children.clone(), false, None, Requests::off());

        for _ in 0..8 {
            text(ask(&plain, get("/")).await).await;
        }
        assert_eq!(fakes.each_ref().map(Fake::seen), [6, 2]);

        let cookie = cookie();
        let sticky =
            Service::weighted("w@file".into(), children, false, Some(&cookie), Requests::off());
        // Traefik's mark of `b`.
        for _ in 0..4 {
            assert_eq!(with_cookie(&sticky, "3e23e8160039594a").await, (None, "b".to_owned()));
        }
        let children = vec![child("a", 0, &a)];
        let nobody = Service::weighted("w@file".into(), children, false, None, Requests::off());
        assert_eq!(ask(&nobody, get("/")).await.status(), 503);
    });
}

#[test]
fn what_has_no_share_keeps_no_session() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let servers = [(0, &fakes[0]), (1, &fakes[1])]
            .map(|(weight, fake)| ServerSettings { weight, ..server(&fake.url) });
        let marks = servers.each_ref().map(|server| sticky::Marks::new(&server.url, None));
        let settings = LoadBalancerSettings { sticky: Some(cookie()), ..settings(servers.into()) };
        let balancer = service(settings);

        let (set, said) = with_cookie(&balancer, marks[0].value()).await;
        assert_eq!((set.is_some(), said.as_str()), (true, "b"));
        assert_eq!(with_cookie(&balancer, marks[1].value()).await, (None, "b".to_owned()));

        let [a, b] = fakes.each_ref().map(|fake| service(super::settings(vec![server(&fake.url)])));
        let children = vec![child("a", 0, &a), child("b", 1, &b)];
        let cookie = cookie();
        let weighted =
            Service::weighted("w@file".into(), children, false, Some(&cookie), Requests::off());
        let mark = sticky::Marks::of_child("a");
        let (set, said) = with_cookie(&weighted, mark.value()).await;
        assert_eq!((set.is_some(), said.as_str()), (true, "b"));
    });
}
