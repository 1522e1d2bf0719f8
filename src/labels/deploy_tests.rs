use super::*;
use crate::labels::name;
use crate::problem::Severity;

/// A container of Compose with these labels below `wharf.deploy.`.
fn container(labels: &[(&str, &str)]) -> Container {
    let compose = [(name::PROJECT, "shop"), (name::SERVICE, "web"), (name::GENERATION, "hash")];
    let compose = compose.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let own =
        labels.iter().map(|(key, value)| (format!("wharf.deploy.{key}"), (*value).to_owned()));
    Container { labels: own.chain(compose).collect(), ..Container::named("web-1", "id") }
}

fn read_all(container: &Container) -> (Option<Arc<Deploy>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut root = crate::labels::read::labels(container, &mut problems);
    let deploy = read(container, root.take("deploy").as_ref(), &mut problems);
    (deploy, problems)
}

fn rules_of(labels: &[(&str, &str)]) -> DeployRules {
    let (deploy, problems) = read_all(&container(labels));
    assert!(problems.is_empty(), "{labels:?}: {problems:?}");
    DeployRules::clone(&deploy.unwrap().rules)
}

#[test]
fn labels_become_rules() {
    let usual = DeployRules::default;
    let header = |value: Option<&str>| HeaderRule {
        name: HeaderName::from_static("x-canary"),
        value: value.map(Box::from),
    };
    let cookie =
        |value: Option<&str>| CookieRule { name: "Canary".into(), value: value.map(Box::from) };
    let back_off = |errors, seconds, min_requests| {
        let window = Duration::from_secs(seconds);
        Some(BackOffRules { errors, window, min_requests })
    };
    let cases: [(&[(&str, &str)], DeployRules); 12] = [
        (&[], usual()),
        (&[("minReady", "3")], DeployRules { min_ready: 3, ..usual() }),
        (&[("minready", "3")], DeployRules { min_ready: 3, ..usual() }),
        (&[("canary.percent", "0")], DeployRules { percent: Some(0), ..usual() }),
        (&[("canary.percent", "100")], DeployRules { percent: Some(100), ..usual() }),
        (&[("canary.header", "X-Canary")], DeployRules { header: Some(header(None)), ..usual() }),
        (
            &[("canary.header", "x-canary"), ("canary.headerValue", "beta")],
            DeployRules { header: Some(header(Some("beta"))), ..usual() },
        ),
        (&[("canary.cookie", "Canary")], DeployRules { cookie: Some(cookie(None)), ..usual() }),
        (
            &[("canary.cookie", "Canary"), ("canary.cookievalue", "1")],
            DeployRules { cookie: Some(cookie(Some("1"))), ..usual() },
        ),
        (&[("pin", "true")], DeployRules { pin: true, ..usual() }),
        (&[("backoff.errors", "5")], DeployRules { back_off: back_off(5, 10, 20), ..usual() }),
        (
            &[("backoff.errors", "100"), ("backoff.window", "2m"), ("backoff.minRequests", "1")],
            DeployRules { back_off: back_off(100, 120, 1), ..usual() },
        ),
    ];
    for (labels, wanted) in cases {
        assert_eq!(rules_of(labels), wanted, "{labels:?}");
    }
}

/// Labels; the one that is refused, what is said of it, and the mend.
type Refused<'t> = (&'t [(&'t str, &'t str)], &'t str, &'t str, &'t str);

