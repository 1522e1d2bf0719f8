use crate::compile::compile;
use crate::compile::tests::{compiled, context, desired, outcome, router};
use crate::middleware::Spec;
use crate::model::{
    Failover, FailoverErrors, HealthCheck, HealthOfChildren, HighestRandomWeight, LoadBalancer,
    Mirror, Mirroring, ReplicaFacts, ReplicaState, Router, Server, ServersTransport, Weighted,
    WeightedService,
};
use crate::problem::{ContainerRef, Origin};
use crate::table::Status;

use super::*;

fn named(name: &str) -> Name {
    Name::new(name, Provider::File)
}

fn sourced<T>(value: T) -> Arc<Sourced<T>> {
    Arc::new(Sourced::new(value, vec![Origin::file("dynamic.yml")]))
}

fn server(url: &str) -> Server {
    let id = format!("id of {url}").into();
    let facts = ReplicaFacts {
        container: ContainerRef { name: "web-1".into(), id },
        state: ReplicaState::Running,
        has_health_check: true,
        started: None,
        deploy: None,
    };
    Server { url: url.into(), replica: Some(facts), ..Server::default() }
}

fn balancer(urls: &[&str]) -> LoadBalancer {
    let servers = urls.iter().map(|url| server(url)).collect();
    LoadBalancer { servers, ..LoadBalancer::default() }
}

/// One router to the service `web`, and these services.
fn with(services: Vec<(&str, ServiceKind)>) -> Desired {
    let mut all = desired(&[("web", Router { service: "web".into(), ..router("Host(`a`)") })]);
    let services = services.into_iter();
    all.services = services.map(|(name, kind)| (named(name), sourced(kind.into()))).collect();
    all
}

/// A router, and its service with a server.
pub(crate) fn with_service() -> Desired {
    with(vec![("web", ServiceKind::LoadBalancer(balancer(&["http://10.0.0.2:80"])))])
}

fn weighted(children: &[&str]) -> ServiceKind {
    let services = children
        .iter()
        .map(|name| WeightedService { name: (*name).to_owned(), weight: None })
        .collect();
    ServiceKind::Weighted(Weighted { services, ..Weighted::default() })
}

#[test]
fn a_service_at_fault_takes_its_routers_along() {
    let strategy = LoadBalancer { strategy: "foo".into(), ..balancer(&["http://10.0.0.1:80"]) };
    let lost =
        LoadBalancer { servers_transport: "lost".into(), ..balancer(&["http://10.0.0.1:80"]) };
    let cases = [
        (
            vec![("web", ServiceKind::LoadBalancer(strategy))],
            "unsupported load-balancer strategy \"foo\"",
        ),
        (
            vec![("web", ServiceKind::LoadBalancer(lost))],
            "error building proxy for server URL http://10.0.0.1:80: getting RoundTripper: \
             servers transport not found lost@file",
        ),
        (
            vec![("web", ServiceKind::LoadBalancer(balancer(&["::bad"])))],
            "error parsing server URL ::bad: parse \"::bad\": missing protocol scheme",
        ),
        (
            vec![("web", weighted(&["gone"]))],
            "building HTTP service \"gone\": the service \"gone@file\" does not exist",
        ),
        (
            vec![("web", weighted(&["other"])), ("other", weighted(&["web"]))],
            "building HTTP service \"other\": building HTTP service \"web\": could not \
             instantiate service web@file: recursion detected in \
             service:web@file->service:other@file->service:web@file",
        ),
    ];
    for (services, text) in cases {
        let table = compiled(&context(|_| ()), with(services));

        assert_eq!(outcome(&table, "web@file").errors, [text]);
        assert_eq!(table.service_outcomes[&named("web")].errors, [text]);
        assert_eq!(table.service_outcomes[&named("web")].status, Status::Disabled);
        assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
    }
}

#[test]
fn services_that_lead_to_no_end_of_others_are_refused() {
    let table = |depth: usize| {
        let names: Vec<_> = (0..=depth).map(|number| format!("s{number}")).collect();
        let mut services: Vec<_> = names
            .windows(2)
            .map(|pair| (pair[0].as_str(), weighted(&[&pair[1], &pair[1]])))
            .collect();
        services.push((&names[depth], ServiceKind::LoadBalancer(balancer(&[]))));
        services.push(("web", weighted(&["s0"])));
        compiled(&context(|_| ()), with(services))
    };

    assert_eq!(outcome(&table(10), "web@file").errors, [""; 0]);
    let table = table(11 + 1);
    let error = outcome(&table, "web@file").errors[0].clone();
    assert!(error.ends_with("more than 4096 services, each counted as often as it is named"));
    assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
}

