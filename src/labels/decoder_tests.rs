use std::time::{Duration, SystemTime};

use super::*;
use crate::labels::{Network, name};
use crate::model::Sourced;
use crate::problem::Severity;

/// A running container at 10.0.0.<n> that exposes port 80.
pub(super) fn container(name: &str, n: u8, labels: &[(&str, &str)]) -> Container {
    let network = Network { ipv4: Some([10, 0, 0, n].into()), ..Network::default() };
    Container {
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        state: ReplicaState::Running,
        networks: [("back".to_owned(), network)].into(),
        exposed: vec![(80, "tcp".to_owned())],
        created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(n))),
        ..Container::named(name, &format!("{name}-id"))
    }
}

pub(super) fn decoder(containers: &[Container]) -> Decoder {
    with(&settings::Docker::default(), &settings::Wharf::default(), containers)
}

pub(super) fn with(
    docker: &settings::Docker,
    wharf: &settings::Wharf,
    containers: &[Container],
) -> Decoder {
    let mut decoder = Decoder::new(docker, wharf);
    for container in containers {
        decoder.update(&Arc::new(container.clone()));
    }
    decoder
}

/// `router: rule -> service`, one per line.
pub(super) fn routers(desired: &Desired) -> Vec<String> {
    let show = |(name, item): (&Name, &Arc<Sourced<Router>>)| {
        format!("{name}: {} -> {}", item.value.rule, item.value.service)
    };
    desired.routers.iter().map(show).collect()
}

/// `service: url url`, one per line.
pub(super) fn services(desired: &Desired) -> Vec<String> {
    let show = |(name, item): (&Name, &Arc<Sourced<Service>>)| {
        let ServiceKind::LoadBalancer(balancer) = &item.value.kind else { panic!("{name}") };
        let urls: Vec<_> = balancer.servers.iter().map(|server| server.url.as_str()).collect();
        format!("{name}: {}", urls.join(" "))
    };
    desired.services.iter().map(show).collect()
}

pub(super) fn texts(desired: &Desired) -> Vec<String> {
    desired.problems.iter().map(ToString::to_string).collect()
}

const RULE: (&str, &str) = ("traefik.http.routers.web.rule", "Host(`a.test`)");

/// Labels, the routers and the services that come of them.
type Case<'t> = (&'t [(&'t str, &'t str)], &'t [&'t str], &'t [&'t str]);

#[test]
fn labels_become_routers_and_services_as_the_table_of_traefik_says() {
    let cases: [Case<'_>; 6] = [
        (&[], &["c@docker: Host(`c`) -> c"], &["c@docker: http://10.0.0.2:80"]),
        (
            &[("traefik.http.services.x.loadbalancer.server.port", "8080")],
            &["c@docker: Host(`c`) -> x"],
            &["x@docker: http://10.0.0.2:8080"],
        ),
        (
            &[
                ("traefik.http.services.x.loadbalancer.server.port", "1"),
                ("traefik.http.services.y.loadbalancer.server.scheme", "h2c"),
            ],
            &[],
            &["x@docker: http://10.0.0.2:1", "y@docker: h2c://10.0.0.2:80"],
        ),
        (&[RULE], &["web@docker: Host(`a.test`) -> c"], &["c@docker: http://10.0.0.2:80"]),
        (
            &[
                RULE,
                ("traefik.http.routers.two.priority", "3"),
                ("traefik.http.services.Xy.loadbalancer.passhostheader", "false"),
            ],
            &["two@docker: Host(`c`) -> Xy", "web@docker: Host(`a.test`) -> Xy"],
            &["Xy@docker: http://10.0.0.2:80"],
        ),
        (
            &[
                RULE,
                ("traefik.http.routers.two.service", "x"),
                ("traefik.http.services.x.loadbalancer.server.port", "1"),
                ("traefik.http.services.y.loadbalancer.server.port", "2"),
            ],
            &["two@docker: Host(`c`) -> x"],
            &["x@docker: http://10.0.0.2:1", "y@docker: http://10.0.0.2:2"],
        ),
    ];
    for (labels, expected_routers, expected_services) in cases {
        let desired = decoder(&[container("c", 2, labels)]).desired();

        assert_eq!(routers(&desired), expected_routers, "{labels:?}");
        assert_eq!(services(&desired), expected_services, "{labels:?}");
    }
}

