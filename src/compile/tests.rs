use http::{HeaderMap, Method};

use super::*;
use crate::message::{Body, Exchange};
use crate::model::{LoadBalancer, Router, RouterTls, Server, ServiceKind, Sourced, TlsOptions};
use crate::problem::{Code, Origin};
use crate::route::View;
use crate::settings;

struct Nothing;

impl Handler for Nothing {
    fn handle(&self, _: &Exchange, _: http::Request<Body>) -> http::Response<Body> {
        http::Response::new(Body::from("x"))
    }
}

fn entry_point(name: &str, index: usize, port: u16) -> Arc<EntryPoint> {
    Arc::new(EntryPoint {
        name: name.into(),
        index,
        port,
        trusted: None,
        keep_forwarded_for: false,
        connection_fields: Box::default(),
        sanitize_path: true,
        encode_query_semicolons: false,
        refused_escapes: Box::default(),
        aliases: crate::message::Aliases::Keep,
        is_admin: name == "traefik",
    })
}

/// Entry points `traefik`, `web` and `websecure`; `adjust` changes the rest.
pub(crate) fn context(adjust: impl FnOnce(&mut Settings)) -> Context {
    let mut settings = Settings::default();
    let ports = [("traefik", 8080), ("web", 80), ("websecure", 443)];
    for (name, port) in ports {
        let on = settings::EntryPoint { address: format!(":{port}"), ..Default::default() };
        settings.entry_points.insert(name.to_owned(), on);
    }
    adjust(&mut settings);
    let numbered = ports.iter().enumerate();
    let entry_points = numbered.map(|(index, (name, port))| entry_point(name, index, *port));
    let names = ["noop@internal", "api@internal", "dashboard@internal", "ping@internal"];
    let internal = names.map(|name| (name.to_owned(), Arc::new(Nothing) as Arc<dyn Handler>));
    Context {
        certificates: BTreeMap::new(),
        metrics: Metrics::new(&settings.metrics, 1),
        settings: Arc::new(settings),
        entry_points: entry_points.collect(),
        internal: internal.into(),
        notices: Vec::new(),
        spiffe: None,
        workers: 1,
    }
}

fn sourced<T>(value: T) -> Arc<Sourced<T>> {
    Arc::new(Sourced::new(value, vec![Origin::file("dynamic.yml")]))
}

pub(crate) fn router(rule: &str) -> Router {
    Router { rule: rule.into(), service: "noop@internal".into(), ..Router::default() }
}

/// Routers of the file provider by local name.
pub(crate) fn desired(routers: &[(&str, Router)]) -> Desired {
    let routers = routers
        .iter()
        .map(|(name, router)| (Name::new(name, Provider::File), sourced(router.clone())));
    Desired { routers: routers.collect(), ..Desired::default() }
}

pub(crate) use super::service::tests::with_service;

pub(crate) fn compiled(cx: &Context, desired: Desired) -> Table {
    compile(cx, &Arc::new(desired), &Table::default())
}

pub(crate) fn found<'t>(
    table: &'t Table,
    entry_point: usize,
    host: &str,
    tls: bool,
) -> Option<&'t str> {
    let view = View {
        host,
        alias: None,
        path: "/",
        query: "",
        method: &Method::GET,
        headers: &HeaderMap::new(),
        peer: [127, 0, 0, 1].into(),
        tls,
    };
    let route = table.entry_points[entry_point].find(&view, &mut ())?;
    Some(route.name.as_str())
}

pub(crate) fn outcome<'t>(table: &'t Table, name: &str) -> &'t Outcome {
    let (_, outcome) = table.routers.iter().find(|(known, _)| known.as_str() == name).unwrap();
    outcome
}

fn with(rule: &str, change: impl FnOnce(&mut Router)) -> Router {
    let mut router = router(rule);
    change(&mut router);
    router
}