const REFUSED: [Refused<'_>; 19] = [
    (&[("minReady", "0")], "minReady", "0 is not between 1", "1 to 10000"),
    (&[("minReady", "many")], "minReady", "many", ""),
    (&[("canary.percent", "101")], "canary.percent", "101 is not between", "0 to 100"),
    (&[("canary.percent", "-1")], "canary.percent", "-1 is not between", "0 to 100"),
    (&[("canary.percent", "20%")], "canary.percent", "20%", ""),
    (&[("canary.header", "a b")], "canary.header", "\"a b\" is no name", "X-Canary"),
    (&[("canary.cookie", "a;b")], "canary.cookie", "\"a;b\" is no name", "canary"),
    (
        &[("canary.headerValue", "x")],
        "canary.headerValue",
        "without wharf.deploy.canary.header",
        "set wharf.deploy.canary.header",
    ),
    (
        &[("canary.cookieValue", "x")],
        "canary.cookieValue",
        "without wharf.deploy.canary.cookie",
        "set wharf.deploy.canary.cookie",
    ),
    (&[("pin", "perhaps")], "pin", "perhaps", ""),
    (&[("backoff.errors", "0")], "backoff.errors", "0 is not between", "1 to 100"),
    (&[("backoff.errors", "101")], "backoff.errors", "101 is not", "1 to 100"),
    (
        &[("backoff.errors", "5"), ("backoff.window", "0s")],
        "backoff.window",
        "0s is not between",
        "10s",
    ),
    (
        &[("backoff.errors", "5"), ("backoff.window", "2h")],
        "backoff.window",
        "is not between 1s and 1h",
        "10s",
    ),
    (
        &[("backoff.window", "5s")],
        "backoff.window",
        "without wharf.deploy.backoff.errors",
        "set wharf.deploy.backoff.errors",
    ),
    (
        &[("backoff.minRequests", "5")],
        "backoff.minRequests",
        "without wharf.deploy.backoff.errors",
        "set wharf.deploy.backoff.errors",
    ),
    (
        &[("backoff.errors", "5"), ("backoff.minRequests", "0")],
        "backoff.minRequests",
        "0 is not between",
        "1 to",
    ),
    (&[("generation", " ")], "generation", "can't name a generation", "v2"),
    (&[("canery.percent", "5")], "canery.percent", "no such key", "canary.percent"),
];

#[test]
fn what_can_not_be_used_is_told_with_its_label_its_value_and_the_mend() {
    for (labels, label, text, mend) in REFUSED {
        let (deploy, problems) = read_all(&container(labels));

        let is_unknown = text == "no such key";
        assert!(deploy.is_none() || is_unknown, "{labels:?}");
        let [problem] = &problems[..] else { panic!("{labels:?}: {problems:?}") };
        assert_eq!(problem.severity, Severity::Error, "{labels:?}");
        let said = format!("{problem} {:?}", problem.mend);
        for part in [&format!("wharf.deploy.{label}"), text, mend] {
            assert!(said.contains(part), "{labels:?}: {part} is not in {said}");
        }
    }
}

#[test]
fn a_container_without_a_generation_is_told_that_its_labels_do_nothing() {
    let labels = [("wharf.deploy.canary.percent".to_owned(), "5".to_owned())].into();
    let alone = Container { labels, ..Container::named("web", "id") };

    let (deploy, problems) = read_all(&alone);

    assert_eq!(deploy, None);
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(problem.severity, Severity::Warning);
    assert!(problem.to_string().contains("wharf.deploy.canary.percent"), "{problem}");

    assert_eq!(read_all(&Container::named("web", "id")), (None, Vec::new()));
}

#[test]
fn the_label_goes_before_the_hash_of_compose() {
    let id = |labels: &[(&str, &str)]| {
        let (deploy, problems) = read_all(&container(labels));
        assert!(problems.is_empty(), "{problems:?}");
        deploy.unwrap().generation.to_string()
    };

    assert_eq!(id(&[]), "hash");
    assert_eq!(id(&[("generation", " v2 ")]), "v2");
    assert_eq!(id(&[("Generation", "v2")]), "v2");
}

#[test]
fn behind_traefiks_root_the_labels_do_nothing_and_harm_nobody() {
    let mut container = container(&[]);
    container.labels.insert("traefik.deploy.canary.percent".to_owned(), "5".to_owned());

    let (deploy, problems) = read_all(&container);

    assert_eq!(*deploy.unwrap().rules, DeployRules::default());
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(problem.severity, Severity::Warning);
    assert!(format!("{problem:?}").contains("wharf.deploy.canary.percent"), "{problem:?}");
}