#[test]
fn one_bad_label_leaves_out_its_container_with_a_problem_and_the_mend() {
    for (key, value, text) in [
        (
            "traefik.http.routers.web.rul",
            "x",
            "no such key `rul`; did you mean `traefik.http.routers.web.rule`?",
        ),
        ("traefik.http.routers.web.priority", "abc", "priority"),
        ("traefik.http.middlewares.m.nosuch.y", "1", "no such key `nosuch`"),
        ("traefik.http.routers..rule", "x", "invalid element: traefik.http.routers..rule"),
        ("traefik.enable", "maybe", "neither true nor false"),
        ("traefik.enabled", "true", "did you mean `traefik.enable`?"),
        ("traefik.docker.nosuch", "1", "no such key `nosuch`"),
        ("Traefik.http.routers.web.rule", "x", "invalid label root Traefik"),
        ("traefik.http.services.s.loadbalancer.server.port", "http", "is no port"),
        ("traefik.http.services.s.loadbalancer.server.scheme", "ftp", "unsupported scheme"),
        ("traefik.http.services.s.loadbalancer.server.url", "http://169.254.169.254", "link-local"),
        (
            "traefik.http.services.s.loadbalancer.servers[0].port",
            "1",
            "did you mean `traefik.http.services.s.loadbalancer.server",
        ),
        ("traefik.http.services.s.loadbalancer.healthcheck.path", "http://x/", "is no path"),
        ("traefik.http.services.w.weighted.services[0].name", "x", "not built yet"),
        ("traefik.tcp.routers.x.rule", "HostSNI(`*`)", "TCP routers are not built yet"),
        ("traefik.udp.routers.x.entrypoints", "dns", "UDP routers are not built yet"),
        ("traefik.http.routers.a@b.rule", "x", "holds an @"),
        ("wharf.http.routers.web.rule", "Host(`b.test`)", "sets the same to another value"),
    ] {
        let mut labels = vec![RULE, (key, value)];
        labels.dedup();
        let bad = container("bad", 2, &labels);
        let good = container("good", 3, &[]);

        let desired = decoder(&[bad, good]).desired();

        assert_eq!(routers(&desired), ["good@docker: Host(`good`) -> good"], "{key}");
        let texts = texts(&desired);
        assert!(texts.iter().any(|problem| problem.contains(text)), "{key}: {texts:?}");
        assert!(texts.iter().any(|problem| problem.contains("bad (bad-id)")), "{texts:?}");
    }
}

#[test]
fn labels_without_effect_are_named_and_leave_nothing_out() {
    for key in [
        "traefik.swarm.network",
        "traefik.http.routers.web.parentrefs",
        "traefik.tls.options.x.minversion",
        "traefik.nonsense.x",
        "traefik.",
        "traefik..",
    ] {
        let desired = decoder(&[container("c", 2, &[RULE, (key, "x")])]).desired();

        assert_eq!(desired.routers.len(), 1, "{key}");
        assert_eq!(desired.problems[0].severity, Severity::Warning, "{key}");
    }
}

#[test]
fn both_roots_say_the_same_thing() {
    let labels = [
        ("wharf.http.routers.web.rule", "Host(`a.test`)"),
        ("traefik.http.routers.web.rule", "Host(`a.test`)"),
        ("wharf.http.services.s.loadbalancer.server.port", "81"),
    ];

    let desired = decoder(&[container("c", 2, &labels)]).desired();

    assert_eq!(routers(&desired), ["web@docker: Host(`a.test`) -> s"]);
    assert!(desired.problems.is_empty(), "{:?}", texts(&desired));
}