#[test]
fn a_router_without_entry_points_is_on_all_but_traefik() {
    let table = compiled(&context(|_| ()), desired(&[("web", router("Host(`a`)"))]));

    assert_eq!(found(&table, 1, "a", false), Some("web@file"));
    assert_eq!(found(&table, 2, "a", false), Some("web@file"));
    assert_eq!(found(&table, 0, "a", false), None);
    assert_eq!(outcome(&table, "web@file").entry_points, ["web", "websecure"]);
    assert_eq!(outcome(&table, "web@file").used, ["web", "websecure"]);
    assert_eq!(outcome(&table, "web@file").priority, 9);
    assert_eq!(table.problems.len(), 0);
}

#[test]
fn entry_points_as_default_are_the_only_default_ones() {
    let cx = context(|settings| {
        settings.entry_points.get_mut("websecure").unwrap().as_default = true;
    });
    let table = compiled(&cx, desired(&[("web", router("Host(`a`)"))]));

    assert_eq!(outcome(&table, "web@file").used, ["websecure"]);
}

#[test]
fn longer_rules_and_higher_priorities_win_and_ties_go_by_provider_and_name() {
    let routers = [
        ("short", router("Host(`a`)")),
        ("longer", router("Host(`a`) || Host(`b`)")),
        ("b-tie", router("Host(`c`)")),
        ("a-tie", router("Host(`c`)")),
        ("first", with("Host(`b`)", |router| router.priority = 1000)),
    ];
    let mut desired = desired(&routers);
    let docker = Name::new("z", Provider::Docker);
    desired.routers.insert(docker, sourced(router("Host(`d`)")));
    desired.routers.insert(Name::new("a", Provider::File), sourced(router("Host(`d`)")));
    let table = compiled(&context(|_| ()), desired);

    let cases = [("a", "longer@file"), ("b", "first@file"), ("c", "a-tie@file"), ("d", "z@docker")];
    for (host, name) in cases {
        assert_eq!(found(&table, 1, host, false), Some(name), "{host}");
    }
}

#[test]
fn tls_routers_and_plain_ones_do_not_answer_for_each_other() {
    let secure = with("Host(`a`)", |router| router.tls = Some(RouterTls::default()));
    let table = compiled(&context(|_| ()), desired(&[("s", secure), ("p", router("Host(`b`)"))]));

    assert_eq!(found(&table, 1, "a", true), Some("s@file"));
    assert_eq!(found(&table, 1, "a", false), None);
    assert_eq!(found(&table, 1, "b", true), None);
    assert_eq!(found(&table, 1, "b", false), Some("p@file"));
}

/// Error texts as Traefik 3.7.15 answers them.
fn faulty_references() -> Vec<(Router, Code, &'static str)> {
    vec![
        (
            with("Host(`a`)", |router| router.service = "ghost".into()),
            Code::UnknownName,
            "the service \"ghost@file\" does not exist",
        ),
        (
            with("Host(`a`)", |router| router.service = "prometheus@internal".into()),
            Code::UnknownName,
            "prometheus is not enabled",
        ),
        (
            with("Host(`a`)", |router| router.service = "x@internal".into()),
            Code::UnknownName,
            "unknown internal service x@internal",
        ),
        (
            with("Host(`a`)", |router| router.middlewares = vec!["nope@docker".into()]),
            Code::UnknownName,
            "middleware \"nope@docker\" does not exist",
        ),
        (
            with("Host(`a`)", |router| router.entry_points = vec!["nope".into()]),
            Code::UnknownName,
            "entryPoint \"nope\" doesn't exist",
        ),
    ]
}

