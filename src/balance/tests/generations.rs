//! Two generations of a service and more: who gets which requests. Nothing is sent.

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::HeaderName;
use tokio::time::advance;

use super::*;
use crate::balance::deploy::{BackOffRules, CookieRule, HeaderRule};
use crate::balance::forward;

/// A server of a generation; the number is its name, and says when it was made.
pub(super) fn deployed(number: u64, generation: &str, rules: &DeployRules) -> ServerSettings {
    let deploy = Deploy {
        generation: generation.into(),
        created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(number)),
        rules: Arc::new(rules.clone()),
    };
    let mut server =
        container(&format!("http://127.0.0.1:{number}"), &number.to_string(), EngineState::Running);
    if let Some(container) = &mut server.container {
        container.deploy = Some(Arc::new(deploy));
    }
    server
}

/// Fields of a request.
type Fields<'f> = &'f [(&'static str, &'f str)];

fn rules() -> DeployRules {
    DeployRules::default()
}

/// So many servers of `v1`, then so many of `v2` with these rules.
fn two(old: u64, new: u64, rules: &DeployRules) -> Vec<ServerSettings> {
    let before = (1..=old).map(|number| deployed(number, "v1", &DeployRules::default()));
    let after = (11..11 + new).map(|number| deployed(number, "v2", rules));
    before.chain(after).collect()
}

/// The service with other servers, as after a change of the table.
fn changed(service: &Arc<Service>, servers: Vec<ServerSettings>) -> Arc<Service> {
    let transport = Arc::clone(&service.balancer().unwrap().transport);
    let settings = LoadBalancerSettings { servers, ..service.balancer().unwrap().settings.clone() };
    let name = Arc::clone(&service.name);
    Service::load_balancer(name, settings, &transport, Requests::off(), Some(service)).unwrap()
}

fn replica(service: &Arc<Service>, number: u64) -> Arc<Replica> {
    let number = number.to_string();
    let is_it = |one: &&Arc<Replica>| one.container.as_deref() == Some(&*number);
    Arc::clone(service.replicas().iter().find(is_it).unwrap())
}