#[test]
fn which_containers_are_taken() {
    let docker = settings::Docker {
        exposed_by_default: false,
        constraints: "!Label(`tier`, `hidden`)".to_owned(),
        ..settings::Docker::default()
    };
    let containers = [
        container("plain", 2, &[]),
        container("on", 3, &[("traefik.enable", "true")]),
        container("alias", 4, &[("wharf.enable", "1")]),
        container("off", 5, &[("traefik.enable", "false"), RULE]),
        container("hidden", 6, &[("traefik.enable", "true"), ("tier", "hidden")]),
    ];

    let desired = with(&docker, &settings::Wharf::default(), &containers).desired();

    assert_eq!(services(&desired).len(), 2);
    assert_eq!(desired.routers.keys().map(Name::local).collect::<Vec<_>>(), ["alias", "on"]);
}

#[test]
fn a_bad_constraint_or_default_rule_is_one_problem() {
    let docker = settings::Docker {
        constraints: "Labl(`a`, `b`)".to_owned(),
        ..settings::Docker::default()
    };
    let containers = [container("a", 2, &[]), container("b", 3, &[RULE])];

    let desired = with(&docker, &settings::Wharf::default(), &containers).desired();
    assert_eq!((desired.routers.len(), desired.problems.len()), (0, 1));

    let docker =
        settings::Docker { default_rule: "{{ nosuch }}".to_owned(), ..settings::Docker::default() };
    let desired = with(&docker, &settings::Wharf::default(), &containers).desired();
    assert_eq!(routers(&desired), ["web@docker: Host(`a.test`) -> b"]);
    assert!(texts(&desired).iter().any(|text| text.contains("function \"nosuch\"")));
}

#[test]
fn replicas_are_joined_and_keep_their_order() {
    let desired =
        decoder(&[container("b", 3, &[RULE]), container("a", 2, &[RULE])].map(|mut container| {
            for (key, value) in [(name::PROJECT, "shop"), (name::SERVICE, "web")] {
                container.labels.insert(key.to_owned(), value.to_owned());
            }
            container
        }))
        .desired();

    assert_eq!(services(&desired), ["web-shop@docker: http://10.0.0.2:80 http://10.0.0.3:80"]);
    assert_eq!(routers(&desired), ["web@docker: Host(`a.test`) -> web-shop"]);
    assert_eq!(desired.routers.values().next().unwrap().from.len(), 2);
}

#[test]
fn the_same_name_with_other_settings_is_the_firsts_or_on_request_nobodys() {
    let service = |value| ("traefik.http.services.s.loadbalancer.passhostheader", value);
    let one = container("one", 2, &[RULE, service("true")]);
    let two = container(
        "two",
        3,
        &[("traefik.http.routers.web.rule", "Host(`b.test`)"), service("false")],
    );

    let both = [two, one];
    let desired = decoder(&both).desired();

    assert_eq!(routers(&desired), ["web@docker: Host(`a.test`) -> s"]);
    assert_eq!(services(&desired), ["s@docker: http://10.0.0.2:80"]);
    let told = texts(&desired);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0],
        "container two (two-id), label traefik.http.routers.web.rule: router web@docker: HTTP \
         router defined multiple times with different configurations in [one (one-id), two \
         (two-id)]: container one, who came first, keeps it, and this one is left out; give this \
         router another name, or the same labels"
    );

    let wharf = settings::Wharf { conflicts: settings::Conflicts::Drop, ..Default::default() };
    let desired = with(&settings::Docker::default(), &wharf, &both).desired();
    assert!(desired.routers.is_empty() && desired.services.is_empty());
    let told = texts(&desired);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].contains("HTTP router defined multiple times with different configurations in [one (one-id), two (two-id)]"), "{told:?}");
}

#[test]
fn a_stopped_container_does_not_argue_with_a_running_one() {
    let old = Container {
        state: ReplicaState::Gone,
        ..container("old", 2, &[("traefik.http.routers.web.rule", "Host(`old.test`)")])
    };
    let new = container("new", 3, &[RULE]);

    let desired = decoder(&[old, new]).desired();

    assert_eq!(routers(&desired), ["web@docker: Host(`a.test`) -> new"]);
    assert!(desired.problems.is_empty());
}