fn faulty_values() -> Vec<(Router, Code, &'static str)> {
    let options = RouterTls { options: "nosuch".into(), ..RouterTls::default() };
    vec![
        (
            router("Hostt(`a`)"),
            Code::BadRule,
            "error while parsing rule Hostt(`a`): parsing rule Hostt(`a`): \
             unsupported function: Hostt",
        ),
        (
            router(""),
            Code::BadRule,
            "error while parsing rule : parsing rule : 1:1: expected operand, found 'EOF'",
        ),
        (
            router("HostRegexp(`(`)"),
            Code::BadRule,
            "error while parsing rule HostRegexp(`(`): adding rule HostRegexp(`(`): error while \
             adding rule HostRegexp: compiling HostRegexp matcher: error parsing regexp: \
             missing closing ): `(`",
        ),
        (
            with("Host(`a`)", |router| router.priority = i64::MAX),
            Code::BadValue,
            "the router priority 9223372036854775807 exceeds the max user-defined priority \
             9223372036854774807",
        ),
        (
            with("Host(`a`)", |router| router.tls = Some(options)),
            Code::UnknownName,
            "building router handler: unknown TLS options: nosuch@file",
        ),
    ]
}

#[test]
fn a_router_at_fault_is_left_out_alone_with_traefik_words() {
    for (router, code, text) in faulty_references().into_iter().chain(faulty_values()) {
        let good = self::router("Host(`good`)");
        let table = compiled(&context(|_| ()), desired(&[("bad", router), ("good", good)]));

        let bad = outcome(&table, "bad@file");
        assert_eq!((bad.status, bad.errors[0].as_str()), (Status::Disabled, text));
        assert_eq!(found(&table, 1, "a", false), None);
        assert_eq!(found(&table, 1, "good", false), Some("good@file"));
        assert_eq!(table.problems.len(), 1, "{:?}", table.problems);
        assert_eq!(table.problems[0].code, code, "{text}");
        assert!(table.problems[0].mend.is_some(), "{text}");
    }
}

#[test]
fn a_router_with_some_unknown_entry_points_serves_with_a_warning() {
    let both = with("Host(`a`)", |router| router.entry_points = vec!["web".into(), "wbe".into()]);
    let table = compiled(&context(|_| ()), desired(&[("both", both)]));

    let outcome = outcome(&table, "both@file");
    assert_eq!(outcome.status, Status::Warning);
    assert_eq!(outcome.used, ["web"]);
    assert_eq!(found(&table, 1, "a", false), Some("both@file"));
    assert_eq!(table.problems[0].mend.as_deref(), Some("did you mean `web`?"));
}

#[test]
fn an_entry_point_with_tls_clones_the_routers_that_are_on_others_too() {
    let cx = context(|settings| {
        let websecure = settings.entry_points.get_mut("websecure").unwrap();
        websecure.http.tls = Some(settings::EntryPointTls::default());
    });
    let only = with("Host(`b`)", |router| router.entry_points = vec!["websecure".into()]);
    let table = compiled(&cx, desired(&[("web", router("Host(`a`)")), ("only", only)]));

    assert_eq!(found(&table, 1, "a", false), Some("web@file"));
    assert_eq!(found(&table, 2, "a", true), Some("websecure-web@file"));
    assert_eq!(found(&table, 2, "b", true), Some("only@file"));
    let names: Vec<_> = table.desired.routers.keys().map(Name::as_str).collect();
    assert_eq!(names, ["only@file", "web@file", "websecure-web@file"]);
    assert_eq!(outcome(&table, "web@file").entry_points, ["web"]);
}

#[test]
fn what_was_noticed_at_the_start_is_a_problem_of_every_table() {
    let notice = Problem::warning(Code::Notice, Origin::Flag("--x".into()), "is deprecated");
    let cx = Context { notices: vec![notice.clone()], ..context(|_| ()) };

    assert!(compiled(&cx, desired(&[])).problems.contains(&notice));
}

#[test]
fn the_precedence_of_providers_decides_between_equal_priorities() {
    let routers = || {
        let mut all = desired(&[("a", router("Host(`a`)"))]);
        all.routers.insert(Name::new("b", Provider::Docker), sourced(router("Host(`a`)")));
        all
    };
    for (precedence, first) in
        [(&[][..], "b@docker"), (&["File", "docker"], "a@file"), (&["redis", "file"], "a@file")]
    {
        let cx = context(|settings| {
            settings.providers.precedence = precedence.iter().map(|&n| n.to_owned()).collect();
        });
        assert_eq!(found(&compiled(&cx, routers()), 1, "a", false), Some(first), "{precedence:?}");
    }
}