#[test]
fn a_known_service_without_servers_keeps_its_router() {
    let table =
        compiled(&context(|_| ()), with(vec![("web", ServiceKind::LoadBalancer(balancer(&[])))]));

    assert_eq!(outcome(&table, "web@file").status, Status::Enabled);
    assert!(table.services.contains_key(&named("web")));
}

#[test]
fn a_service_stays_while_it_is_declared_the_same_and_its_cells_longer() {
    let cx = context(|_| ());
    let made = |urls: &[&str], before: &Table| {
        let child = ServiceKind::LoadBalancer(balancer(urls));
        let services = vec![("web", weighted(&["child"])), ("child", child)];
        compile(&cx, &Arc::new(with(services)), before)
    };
    let service = |table: &Table, name: &str| Arc::clone(&table.services[&named(name)]);
    let first = made(&["http://10.0.0.1:80"], &Table::default());
    let same = made(&["http://10.0.0.1:80"], &first);
    let grown = made(&["http://10.0.0.1:80", "http://10.0.0.2:80"], &same);

    for name in ["web", "child"] {
        assert!(Arc::ptr_eq(&service(&first, name), &service(&same, name)), "{name}");
        assert!(!Arc::ptr_eq(&service(&same, name), &service(&grown, name)), "{name}");
    }
    let (old, new) = (service(&same, "child"), service(&grown, "child"));
    assert!(Arc::ptr_eq(&old.replicas()[0], &new.replicas()[0]));
    assert_eq!(grown.replicas["id of http://10.0.0.2:80"].len(), 1);
}

#[test]
fn a_changed_transport_rebuilds_the_services_that_use_it() {
    let cx = context(|_| ());
    let made = |idle: i64, before: &Table| {
        let web =
            LoadBalancer { servers_transport: "mine".into(), ..balancer(&["http://10.0.0.1:80"]) };
        let mut all = with(vec![("web", ServiceKind::LoadBalancer(web))]);
        let mine = ServersTransport { max_idle_conns_per_host: idle, ..Default::default() };
        all.transports.insert(named("mine"), sourced(mine));
        compile(&cx, &Arc::new(all), before)
    };
    let service = |table: &Table| Arc::clone(&table.services[&named("web")]);
    let first = made(5, &Table::default());
    let same = made(5, &first);
    let other = made(6, &same);

    assert!(Arc::ptr_eq(&service(&first), &service(&same)));
    assert!(!Arc::ptr_eq(&service(&same), &service(&other)));
}

fn children(names: &[&str]) -> Vec<WeightedService> {
    let one = |name: &&str| WeightedService { name: (*name).to_owned(), weight: None };
    names.iter().map(one).collect()
}

fn one_server() -> ServiceKind {
    ServiceKind::LoadBalancer(balancer(&["http://10.0.0.1:80"]))
}

/// A load balancer with a health check, and one with this strategy and without.
fn checked() -> ServiceKind {
    let health_check = Some(HealthCheck { path: "/up".into(), ..HealthCheck::default() });
    ServiceKind::LoadBalancer(LoadBalancer { health_check, ..balancer(&["http://10.0.0.1:80"]) })
}

fn of_strategy(strategy: &str) -> ServiceKind {
    let balancer = balancer(&["http://10.0.0.1:80"]);
    ServiceKind::LoadBalancer(LoadBalancer { strategy: strategy.into(), ..balancer })
}

fn following(names: &[&str]) -> ServiceKind {
    let health_check = Some(HealthOfChildren {});
    ServiceKind::Weighted(Weighted { services: children(names), health_check, sticky: None })
}

fn failover(service: &str, fallback: &str) -> Failover {
    Failover { service: service.into(), fallback: fallback.into(), ..Failover::default() }
}

fn mirroring(service: &str, mirror: &str, percent: i64) -> Mirroring {
    let mirrors = vec![Mirror { name: mirror.into(), percent }];
    Mirroring { service: service.into(), mirrors, ..Mirroring::default() }
}

fn with_status(text: &str) -> FailoverErrors {
    FailoverErrors { status: vec![text.into()], ..FailoverErrors::default() }
}