#[test]
fn the_newest_generation_with_a_ready_replica_wins() {
    let deploy = |name: &str, n: u8, state: ReplicaState| {
        let host = format!("Host(`{name}.test`)");
        let labels = [
            ("traefik.http.routers.web.rule", host.as_str()),
            (name::PROJECT, "shop"),
            (name::SERVICE, "web"),
            (name::GENERATION, name),
        ];
        Container { state, ..container(name, n, &labels) }
    };
    let old = deploy("old", 2, ReplicaState::Running);

    let early = decoder(&[old.clone(), deploy("new", 3, ReplicaState::Starting)]).desired();
    assert_eq!(routers(&early), ["web@docker: Host(`old.test`) -> web-shop"]);

    let late = decoder(&[old, deploy("new", 3, ReplicaState::Running)]).desired();
    assert_eq!(routers(&late), ["web@docker: Host(`new.test`) -> web-shop"]);
}

/// The servers of the one service there is, and the generations that they are of.
fn generations(desired: &Desired) -> Vec<(&str, Option<String>)> {
    let service = desired.services.values().next().unwrap();
    let ServiceKind::LoadBalancer(balancer) = &service.value.kind else { panic!() };
    let servers = balancer.servers.iter();
    let replicas = servers.map(|server| (&*server.url, server.replica.as_ref().unwrap()));
    let id = |facts: &'_ crate::model::ReplicaFacts| {
        facts.deploy.as_ref().map(|own| own.generation.to_string())
    };
    replicas.map(|(url, facts)| (url, id(facts))).collect()
}

#[test]
fn servers_of_the_deploy_before_stay_until_they_are_stopped_whatever_the_labels_say_now() {
    let deploy = |hash: &str, n: u8, state: ReplicaState, port: &str| {
        let labels = [
            RULE,
            ("traefik.http.services.web.loadbalancer.server.port", port),
            ("traefik.http.services.web.loadbalancer.passhostheader", hash),
            (name::PROJECT, "shop"),
            (name::SERVICE, "web"),
            (name::GENERATION, hash),
        ];
        Container { state, ..container(&format!("{hash}-{n}"), n, &labels) }
    };
    let (running, starting) = (ReplicaState::Running, ReplicaState::Starting);
    let settings = |desired: &Desired| {
        let ServiceKind::LoadBalancer(balancer) =
            &desired.services.values().next().unwrap().value.kind
        else {
            panic!()
        };
        balancer.pass_host_header
    };

    // The new one does not accept yet: the old settings, and the servers of both.
    let [old, new] = [("false", "80"), ("true", "81")];
    let early = decoder(&[deploy(old.0, 2, running, old.1), deploy(new.0, 3, starting, new.1)]);
    let early = { early }.desired();
    assert!(!settings(&early));
    let server = |url, id: &str| (url, Some(id.to_owned()));
    let (first, second) =
        (server("http://10.0.0.2:80", old.0), server("http://10.0.0.3:81", new.0));
    assert_eq!(generations(&early), [first.clone(), second.clone()]);

    // It runs: its settings, and still the servers of both, as long as they run.
    for (state, stays) in [
        (running, true),
        (ReplicaState::Unhealthy, true),
        (ReplicaState::Stopping, true),
        (ReplicaState::Gone, false),
    ] {
        let late =
            decoder(&[deploy(old.0, 2, state, old.1), deploy(new.0, 3, running, new.1)]).desired();
        assert!(settings(&late), "{state:?}");
        let old = stays.then(|| first.clone());
        let wanted: Vec<_> = old.into_iter().chain([second.clone()]).collect();
        assert_eq!(generations(&late), wanted, "{state:?}");
        assert!(late.problems.is_empty(), "{:?}", late.problems);
    }
}