#[test]
fn a_router_is_read_in_the_syntax_it_names() {
    let v2 = |router: &mut Router| router.rule_syntax = "v2".into();
    let v3 = |router: &mut Router| router.rule_syntax = "v3".into();
    let lists = desired(&[("new", router("Host(`b`)")), ("old", with("Host(`a`, `c`)", v2))]);
    let table = compiled(&context(|_| ()), lists);
    assert_eq!(found(&table, 1, "c", false), Some("old@file"));
    assert_eq!(found(&table, 1, "b", false), Some("new@file"));
    assert_eq!(&*table.problems[0].text, "the v2 rule syntax is deprecated");
    assert_eq!(outcome(&table, "old@file").status, Status::Enabled);

    let web = |rule: &str, change: fn(&mut Router)| {
        with(rule, |router| {
            router.entry_points = vec!["web".into()];
            change(router);
        })
    };
    let made = |router: &mut Router| router.default_rule = true;
    let core = settings::Core { default_rule_syntax: "v2".into(), strict_tls_options: false };
    let cx = context(|settings| settings.core = Some(core));
    let routers = [
        ("both", router("Host(`a`, `c`)")),
        ("made", web("Host(`*.m`)", made)),
        ("named", web("Host(`*.n`)", v3)),
        ("plain", web("Host(`*.p`)", |_| ())),
    ];
    let table = compiled(&cx, desired(&routers));
    // As Traefik: the default syntax is of the entry points' making, so that routers split.
    assert_eq!(found(&table, 1, "c", false), Some("web-both@file"));
    assert_eq!(found(&table, 2, "c", false), Some("websecure-both@file"));
    assert_eq!(found(&table, 1, "x.m", false), Some("made@file"));
    assert_eq!(found(&table, 1, "x.n", false), Some("named@file"));
    assert_eq!(found(&table, 1, "x.p", false), None);
}

/// The names are those that Traefik 3.7.15 gives.
#[test]
fn routers_with_clashing_tls_options_stand_apart_on_that_entry_point_only() {
    let on = |rule: &str, options: &str, points: &[&str]| {
        with(rule, |router| {
            let options = options.to_owned();
            router.tls = Some(RouterTls { options, ..RouterTls::default() });
            router.entry_points = points.iter().map(|&name| name.to_owned()).collect();
        })
    };
    let mut desired = desired(&[
        ("a", on("Host(`c`)", "strict", &["web", "websecure"])),
        ("b", on("Host(`c`) && Path(`/x`)", "", &["web"])),
        ("m1", on("Host(`m`) || Host(`n`)", "strict", &["web"])),
        ("m2", on("Host(`m`)", "strict@file", &["web"])),
        ("m3", on("Host(`n`)", "default", &["web"])),
        ("none", on("PathPrefix(`/`)", "strict", &["web"])),
        ("plain", on("PathPrefix(`/`)", "", &["web"])),
    ]);
    desired.tls.options.insert(Name::new("strict", Provider::File), sourced(TlsOptions::default()));
    let table = compiled(&context(|_| ()), desired.clone());

    let names: Vec<_> = table.desired.routers.keys().map(Name::as_str).collect();
    let apart = ["a", "b", "m1", "m3", "none"].map(|name| format!("web-conflicted-{name}@file"));
    assert_eq!(names[..3], ["a@file", "m2@file", "plain@file"]);
    assert_eq!(names[3..], apart.each_ref().map(String::as_str));
    assert_eq!(outcome(&table, "a@file").used, ["websecure"]);
    assert_eq!(outcome(&table, "a@file").status, Status::Enabled);

    let core = settings::Core { strict_tls_options: true, ..settings::Core::default() };
    let table = compiled(&context(|settings| settings.core = Some(core)), desired);
    for name in ["web-conflicted-web-a@file", "web-conflicted-b@file", "web-conflicted-none@file"] {
        let outcome = outcome(&table, name);
        assert_eq!(outcome.status, Status::Disabled, "{name}");
        assert!(outcome.errors[0].ends_with("on the same entrypoint and host"), "{name}");
    }
    assert_eq!(found(&table, 2, "c", true), Some("websecure-a@file"));
}