fn with(fields: Fields<'_>) -> Request<Body> {
    let mut request = get("/");
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// The server that a request with these fields is for.
async fn server_for(service: &Arc<Service>, fields: Fields<'_>) -> u64 {
    let balancer = service.balancer().unwrap();
    let exchange = Exchange::for_tests();
    let replica = forward::choose(balancer, &exchange, &mut with(fields)).await.unwrap();
    replica.container.as_deref().unwrap().parse().unwrap()
}

/// Who gets so many requests with these fields.
async fn spread(service: &Arc<Service>, count: usize, fields: Fields<'_>) -> BTreeMap<u64, usize> {
    let mut got = BTreeMap::new();
    for _ in 0..count {
        *got.entry(server_for(service, fields).await).or_default() += 1;
    }
    got
}

/// Whether requests with these fields go to `v2` alone (true) or to `v1` alone.
async fn is_new(service: &Arc<Service>, fields: Fields<'_>) -> bool {
    let got = spread(service, 40, fields).await;
    let new = got.keys().filter(|number| **number > 10).count();
    assert!(new == 0 || new == got.len(), "{fields:?}: {got:?}");
    new > 0
}

/// What a service shows of its generations: id, state, share.
fn shown(service: &Arc<Service>) -> Vec<(String, GenerationState, f64)> {
    let generations = service.generations().into_iter();
    generations.map(|one| (one.id.to_string(), one.state, one.share)).collect()
}

fn states(service: &Arc<Service>) -> Vec<GenerationState> {
    service.generations().iter().map(|one| one.state).collect()
}

/// A test without sockets, with a clock that stands still until it is moved.
fn in_stillness(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.unwrap().block_on(test);
}

#[test]
fn a_canary_gets_its_percent_exactly_whatever_the_strategy_and_the_weights() {
    in_stillness(async {
        for strategy in
            [Strategy::RoundRobin, Strategy::TwoChoices, Strategy::LeastTime, Strategy::Rendezvous]
        {
            for percent in [0, 1, 20, 50, 99, 100] {
                let rules = DeployRules { percent: Some(percent), ..rules() };
                let mut servers = two(3, 2, &rules);
                servers[0].weight = 7;
                let service = service(LoadBalancerSettings { strategy, ..settings(servers) });

                let got = spread(&service, 1000, &[]).await;

                let new: usize = got.range(11..).map(|(_, count)| count).sum();
                assert_eq!(new, usize::from(percent) * 10, "{strategy:?} {percent}%");
            }
        }
    });
}

#[test]
fn within_a_side_every_server_gets_its_share() {
    in_stillness(async {
        let rules = DeployRules { percent: Some(50), ..rules() };
        let mut servers = two(2, 2, &rules);
        servers[0].weight = 3;
        let service = service(settings(servers));

        let got = spread(&service, 800, &[]).await;

        assert_eq!(got, [(1, 300), (2, 100), (11, 200), (12, 200)].into());
    });
}

#[test]
fn without_rules_every_server_gets_its_own_share_as_in_traefik() {
    in_stillness(async {
        let service = service(settings(two(3, 1, &rules())));

        assert_eq!(
            spread(&service, 400, &[]).await,
            [(1, 100), (2, 100), (3, 100), (11, 100)].into()
        );
        assert!(service.balancer().unwrap().group.rotation.load().split.is_none());
        let wanted = [("v2", 25.0), ("v1", 75.0)];
        let wanted = wanted.map(|(id, share)| (id.to_owned(), GenerationState::Serving, share));
        assert_eq!(shown(&service), wanted);
    });
}

#[test]
fn one_generation_alone_is_nothing_to_speak_of() {
    let service = service(settings(two(3, 0, &rules())));
    assert!(service.generations().is_empty());

    let strangers = service_of_strangers();
    assert!(strangers.generations().is_empty());
}

fn service_of_strangers() -> Arc<Service> {
    service(settings(vec![server("http://127.0.0.1:1"), server("http://127.0.0.1:2")]))
}

#[test]
fn the_new_generation_gets_nothing_until_enough_of_it_is_ready() {
    in_stillness(async {
        let rules = DeployRules { min_ready: 2, percent: Some(100), ..rules() };
        let mut servers = two(2, 2, &rules);
        servers[3].container.as_mut().unwrap().state = EngineState::Starting;
        let service = service(settings(servers));

        assert!(!is_new(&service, &[]).await);
        let wanted =
            [("v2", GenerationState::Waiting(2), 0.0), ("v1", GenerationState::Serving, 100.0)];
        assert_eq!(shown(&service), wanted.map(|(id, state, share)| (id.to_owned(), state, share)));

        replica(&service, 12).connected();
        assert!(is_new(&service, &[]).await);
        assert_eq!(states(&service), [GenerationState::Serving, GenerationState::Old]);

        // One of them fails again: the older ones are still there.
        replica(&service, 12).set_engine(EngineState::Gone);
        assert!(!is_new(&service, &[]).await);
    });
}

#[test]
fn what_is_not_enough_serves_where_there_is_nobody_else() {
    in_stillness(async {
        let rules = DeployRules { min_ready: 5, percent: Some(0), ..rules() };
        let service = service(settings(two(1, 1, &rules)));
        assert_eq!(server_for(&service, &[]).await, 1);

        replica(&service, 1).set_engine(EngineState::Stopping);

        assert_eq!(server_for(&service, &[]).await, 11);
        assert_eq!(shown(&service)[0], ("v2".to_owned(), GenerationState::Serving, 100.0));
    });
}

#[test]
fn fields_and_cookies_decide_in_their_order() {
    in_stillness(async {
        let header = |value: Option<&str>| HeaderRule {
            name: HeaderName::from_static("x-canary"),
            value: value.map(Box::from),
        };
        let cookie =
            |value: Option<&str>| CookieRule { name: "canary".into(), value: value.map(Box::from) };
        let plain =
            DeployRules { header: Some(header(None)), cookie: Some(cookie(None)), ..rules() };
        let valued = DeployRules {
            header: Some(header(Some("beta"))),
            cookie: Some(cookie(Some("yes"))),
            ..rules()
        };
        let all = DeployRules { percent: Some(100), ..plain.clone() };
        let cases: [(&DeployRules, Fields<'_>, bool); 14] = [
            (&plain, &[], false),
            (&plain, &[("x-canary", "always")], true),
            (&plain, &[("x-canary", "never")], false),
            (&plain, &[("x-canary", "perhaps")], false),
            (&plain, &[("cookie", "a=b; canary=always")], true),
            (&plain, &[("x-canary", "never"), ("cookie", "canary=always")], false),
            (&plain, &[("x-canary", "perhaps"), ("cookie", "canary=always")], true),
            (&valued, &[("x-canary", "beta")], true),
            (&valued, &[("x-canary", "always")], false),
            (&valued, &[("cookie", "canary=yes")], true),
            (&valued, &[("cookie", "canary=no")], false),
            (&all, &[], true),
            (&all, &[("x-canary", "never")], false),
            (&all, &[("cookie", "canary=never")], false),
        ];
        for (rules, fields, is_for_new) in cases {
            let service = service(settings(two(2, 2, rules)));

            assert_eq!(is_new(&service, fields).await, is_for_new, "{rules:?} {fields:?}");
        }
    });
}

#[test]
fn those_who_ask_for_a_generation_take_nothing_from_the_percent() {
    in_stillness(async {
        let header = HeaderRule { name: HeaderName::from_static("x-canary"), value: None };
        let rules = DeployRules { percent: Some(20), header: Some(header), ..rules() };
        let service = service(settings(two(2, 1, &rules)));
        let mut new = 0;
        for _ in 0..500 {
            assert_eq!(server_for(&service, &[("x-canary", "always")]).await, 11);
            new += usize::from(server_for(&service, &[]).await == 11);
        }

        assert_eq!(new, 100);
    });
}

/// `name=value` of the pin that an answer sets, and all of the field.
async fn pinned(service: &Arc<Service>, fields: Fields<'_>) -> Option<(String, String)> {
    let response = ask(service, with(fields)).await;
    let field = response.headers().get("set-cookie")?.to_str().unwrap().to_owned();
    let pair = field.split(';').next().unwrap().to_owned();
    Some((pair, field))
}

/// Servers that answer, in two generations.
fn answering(fakes: &[Fake; 2], rules: &DeployRules) -> Vec<ServerSettings> {
    let mut servers = vec![deployed(1, "v1", rules), deployed(11, "v2", rules)];
    for (server, fake) in servers.iter_mut().zip(fakes) {
        server.url.clone_from(&fake.url);
    }
    servers
}

#[test]
fn a_client_stays_with_the_generation_that_answered_it_first() {
    on_worker(async {
        let fakes = [Fake::saying("old").await, Fake::saying("new").await];
        let rules = DeployRules { pin: true, percent: Some(100), ..rules() };
        let servers = answering(&fakes, &rules);
        // Before the deploy there is one generation, and it pins.
        let before = service(settings(servers[..1].to_vec()));
        let (pin, field) = pinned(&before, &[]).await.unwrap();
        assert!(pin.starts_with("_wharf_") && !field.contains("v1"), "{field}");
        assert!(field.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{field}");
        let after = changed(&before, servers);

        // It stays, and is not told again; others go to the new one.
        for _ in 0..4 {
            let response = ask(&after, with(&[("cookie", &pin)])).await;
            assert!(!response.headers().contains_key("set-cookie"));
            assert_eq!(text(response).await, "old");
        }
        let (new, _) = pinned(&after, &[("cookie", "_wharf_00000000=1")]).await.unwrap();
        assert_ne!(new, pin);
        assert!(is_new_by_pin(&after, &new).await && !is_new_by_pin(&after, &pin).await);

        // Its generation goes: it is pinned anew.
        replica(&after, 1).set_engine(EngineState::Stopping);
        let (again, _) = pinned(&after, &[("cookie", &pin)]).await.unwrap();
        assert_eq!(again, new);
    });
}

async fn is_new_by_pin(service: &Arc<Service>, pin: &str) -> bool {
    is_new(service, &[("cookie", pin)]).await
}

#[test]
fn a_pin_is_secure_where_the_request_was() {
    on_worker(async {
        let fakes = [Fake::saying("old").await, Fake::saying("new").await];
        let rules = DeployRules { pin: true, ..rules() };
        let service = service(settings(answering(&fakes, &rules)));
        let mut exchange = Exchange::for_tests();
        exchange.secure = true;

        let response = service.call(&mut exchange, get("/")).await;

        let field = response.headers()["set-cookie"].to_str().unwrap();
        assert!(field.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{field}");
    });
}

#[test]
fn who_asks_for_a_generation_once_is_not_pinned_to_it() {
    on_worker(async {
        let fakes = [Fake::saying("old").await, Fake::saying("new").await];
        let header = HeaderRule { name: HeaderName::from_static("x-canary"), value: None };
        let rules = DeployRules { pin: true, header: Some(header), ..rules() };
        let service = service(settings(answering(&fakes, &rules)));

        assert_eq!(pinned(&service, &[("x-canary", "always")]).await, None);
        let (pin, _) = pinned(&service, &[]).await.unwrap();
        assert!(!is_new_by_pin(&service, &pin).await);
    });
}

#[test]
fn sec_a_stranger_among_the_servers_does_not_switch_the_rules_off() {
    in_stillness(async {
        let mut servers = two(1, 1, &canary());
        servers.push(container("http://127.0.0.1:31", "31", EngineState::Running));
        let both = service(settings(servers.clone()));

        // It counts with the older ones.
        let got = spread(&both, 100, &[]).await;
        assert_eq!(got, [(1, 45), (11, 10), (31, 45)].into());
        let wanted =
            [("v2", GenerationState::Canary, 10.0), ("v1", GenerationState::Serving, 45.0)];
        assert_eq!(shown(&both), wanted.map(|(id, state, share)| (id.to_owned(), state, share)));
        answered(&both, 11, 20, 20);
        second(&both).await;
        assert_eq!((states(&both)[0], new_of_100(&both).await), (GenerationState::BackedOff, 0));

        // One generation alone does not leave all but its percent to it.
        let alone = service(settings(servers.split_off(1)));
        assert_eq!(new_of_100(&alone).await, 50);
        assert_eq!(shown(&alone), [("v2".to_owned(), GenerationState::Serving, 50.0)]);
    });
}

/// The value of a pin.
fn mark(service: &str, generation: &str) -> String {
    String::from_utf8(crate::balance::split::mark(service, generation).to_vec()).unwrap()
}

#[test]
fn sec_a_pin_can_not_be_worked_out_and_opens_nothing() {
    in_stillness(async {
        let name = crate::balance::split::cookie_name("web@docker");
        let known = sticky::mark(&["wharf generation", "web@docker", "v2"]);
        assert_ne!(mark("web@docker", "v2").as_bytes(), known);
        let pin = format!("{name}={}", mark("web@docker", "v2"));
        let by_field = DeployRules { percent: None, ..with_back_off() };
        let rules = |percent, min_ready, from: DeployRules| DeployRules {
            pin: true,
            percent,
            min_ready,
            ..from
        };
        let cases = [
            (rules(Some(50), 1, DeployRules::default()), true),
            (rules(Some(100), 2, DeployRules::default()), false),
            (rules(Some(0), 1, DeployRules::default()), false),
            (rules(None, 1, by_field), false),
        ];
        for (rules, is_had) in cases {
            let service = service(settings(two(2, 1, &rules)));

            assert_eq!(is_new_by_pin(&service, &pin).await, is_had, "{rules:?}");
        }
    });
}

#[test]
fn pins_tell_older_generations_apart() {
    in_stillness(async {
        let rules = DeployRules { pin: true, percent: Some(100), ..rules() };
        let servers: Vec<_> = [(1, "v1"), (2, "v2"), (3, "v3"), (11, "v4")]
            .map(|(number, id)| deployed(number, id, &rules))
            .into();
        let service = service(settings(servers));
        let name = crate::balance::split::cookie_name(&service.name);
        for (number, id) in [(1, "v1"), (2, "v2"), (3, "v3"), (11, "v4")] {
            let pin = format!("{name}={}", mark(&service.name, id));

            let got = spread(&service, 20, &[("cookie", &pin)]).await;

            assert_eq!(got, [(number, 20)].into(), "{id}");
        }
    });
}

#[test]
fn a_sticky_client_never_changes_generation_while_its_server_is_ready() {
    in_stillness(async {
        let header = HeaderRule { name: HeaderName::from_static("x-canary"), value: None };
        let rules = DeployRules { pin: true, percent: Some(100), header: Some(header), ..rules() };
        let cookie = CookieSettings {
            name: "lb".to_owned(),
            secure: false,
            http_only: false,
            same_site: String::new(),
            max_age: 0,
            path: "/".to_owned(),
            domain: String::new(),
        };
        let servers = two(2, 2, &rules);
        let service = service(LoadBalancerSettings { sticky: Some(cookie), ..settings(servers) });
        let sticky = format!("lb={}", replica(&service, 2).marks.value());

        assert_eq!(spread(&service, 20, &[("cookie", &sticky)]).await, [(2, 20)].into());
        // Unless it asks for the other one.
        assert!(is_new(&service, &[("cookie", &sticky), ("x-canary", "always")]).await);
        replica(&service, 2).set_engine(EngineState::Stopping);
        assert!(is_new(&service, &[("cookie", &sticky)]).await);
    });
}

#[test]
fn a_request_that_its_side_can_not_answer_goes_to_the_other() {
    on_worker(async {
        let well = Fake::saying("well").await;
        for percent in [0, 100] {
            let rules = DeployRules { percent: Some(percent), ..rules() };
            let mut servers = two(1, 1, &rules);
            let (sick, other) = if percent == 0 { (0, 1) } else { (1, 0) };
            servers[sick].url = refusing().await;
            servers[other].url.clone_from(&well.url);
            let service = service(settings(servers));

            assert_eq!(text(ask(&service, get("/")).await).await, "well", "{percent}%");
        }
    });
}

/// A minute-old deploy that backs off from a quarter of failures.
fn with_back_off() -> DeployRules {
    let back_off = BackOffRules { errors: 25, window: Duration::from_secs(5), min_requests: 20 };
    let header = HeaderRule { name: HeaderName::from_static("x-canary"), value: None };
    DeployRules {
        percent: Some(50),
        header: Some(header),
        back_off: Some(back_off),
        ..DeployRules::default()
    }
}

/// So many requests to a server, of which the first so many fail.
fn answered(service: &Arc<Service>, number: u64, requests: u64, errors: u64) {
    let replica = replica(service, number);
    for request in 0..requests {
        replica.enter();
        replica.leave(request < errors, false);
    }
}

async fn second(service: &Arc<Service>) {
    advance(Duration::from_secs(1)).await;
    service.look_at_generations(Instant::now());
}

#[test]
fn the_new_generation_is_backed_off_when_too_many_of_its_requests_fail() {
    in_stillness(async {
        let service = service(settings(two(2, 2, &with_back_off())));
        // Too few to tell; then enough, but below the bound; what is long past does not count.
        answered(&service, 11, 19, 19);
        second(&service).await;
        assert_eq!(states(&service)[0], GenerationState::Canary);
        for _ in 0..6 {
            second(&service).await;
        }
        answered(&service, 11, 60, 24);
        answered(&service, 12, 40, 0);
        second(&service).await;
        assert_eq!(states(&service)[0], GenerationState::Canary);
        // Requests that are on their way have not failed, and not succeeded.
        let slow = replica(&service, 12);
        (0..100).for_each(|_| slow.enter());
        answered(&service, 12, 4, 4);
        second(&service).await;

        assert_eq!(states(&service), [GenerationState::BackedOff, GenerationState::Serving]);
        let back_off = service.generations()[0].back_off.clone().unwrap();
        assert_eq!((back_off.requests, back_off.errors), (104, 28));
        assert_eq!(shown(&service)[0].2.to_bits(), 0_f64.to_bits());
        assert!(!is_new(&service, &[]).await);
        // One can look at it.
        assert!(is_new(&service, &[("x-canary", "always")]).await);
        // It holds when the errors are long past, too.
        for _ in 0..100 {
            second(&service).await;
        }
        assert!(!is_new(&service, &[]).await);
    });
}

#[test]
fn a_back_off_survives_new_tables_and_ends_with_another_deploy() {
    in_stillness(async {
        let rules = with_back_off();
        let first = service(settings(two(2, 1, &rules)));
        answered(&first, 11, 20, 20);
        second(&first).await;

        // Another server of the older generation, another weight: it holds.
        let mut servers = two(3, 1, &rules);
        servers[3].weight = 5;
        let then = changed(&first, servers);
        assert!(!is_new(&then, &[]).await);

        // Another generation.
        let mut servers = two(2, 1, &rules);
        servers.push(deployed(21, "v3", &rules));
        let other = changed(&then, servers.clone());
        let got = spread(&other, 100, &[]).await;
        assert_eq!(got[&21], 50);
        // The rest goes to all older ones, and nothing says any more that one of them failed.
        assert!(got[&1] > 0 && got[&2] > 0 && got[&11] > 0, "{got:?}");
    });
}

#[test]
fn a_generation_that_is_deployed_again_gets_another_try() {
    in_stillness(async {
        let rules = with_back_off();
        let first = service(settings(two(2, 1, &rules)));
        answered(&first, 11, 20, 20);
        second(&first).await;
        assert_eq!(states(&first)[0], GenerationState::BackedOff);

        let mut servers = two(2, 1, &rules);
        servers.push(deployed(22, "v2", &rules));
        let again = changed(&first, servers);
        second(&again).await;

        assert_eq!(states(&again)[0], GenerationState::Canary);
        let got = spread(&again, 100, &[]).await;
        assert_eq!(got[&11] + got[&22], 50);
    });
}

#[test]
fn one_that_was_backed_off_serves_where_there_is_nobody_else() {
    in_stillness(async {
        let service = service(settings(two(1, 1, &with_back_off())));
        answered(&service, 11, 20, 20);
        second(&service).await;
        assert_eq!(server_for(&service, &[]).await, 1);

        replica(&service, 1).set_engine(EngineState::Gone);
        assert_eq!(server_for(&service, &[]).await, 11);
        assert_eq!(states(&service)[0], GenerationState::Serving);

        // What is known of it is not forgotten for a restart of the other one.
        replica(&service, 1).set_engine(EngineState::Running);
        replica(&service, 1).connected();
        assert_eq!(server_for(&service, &[]).await, 1);
    });
}

#[test]
fn the_last_one_is_not_backed_off() {
    in_stillness(async {
        let service = service(settings(two(1, 1, &with_back_off())));
        replica(&service, 1).set_engine(EngineState::Gone);
        answered(&service, 11, 50, 50);
        second(&service).await;

        assert_eq!(states(&service)[0], GenerationState::Serving);
        assert_eq!(service.generations()[0].back_off, None);
    });
}

#[test]
fn pins_do_not_lead_to_what_was_backed_off() {
    on_worker(async {
        let fakes = [Fake::saying("old").await, Fake::saying("new").await];
        let rules = DeployRules { pin: true, percent: Some(100), ..with_back_off() };
        let service = service(settings(answering(&fakes, &rules)));
        let (pin, _) = pinned(&service, &[]).await.unwrap();
        assert!(is_new_by_pin(&service, &pin).await);

        answered(&service, 11, 50, 50);
        service.look_at_generations(Instant::now());

        let (again, _) = pinned(&service, &[("cookie", &pin)]).await.unwrap();
        assert_ne!(again, pin);
        assert!(!is_new_by_pin(&service, &pin).await);
    });
}

#[test]
fn servers_are_compared_with_those_of_their_own_generation_where_rules_split_them() {
    for (rules, is_apart) in [(with_back_off(), true), (rules(), false)] {
        let service = service(settings(two(2, 1, &rules)));

        assert_eq!(service.is_apart(&replica(&service, 11)), is_apart);
        assert!(!service.is_apart(&replica(&service, 1)));
    }
}

#[test]
fn counts_of_servers_that_left_stay_with_their_generation() {
    in_stillness(async {
        let rules = DeployRules { percent: Some(10), ..rules() };
        let first = service(settings(two(2, 1, &rules)));
        answered(&first, 1, 30, 3);
        answered(&first, 2, 20, 0);
        answered(&first, 11, 5, 1);

        let then = changed(&first, two(1, 1, &rules));
        answered(&then, 1, 10, 0);

        let counts: Vec<_> =
            then.generations().iter().map(|one| (one.requests, one.errors)).collect();
        assert_eq!(counts, [(5, 1), (60, 3)]);
        // Of one that is gone nothing is kept.
        let last = changed(&then, two(0, 1, &rules));
        assert_eq!(last.generations().len(), 1);
        let back = changed(&last, two(1, 1, &rules));
        assert_eq!(back.generations()[1].requests, 0);
    });
}

#[test]
fn what_one_did_while_it_was_alone_is_not_of_the_last_seconds() {
    in_stillness(async {
        let alone = service(settings(two(1, 0, &rules())));
        answered(&alone, 1, 1000, 900);
        advance(Duration::from_secs(3600)).await;

        let both = changed(&alone, two(1, 1, &rules()));
        answered(&both, 1, 5, 1);
        second(&both).await;

        let old = &both.generations()[1];
        assert_eq!((old.requests, old.errors), (1005, 901));
        assert_eq!((old.recent, old.recent_errors), (5, 1));
    });
}

#[test]
fn the_newest_is_the_one_that_came_last_and_runs() {
    in_stillness(async {
        let rules = DeployRules { percent: Some(100), ..rules() };
        let first = service(settings(two(0, 1, &rules)));
        // A rollback: the first generation comes back.
        let mut servers = two(0, 1, &rules);
        servers.push(deployed(21, "v1", &rules));
        let back = changed(&first, servers);
        assert_eq!(shown(&back)[0].0, "v1");
        let got = spread(&back, 20, &[]).await;
        assert_eq!(got, [(21, 20)].into());

        // One that was left behind and does not run.
        replica(&back, 21).set_engine(EngineState::Gone);
        assert_eq!(shown(&back)[0].0, "v2");
    });
}

fn canary() -> DeployRules {
    DeployRules { percent: Some(10), ..with_back_off() }
}

async fn new_of_100(service: &Arc<Service>) -> usize {
    let got = spread(service, 100, &[]).await;
    got.iter().filter(|(number, _)| (11..21).contains(*number)).map(|(_, count)| count).sum()
}

#[test]
fn one_that_runs_does_not_overtake_with_another_container() {
    in_stillness(async {
        let first = service(settings(two(2, 1, &canary())));
        assert_eq!(new_of_100(&first).await, 10);

        // One more of the old ones, to carry the load.
        let mut servers = two(2, 1, &canary());
        servers.push(deployed(21, "v1", &canary()));
        let more = changed(&first, servers.clone());
        assert_eq!((&*shown(&more)[0].0, new_of_100(&more).await), ("v2", 10));

        // The ones from before it go: it was made after the new generation.
        let last = changed(&more, servers.split_off(2));
        assert_eq!((&*shown(&last)[0].0, new_of_100(&last).await), ("v2", 10));

        // A proxy that starts meanwhile sees it so, too.
        let mut servers = two(1, 1, &canary());
        servers.push(deployed(21, "v1", &canary()));
        let restarted = service(settings(servers));
        assert_eq!((&*shown(&restarted)[0].0, new_of_100(&restarted).await), ("v2", 10));
    });
}

#[test]
fn sec_those_who_ask_for_a_generation_do_not_have_it_backed_off() {
    on_worker(async {
        let failing =
            Fake::new(|_, _| Act::Say("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned()));
        let fakes = [Fake::saying("old").await, failing.await];
        let rules = DeployRules { percent: Some(100), ..with_back_off() };
        let service = service(settings(answering(&fakes, &rules)));
        for _ in 0..30 {
            text(ask(&service, with(&[("x-canary", "always")])).await).await;
        }
        service.look_at_generations(Instant::now());
        // They are shown, and prove nothing.
        let newest = &service.generations()[0];
        assert_eq!((newest.errors, newest.recent_errors), (30, 30));
        assert_eq!(newest.state, GenerationState::Serving);

        for _ in 0..20 {
            text(ask(&service, get("/")).await).await;
        }
        service.look_at_generations(Instant::now());

        let newest = &service.generations()[0];
        assert_eq!(newest.state, GenerationState::BackedOff);
        let back_off = newest.back_off.clone().unwrap();
        assert_eq!((back_off.requests, back_off.errors), (20, 20));
    });
}

#[test]
fn more_containers_of_the_old_generation_do_not_end_a_back_off() {
    in_stillness(async {
        let first = service(settings(two(1, 1, &canary())));
        answered(&first, 11, 20, 20);
        second(&first).await;
        assert_eq!(states(&first)[0], GenerationState::BackedOff);

        // It is scaled up, and the ones from before go.
        let mut servers = two(1, 1, &canary());
        servers.push(deployed(21, "v1", &canary()));
        let more = changed(&first, servers.clone());
        assert_eq!((states(&more)[0], new_of_100(&more).await), (GenerationState::BackedOff, 0));
        let less = changed(&more, servers.split_off(1));
        assert_eq!((states(&less)[0], new_of_100(&less).await), (GenerationState::BackedOff, 0));

        // All of it is made anew at once, as by `--force-recreate`.
        let none = changed(&less, two(0, 1, &canary()));
        assert_eq!(new_of_100(&none).await, 100);
        let mut servers = two(0, 1, &canary());
        servers.push(deployed(22, "v1", &canary()));
        let again = changed(&none, servers.clone());
        assert_eq!((states(&again)[0], new_of_100(&again).await), (GenerationState::BackedOff, 0));

        // One from long ago is started again.
        servers.push(deployed(5, "v0", &canary()));
        let with_ancient = changed(&again, servers);
        assert_eq!(states(&with_ancient)[0], GenerationState::BackedOff);
        assert_eq!(new_of_100(&with_ancient).await, 0);
    });
}