#[test]
fn only_deploys_of_one_service_are_generations_of_it() {
    const NAME: &str = "wharf.deploy.generation";
    type Labels<'l> = &'l [(&'l str, &'l str)];
    let compose = |service: &'static str, hash: &'static str| {
        [(name::PROJECT, "shop"), (name::SERVICE, service), (name::GENERATION, hash)]
    };
    let cases: [(Labels<'_>, Labels<'_>, [Option<&str>; 2]); 7] = [
        // One service of Compose.
        (&compose("web", "a"), &compose("web", "b"), [Some("a"), Some("b")]),
        // Two that share a name on purpose.
        (&compose("blue", "a"), &compose("green", "b"), [Some("a"), None]),
        // Two that say that they are generations.
        (
            &[&compose("blue", "a")[..], &[(NAME, "1")]].concat(),
            &[&compose("green", "b")[..], &[(NAME, "2")]].concat(),
            [Some("1"), Some("2")],
        ),
        // The label comes with the deploy.
        (
            &compose("web", "a"),
            &[&compose("web", "b")[..], &[("wharf.Deploy.Generation", "2")]].concat(),
            [Some("a"), Some("2")],
        ),
        (&[(NAME, "1")], &[(NAME, "2")], [Some("1"), Some("2")]),
        (&[(NAME, "1")], &[], [Some("1"), None]),
        (&[], &[], [None, None]),
    ];
    for (one, two, wanted) in cases {
        let service = ("traefik.http.routers.web.service", "web");
        let port = ("traefik.http.services.web.loadbalancer.server.port", "80");
        let [one, two] = [one, two].map(|own| [&[RULE, service, port][..], own].concat());
        let both = [container("one", 2, &one), container("two", 3, &two)];
        let desired = decoder(&both).desired();

        let found: Vec<_> = generations(&desired).into_iter().map(|(_, id)| id).collect();
        let wanted = wanted.map(|id| id.map(str::to_owned));
        assert_eq!(found, wanted, "{one:?} {two:?}: {:?}", desired.problems);
    }
}

#[test]
fn generations_that_are_named_need_not_say_the_same() {
    let deploy = |id: &str, n: u8, service: &str| {
        let labels = [
            ("traefik.http.routers.web.rule", &*format!("Host(`{id}.test`)")),
            ("traefik.http.services.web.loadbalancer.passhostheader", service),
            ("wharf.deploy.generation", id),
            (name::PROJECT, "shop"),
            (name::SERVICE, id),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let labels: Vec<_> = labels.iter().map(|(key, value)| (&**key, &**value)).collect();
        container(id, n, &labels)
    };

    let desired = decoder(&[deploy("v1", 2, "true"), deploy("v2", 3, "false")]).desired();
    assert_eq!(routers(&desired), ["web@docker: Host(`v2.test`) -> web"]);
    assert_eq!(generations(&desired).len(), 2);

    // One generation that says two things is a conflict as ever.
    let other = crate::problem::ContainerRef { name: "other".into(), id: "other".into() };
    let two = Container { container: other, ..deploy("v1", 4, "false") };
    let desired = decoder(&[deploy("v1", 2, "true"), two]).desired();
    assert!(desired.services.is_empty());
}

#[test]
fn a_container_that_is_not_running_keeps_its_router_unless_traefik_is_asked_for() {
    let states = [ReplicaState::Starting, ReplicaState::Unhealthy, ReplicaState::Gone];
    for state in states {
        let down = Container { state, ..container("c", 2, &[RULE]) };

        let kept = decoder(std::slice::from_ref(&down)).desired();
        assert_eq!((kept.routers.len(), kept.services.len()), (1, 1), "{state:?}");
        let ServiceKind::LoadBalancer(balancer) =
            &kept.services.values().next().unwrap().value.kind
        else {
            panic!("{state:?}")
        };
        assert_eq!(balancer.servers[0].replica.as_ref().unwrap().state, state);

        let wharf = settings::Wharf { not_found_when_down: true, ..settings::Wharf::default() };
        let gone =
            with(&settings::Docker::default(), &wharf, std::slice::from_ref(&down)).desired();
        assert_eq!((gone.routers.len(), gone.services.len()), (0, 0), "{state:?}");

        let docker = settings::Docker { allow_empty_services: true, ..settings::Docker::default() };
        let empty = with(&docker, &wharf, &[down]).desired();
        let is_known = state != ReplicaState::Gone;
        assert_eq!(empty.services.len(), usize::from(is_known), "{state:?}");
        assert!(services(&empty).iter().all(|service| service == "c@docker: "));
    }
}

#[test]
fn a_stopped_container_without_an_address_keeps_an_empty_service() {
    let down = Container {
        state: ReplicaState::Gone,
        networks: BTreeMap::new(),
        exposed: Vec::new(),
        ..container("c", 2, &[RULE])
    };

    let desired = decoder(&[down]).desired();

    assert_eq!(services(&desired), ["c@docker: "]);
    assert!(desired.problems.is_empty());
}

#[test]
fn a_container_out_of_all_networks_keeps_its_router_unless_traefik_is_asked_for() {
    let out = Container { networks: BTreeMap::new(), ..container("c", 2, &[RULE]) };

    let kept = decoder(std::slice::from_ref(&out)).desired();
    let wharf = settings::Wharf { not_found_when_down: true, ..settings::Wharf::default() };
    let gone = with(&settings::Docker::default(), &wharf, std::slice::from_ref(&out)).desired();

    assert_eq!((kept.routers.len(), services(&kept)), (1, vec!["c@docker: ".to_owned()]));
    let said: Vec<_> = kept.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("unable to find the IP address for the container"), "{said:?}");
    assert!(said[0].contains("503") && said[0].contains("connect it to a network"), "{said:?}");
    assert_eq!((gone.routers.len(), gone.services.len(), gone.problems.len()), (0, 0, 1));
}