#[test]
fn routers_that_disagree_on_a_hosts_tls_options_get_the_default_and_a_warning() {
    let tls = |options: &str| RouterTls { options: options.into(), ..RouterTls::default() };
    let mut desired = desired(&[
        ("a", with("Host(`h`)", |router| router.tls = Some(tls("strict")))),
        ("b", with("Host(`h`) && Path(`/`)", |router| router.tls = Some(tls("")))),
        ("c", with("HostRegexp(`h`)", |router| router.tls = Some(tls("strict")))),
    ]);
    let strict = Name::new("strict", Provider::File);
    desired.tls.options.insert(strict, sourced(TlsOptions::default()));
    let table = compiled(&context(|_| ()), desired);

    let names = ["a", "b", "c"].map(|name| format!("web-conflicted-{name}@file"));
    let statuses = names.each_ref().map(|name| outcome(&table, name).status);
    assert_eq!(statuses, [Status::Warning, Status::Enabled, Status::Warning]);
    assert_eq!(
        outcome(&table, &names[0]).errors,
        ["router's TLSOptions configuration is conflicting with other routers on the same \
          entrypoint and host, default TLS options will be used instead"]
    );
    assert_eq!(table.problems.len(), 4);
    assert_eq!(
        outcome(&table, &names[2]).errors,
        ["no domain found in rule HostRegexp(`h`), the TLS option strict@file cannot be applied"]
    );
}

#[test]
fn two_routers_with_the_same_claim_and_other_services_are_named() {
    let one = router("Host(`a`)");
    let two = with("Host(`a`)", |router| router.service = "api@internal".into());
    let table = compiled(&context(|_| ()), desired(&[("one", one.clone()), ("two", two)]));
    assert_eq!(table.problems.len(), 1);
    assert_eq!(table.problems[0].code, Code::Conflict);
    assert!(table.problems[0].text.contains("one@file"));

    let table = compiled(&context(|_| ()), desired(&[("one", one.clone()), ("two", one)]));
    assert_eq!(table.problems.len(), 0);
}

#[test]
fn services_show_who_names_them_and_unused_ones_are_not_built() {
    let mut desired = desired(&[("web", router("Host(`a`)"))]);
    let server = Server { url: "::bad".into(), ..Server::default() };
    let balancer = LoadBalancer { servers: vec![server], ..LoadBalancer::default() };
    let unused = Name::new("unused", Provider::File);
    desired.services.insert(unused.clone(), sourced(ServiceKind::LoadBalancer(balancer).into()));
    let table = compiled(&context(|_| ()), desired);

    let noop = Name::new("noop", Provider::Internal);
    assert_eq!(table.service_outcomes[&noop].used, ["web@file"]);
    assert_eq!(table.service_outcomes[&unused].status, Status::Enabled);
    assert!(!table.services.contains_key(&unused));
    assert!(table.problems.is_empty());
}

#[test]
fn what_did_not_change_is_carried_over() {
    let cx = context(|_| ());
    let first = Arc::new(desired(&[("a", router("Host(`a`)")), ("b", router("Host(`b`)"))]));
    let before = compile(&cx, &first, &Table::default());
    let second = Arc::new(desired(&[("a", router("Host(`a`)")), ("b", router("Host(`c`)"))]));
    let after = compile(&cx, &second, &before);

    let name = |local| Name::new(local, Provider::File);
    assert!(Arc::ptr_eq(&before.routes[&name("a")], &after.routes[&name("a")]));
    assert!(!Arc::ptr_eq(&before.routes[&name("b")], &after.routes[&name("b")]));
    assert_eq!(found(&after, 1, "a", false), Some("a@file"));
    assert_eq!(found(&after, 1, "b", false), None);
    assert_eq!(after.revision, 2);
}