#[test]
fn what_goes_by_the_health_of_a_service_needs_one_that_has_a_check() {
    let following_highest = HighestRandomWeight {
        services: children(&["silent"]),
        health_check: Some(HealthOfChildren {}),
    };
    let following_failover =
        Failover { health_check: Some(HealthOfChildren {}), ..failover("checked", "silent") };
    for (parent, silent, kind) in [
        (following(&["checked", "silent"]), one_server(), "WRR"),
        (following(&["silent"]), of_strategy("p2c"), "P2C"),
        (following(&["silent"]), of_strategy("hrw"), "HRW"),
        (following(&["silent"]), of_strategy("leasttime"), "LeastTime"),
        (following(&["silent"]), weighted(&["checked"]), "WRR"),
        (following(&["silent"]), ServiceKind::Failover(failover("checked", "other")), "failover"),
        (
            following(&["silent"]),
            ServiceKind::Mirroring(mirroring("checked", "other", 1)),
            "mirroring",
        ),
        (
            following(&["silent"]),
            ServiceKind::HighestRandomWeight(HighestRandomWeight::default()),
            "HRW",
        ),
        (ServiceKind::HighestRandomWeight(following_highest), one_server(), "WRR"),
        (ServiceKind::Failover(failover("silent", "checked")), one_server(), "WRR"),
        (ServiceKind::Failover(following_failover), one_server(), "WRR"),
    ] {
        let services = vec![
            ("web", parent),
            ("silent", silent),
            ("checked", checked()),
            ("other", one_server()),
        ];
        let table = compiled(&context(|_| ()), with(services));

        let text = format!(
            "cannot register silent as updater for web@file: healthCheck not enabled in config \
             for this {kind} service"
        );
        assert_eq!(outcome(&table, "web@file").errors, [text]);
        assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
        assert!(table.problems[0].mend.is_some());
    }
}

#[test]
fn a_mirroring_service_has_the_health_of_its_main_one() {
    let mirror =
        Mirroring { health_check: Some(HealthOfChildren {}), ..mirroring("plain", "plain", 1) };
    let services = vec![
        ("web", following(&["m"])),
        ("m", ServiceKind::Mirroring(mirror)),
        ("plain", one_server()),
    ];

    let table = compiled(&context(|_| ()), with(services));

    let text = "cannot register m as updater for web@file: cannot register service of mirroring \
                as updater: healthCheck not enabled in config for this WRR service";
    assert_eq!(outcome(&table, "web@file").errors, [text]);
}

#[test]
fn services_of_services_nest() {
    let nested = Failover { health_check: Some(HealthOfChildren {}), ..failover("f", "m") };
    let services = vec![
        ("web", ServiceKind::Failover(failover("f", "plain"))),
        ("f", ServiceKind::Failover(Failover { service: "w".into(), ..nested })),
        ("w", following(&["a"])),
        (
            "m",
            ServiceKind::Mirroring(Mirroring {
                health_check: Some(HealthOfChildren {}),
                ..mirroring("a", "h", 100)
            }),
        ),
        (
            "h",
            ServiceKind::HighestRandomWeight(HighestRandomWeight {
                services: children(&["plain"]),
                health_check: None,
            }),
        ),
        ("a", checked()),
        ("plain", one_server()),
    ];

    let table = compiled(&context(|_| ()), with(services));

    assert!(table.problems.is_empty(), "{:?}", table.problems);
    assert_eq!(table.services.len(), 7);
    assert!(table.services[&named("web")].is_up());
}

#[test]
fn composites_at_fault_say_so_in_traefiks_words() {
    let bad_status = Failover { errors: Some(with_status("5xx")), ..failover("a", "a") };
    let internal = following(&["api@internal"]);
    let gone = "the service \"gone@file\" does not exist";
    for (kind, text) in [
        (ServiceKind::Failover(failover("gone", "a")), gone),
        (ServiceKind::Failover(failover("a", "gone")), gone),
        (ServiceKind::Failover(failover("a", "")), "the service \"@file\" does not exist"),
        (ServiceKind::Mirroring(mirroring("gone", "a", 1)), gone),
        (ServiceKind::Mirroring(mirroring("a", "gone", 1)), gone),
        (ServiceKind::Mirroring(mirroring("a", "a", 101)), "percent must be between 0 and 100"),
        (ServiceKind::Mirroring(mirroring("a", "a", -1)), "percent must be between 0 and 100"),
        (
            ServiceKind::HighestRandomWeight(HighestRandomWeight {
                services: children(&["gone"]),
                health_check: None,
            }),
            gone,
        ),
        (
            ServiceKind::Failover(bad_status),
            "error creating failover service web@file: creating HTTP code ranges: \
             strconv.Atoi: parsing \"5xx\": invalid syntax",
        ),
        (
            internal,
            "child service api@internal of web@file not a healthcheck.StatusUpdater (*mux.Router)",
        ),
    ] {
        let cx = context(|settings| settings.api = Some(crate::settings::Api::default()));

        let table = compiled(&cx, with(vec![("web", kind), ("a", checked())]));

        assert_eq!(outcome(&table, "web@file").errors, [text]);
    }
}