#[test]
fn what_did_not_change_keeps_its_arc() {
    let one = container("one", 2, &[]);
    let mut decoder = decoder(&[one.clone(), container("two", 3, &[])]);
    let before = decoder.desired();

    decoder.update(&Arc::new(Container { state: ReplicaState::Unhealthy, ..one.clone() }));
    decoder.update(&Arc::new(container("three", 4, &[])));
    let after = decoder.desired();

    let same = |name: &str| {
        let name = Name::new(name, crate::model::Provider::Docker);
        (
            Arc::ptr_eq(&before.routers[&name], &after.routers[&name]),
            Arc::ptr_eq(&before.services[&name], &after.services[&name]),
        )
    };
    assert_eq!(same("two"), (true, true));
    assert_eq!(same("one"), (true, false));

    decoder.remove("one-id");
    assert_eq!(decoder.desired().routers.len(), 2);
}

#[test]
fn a_container_in_anothers_network_follows_it() {
    let mut guest = container("guest", 2, &[RULE]);
    guest.network_mode = "container:host-id".to_owned();
    guest.networks.clear();
    let mut decoder = decoder(&[guest]);
    assert_eq!(services(&decoder.desired()), ["guest@docker: "]);

    decoder.update(&Arc::new(container("host", 9, &[("traefik.enable", "false")])));
    assert_eq!(services(&decoder.desired()), ["guest@docker: http://10.0.0.9:80"]);

    decoder.update(&Arc::new(container("host", 8, &[("traefik.enable", "false")])));
    assert_eq!(services(&decoder.desired()), ["guest@docker: http://10.0.0.8:80"]);
}

#[test]
fn a_container_whose_routers_lead_elsewhere_needs_no_port() {
    let labels = [RULE, ("traefik.http.routers.web.service", "api@internal")];
    let portless = Container { exposed: Vec::new(), ..container("c", 2, &labels) };

    let desired = decoder(&[portless]).desired();

    assert_eq!(routers(&desired), ["web@docker: Host(`a.test`) -> api@internal"]);
    assert!(desired.problems.is_empty());
}

#[test]
fn hostile_labels_never_panic_and_hurt_only_their_container() {
    let long = format!("traefik.http.{}", "a.".repeat(600));
    let deep = format!("traefik.http.middlewares.m.plugin.p.{}x", "a.".repeat(100));
    let index = "traefik.http.routers.r.tls.domains[99999999999].main";
    let open = "traefik.http.routers.r.tls.domains[0.main";
    for key in [
        long.as_str(),
        &deep,
        index,
        open,
        "traefik.http.",
        "traefik.tls..",
        "traefik.http",
        "wharf.\u{7f}",
    ] {
        let bad = container("bad", 2, &[(key, "x")]);

        let desired = decoder(&[bad, container("good", 3, &[])]).desired();

        assert_eq!(desired.routers.len(), 1, "{key}");
        assert!(!desired.problems.is_empty(), "{key}");
    }
}

#[test]
fn a_label_declares_the_default_certificate_that_a_resolver_is_to_obtain() {
    let labels = |main: &'static str| {
        [
            ("traefik.tls.stores.default.defaultgeneratedcert.resolver", "le"),
            ("traefik.tls.stores.default.defaultgeneratedcert.domain.main", main),
            ("traefik.tls.stores.default.defaultgeneratedcert.domain.sans", "b.test, c.test"),
            RULE,
        ]
    };
    let one = container("one", 1, &labels("a.test"));
    let mut decoder = decoder(std::slice::from_ref(&one));

    let desired = decoder.desired();
    assert_eq!(texts(&desired), [] as [&str; 0]);
    assert_eq!(routers(&desired), ["web@docker: Host(`a.test`) -> one"]);
    let (name, store) = desired.tls.default_store().unwrap();
    assert_eq!(name.as_str(), "default@docker");
    let wanted = store.value.generated().unwrap();
    assert_eq!(
        (&*wanted.resolver, wanted.names().join(" ")),
        ("le", "a.test b.test c.test".into())
    );

    // Another container says otherwise: it is told that it came too late.
    let mut two = container("two", 2, &labels("d.test"));
    two.labels.remove(RULE.0);
    decoder.update(&Arc::new(two));
    let desired = decoder.desired();
    assert_eq!(
        desired.tls.default_store().unwrap().1.value.generated().unwrap().names()[0],
        "a.test"
    );
    let told = texts(&desired);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("container two (two-id)"), "{told:?}");
    assert!(told[0].contains("TLS store defined multiple times"), "{told:?}");

    decoder.remove("two-id");
    assert_eq!(decoder.desired().tls.stores.len(), 1);
}

#[test]
fn what_costs_everybody_too_much_leaves_out_its_container_alone() {
    let alternatives = |matcher: &str, count: usize| {
        (0..count).map(|n| matcher.replace('#', &n.to_string())).collect::<Vec<_>>().join(" || ")
    };
    let routers = |count: usize, key: &str, value: &str| -> Vec<(String, String)> {
        let key = |n| format!("traefik.http.routers.r{n}.{key}");
        (0..count).map(|n| (key(n), value.to_owned())).collect()
    };
    let heavy =
        ("traefik.http.middlewares.m.redirectregex.regex".to_owned(), r"\pL{900}".to_owned());
    let used = routers(9, "middlewares", "c1");
    let chains = (1..9).map(|n| {
        let key = format!("traefik.http.middlewares.c{n}.chain.middlewares");
        (key, format!("c{0},c{0},m", n + 1))
    });
    let round = ("traefik.http.middlewares.c9.chain.middlewares".to_owned(), "c1,m".to_owned());
    let chained = used.into_iter().chain(chains).chain([heavy, round]).collect();
    let cases: Vec<(Vec<(String, String)>, &str)> = vec![
        (routers(1025, "priority", "1"), "more than 1024 labels"),
        (routers(5, "rule", &alternatives("Host(`h#.test`)", 800)), "bytes together"),
        (routers(9, "rule", &alternatives("HeaderRegexp(`X`, `^#$`)", 90)), "they weigh"),
        (routers(9, "rule", "PathRegexp(`[a-z]{1000}`)"), "they weigh"),
        (routers(9, "rule", r"HostRegexp(`(?i)[\D][\D][\D][\D]`)"), "they weigh"),
        (routers(300, "tls.certresolver", "le"), "300 certificates"),
        (chained, "they weigh"),
    ];
    for (labels, text) in cases {
        let mut bad = container("bad", 2, &[]);
        bad.labels.extend(labels);

        let desired = decoder(&[bad, container("good", 3, &[])]).desired();

        let told = texts(&desired);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert!(told[0].contains(text) && told[0].contains("container bad"), "{text}: {told:?}");
        assert_eq!(desired.routers.len(), 1, "{text}");
    }

    let many = routers(900, "rule", "Host(`a.test`) && PathRegexp(`^/[a-z]+/`)");
    let mut fine = container("fine", 2, &[]);
    fine.labels.extend(many);
    let desired = decoder(&[fine]).desired();
    assert_eq!((desired.routers.len(), desired.problems.len()), (900, 0), "{:?}", texts(&desired));
}