#[test]
fn errors_make_up_for_a_missing_health_check() {
    let main = Failover { errors: Some(with_status("500-599")), ..failover("plain", "plain") };
    let services = vec![("web", ServiceKind::Failover(main)), ("plain", one_server())];

    let table = compiled(&context(|_| ()), with(services));

    assert!(table.problems.is_empty(), "{:?}", table.problems);
}

/// One service with the middleware `strip`, and one whose middleware nobody knows.
fn with_middlewares(prefix: &str) -> Desired {
    let mut all = with(vec![("web", one_server())]);
    let own = Service { middlewares: vec!["strip".into()], kind: one_server() };
    all.services.insert(named("web"), sourced(own));
    let text = format!("stripPrefix: {{prefixes: [{prefix}]}}");
    let node = crate::tree::file::yaml(std::path::Path::new("dynamic.yml"), &text).unwrap();
    let spec = Spec::decode(&node, &mut Vec::new()).unwrap();
    all.middlewares.insert(named("strip"), sourced(spec));
    all
}

#[test]
fn a_services_own_middlewares_stay_while_they_are_declared_the_same() {
    let cx = context(|_| ());
    let made =
        |prefix: &str, before: &Table| compile(&cx, &Arc::new(with_middlewares(prefix)), before);
    let service = |table: &Table| Arc::clone(&table.services[&named("web")]);
    let first = made("/a", &Table::default());
    let same = made("/a", &first);
    let other = made("/b", &same);

    assert!(first.problems.is_empty(), "{:?}", first.problems);
    assert_eq!(first.service_chains[&named("web")].links().len(), 1);
    assert!(Arc::ptr_eq(&service(&first), &service(&same)));
    assert!(!Arc::ptr_eq(&service(&same), &service(&other)));
    assert!(Arc::ptr_eq(&service(&same).replicas()[0], &service(&other).replicas()[0]));
}

#[test]
fn a_service_whose_middleware_is_missing_is_at_fault() {
    let mut all = with_middlewares("/a");
    all.middlewares.clear();

    let table = compiled(&context(|_| ()), all);

    let text = "middleware \"strip@file\" does not exist";
    assert_eq!(table.service_outcomes[&named("web")].errors, [text]);
    assert_eq!(outcome(&table, "web@file").errors, [text]);
}

#[test]
fn a_renewed_file_of_a_transport_is_read_again_and_a_broken_one_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let pem = || rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem();
    std::fs::write(&path, pem()).unwrap();
    let cx = context(|_| ());
    let made = |before: &Table| {
        let web = LoadBalancer {
            servers_transport: "mine".into(),
            ..balancer(&["https://10.0.0.1:443"])
        };
        let mut all = with(vec![("web", ServiceKind::LoadBalancer(web))]);
        let root_cas = vec![path.display().to_string()];
        let mine = ServersTransport { root_cas, ..Default::default() };
        all.transports.insert(named("mine"), sourced(mine));
        compile(&cx, &Arc::new(all), before)
    };
    let transport = |table: &Table| Arc::clone(&table.transports["mine@file"]);
    let first = made(&Table::default());
    let same = made(&first);
    std::fs::write(&path, pem()).unwrap();
    let renewed = made(&same);
    std::fs::write(&path, "nonsense").unwrap();
    let broken = made(&renewed);

    assert!(Arc::ptr_eq(&transport(&first), &transport(&same)));
    assert!(!Arc::ptr_eq(&transport(&same), &transport(&renewed)));
    assert!(Arc::ptr_eq(&transport(&renewed), &transport(&broken)));
    assert!(renewed.problems.is_empty(), "{:?}", renewed.problems);
    let text = broken.problems[0].to_string();
    assert!(text.contains("what was read before stays in use"), "{text}");
    assert!(broken.services.contains_key(&named("web")));
}
