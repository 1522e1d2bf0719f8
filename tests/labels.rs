//! Every label key that Traefik knows, from the reference table: what is built decodes and is
//! seen in the model, what is not is refused by its name; bad values do what the table says.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wharf::labels::{Container, Decoder, Network};
use wharf::model::{Desired, ReplicaState};
use wharf::problem::{Code, Severity};
use wharf::settings;
use wharf::tree::known::{KnownOption, State};

/// Wharf leaves out the container where Traefik takes the value and fails later, or keeps
/// going with less: see `bad_value` of each key.
const STRICTER: &[(&str, &str)] = &[
    ("http.services.s.loadbalancer.server.port", "a port that is none fails every request"),
    ("http.services.s.loadbalancer.server.scheme", "a scheme that is none fails every request"),
    ("http.services.s.loadbalancer.server.url", "only http, https and h2c, never link-local"),
];

struct Row {
    tier: u8,
    key: String,
    kind: String,
    default: String,
    bad: String,
}

fn rows() -> Vec<Row> {
    let table = include_str!("reference/labels.tsv");
    table
        .lines()
        .skip(1)
        .map(|line| {
            let [tier, key, kind, default, _, bad] = line.split('\t').collect::<Vec<_>>()[..]
            else {
                panic!("{line}")
            };
            Row {
                tier: tier.parse().unwrap(),
                key: concrete(key.strip_prefix("traefik.").unwrap()),
                kind: kind.to_owned(),
                default: default.to_owned(),
                bad: bad.to_owned(),
            }
        })
        .collect()
}

/// Puts names and numbers for the placeholders.
fn concrete(key: &str) -> String {
    let name = if key.contains("statusrewrites") { "404" } else { "X-Name" };
    [
        ("<router>", "r"),
        ("<service>", "s"),
        ("<middleware>", "m"),
        ("<name>", name),
        ("<plugin>", "p"),
        ("[n]", "[0]"),
        (".*", ".a"),
    ]
    .iter()
    .fold(key.to_owned(), |key, (from, to)| key.replace(from, to))
    .replace(['<', '>'], "")
}

fn good_value(row: &Row) -> &'static str {
    match row.key.rsplit('.').next().unwrap() {
        "rule" => return "Host(`seen.test`)",
        "url" => return "http://10.9.9.9:4242",
        "port" if row.key.contains(".server.") => return "4242",
        "scheme" => return "https",
        "sourcerange" | "excludedips" => return "10.0.0.0/8,10.1.1.1",
        "status" if row.kind == "list" => return "404,500-599",
        "encodings" => return "gzip,br",
        "network" => return "second",
        "endpoints" => return "redis:6379,other:6380",
        _ => {}
    }
    match row.kind.as_str() {
        "bool" if row.default.starts_with("true") => "false",
        "bool" | "struct" => "true",
        "int" | "float" => "47",
        "duration" => "47s",
        "list" => "/alpha,/beta",
        "enum(http,grpc)" => "grpc",
        "enum(wrr,p2c,hrw,leasttime)" => "p2c",
        "enum(minimal,detailed)" => "detailed",
        "enum(v3,v2)" => "v2",
        "enum(none,lax,strict)" => "lax",
        _ => "/seen",
    }
}

fn bad_value(row: &Row) -> Option<&'static str> {
    match row.kind.as_str() {
        "bool" => Some("maybe"),
        "int" => Some("1.5"),
        "duration" => Some("notadur"),
        _ => None,
    }
}

fn decode(labels: &[(&str, &str)]) -> Desired {
    let whole: Vec<_> = labels.iter().map(|(k, v)| (format!("traefik.{k}"), *v)).collect();
    decode_whole(&whole.iter().map(|(key, value)| (key.as_str(), *value)).collect::<Vec<_>>())
}

/// The same for keys with their root.
fn decode_whole(labels: &[(&str, &str)]) -> Desired {
    let network = |n: u8| Network { ipv4: Some([10, 0, 0, n].into()), ..Network::default() };
    let container = Container {
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        state: ReplicaState::Running,
        networks: [("first".to_owned(), network(1)), ("second".to_owned(), network(2))].into(),
        exposed: vec![(80, "tcp".to_owned())],
        ..Container::named("c", "0123456789ab")
    };
    let docker = settings::Docker { network: "first".to_owned(), ..settings::Docker::default() };
    let mut decoder = Decoder::new(&docker, &settings::Wharf::default());
    decoder.update(&Arc::new(container));
    decoder.desired()
}

/// The whole of what was declared, as the API prints it.
fn json(desired: &Desired) -> String {
    let mut lines = Vec::new();
    for (name, item) in &desired.routers {
        lines.push(format!("router {name} {}", serde_json::to_string(&item.value).unwrap()));
    }
    for (name, item) in &desired.services {
        lines.push(format!("service {name} {}", serde_json::to_string(&item.value).unwrap()));
    }
    for (name, item) in &desired.middlewares {
        lines.push(format!("middleware {name} {}", serde_json::to_string(&item.value).unwrap()));
    }
    for (name, item) in &desired.tls.stores {
        lines.push(format!("store {name} {}", serde_json::to_string(&item.value).unwrap()));
    }
    lines.join("\n")
}

/// What must be there for the key to make sense.
fn companions(row: &Row) -> Vec<(&'static str, &'static str)> {
    let mut labels = vec![("http.routers.r.rule", "Host(`a.test`)")];
    if row.key.starts_with("http.services.s.") {
        labels.push(("http.services.s.loadbalancer.strategy", "wrr"));
    }
    labels.retain(|(key, _)| *key != row.key);
    labels
}

fn with<'l>(row: &'l Row, value: &'l str) -> Vec<(&'l str, &'l str)> {
    let mut labels: Vec<(&str, &str)> = companions(row);
    labels.push((&row.key, value));
    labels
}

/// Whether some problem is about the key.
fn is_named(desired: &Desired, row: &Row) -> bool {
    let key = format!("traefik.{}", row.key);
    desired.problems.iter().any(|problem| problem.origin.to_string().contains(&key))
}

/// Whether the key is refused, or said to have no effect: not for its value, which is good.
fn is_refused(desired: &Desired, row: &Row) -> bool {
    let key = format!("traefik.{}", row.key);
    desired.problems.iter().any(|problem| {
        matches!(problem.code, Code::NotBuilt | Code::Notice)
            && problem.origin.to_string().contains(&key)
    })
}

fn is_left_out(desired: &Desired) -> bool {
    desired.routers.is_empty() && desired.services.is_empty() && desired.middlewares.is_empty()
}

#[test]
fn every_key_is_seen_in_the_model_or_refused_by_name() {
    let mut failures = Vec::new();
    for row in rows() {
        let value = good_value(&row);
        let before = json(&decode(&companions(&row)));

        let desired = decode(&with(&row, value));

        let after = json(&desired);
        let first = value.split(',').next().unwrap();
        let is_text = matches!(row.kind.as_str(), "string" | "list" | "int" | "duration");
        // An address stands for its network, and a password is not printed.
        let is_told = row.key == "docker.network" || row.key.ends_with(".redis.password");
        let is_shown = !is_text || after.contains(first) || is_told;
        let is_seen = after != before && is_shown;
        // A switch that only says what is so anyway has nothing to show.
        let says_nothing = ["enable", "docker.allownonrunning"].contains(&row.key.as_str())
            && desired.problems.is_empty();
        if !is_seen && !is_refused(&desired, &row) && !says_nothing {
            failures.push(format!("{} = {value}: {after} {:?}", row.key, desired.problems));
        }
    }
    assert!(failures.is_empty(), "{} keys:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_key_of_the_first_tier_is_built() {
    let mut failures = Vec::new();
    for row in rows().iter().filter(|row| row.tier == 1) {
        let desired = decode(&with(row, good_value(row)));

        if desired.problems.iter().any(|problem| problem.severity == Severity::Error) {
            failures.push(format!("{}: {:?}", row.key, desired.problems));
        }
    }
    assert!(failures.is_empty(), "{} keys:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_the_table_says_of_a_key_is_what_happens() {
    let mut failures = Vec::new();
    for option in wharf::labels::options() {
        let row = Row {
            tier: 0,
            key: concrete(&option.path.to_lowercase()),
            kind: option.kind.to_owned(),
            default: option.default.to_owned(),
            bad: String::new(),
        };
        let desired = decode(&with(&row, good_value(&row)));

        let is_not_built = desired.problems.iter().any(|problem| problem.code == Code::NotBuilt);
        let is_as_said = match option.state {
            State::Built => !is_not_built && !is_left_out(&desired),
            State::Ignored => is_refused(&desired, &row) && !is_left_out(&desired),
            State::Later | State::Removed => is_refused(&desired, &row) && is_left_out(&desired),
        };
        if !is_as_said {
            failures.push(format!("{}: {:?}: {:?}", row.key, option.state, desired.problems));
        }
    }
    assert!(failures.is_empty(), "{} keys:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_is_not_built_leaves_out_the_container_and_what_traefik_ignores_does_not() {
    let mut failures = Vec::new();
    // The default certificate's keys are built, whatever their tier.
    let is_built = |row: &Row| row.key.contains("defaultgeneratedcert");
    for row in rows().iter().filter(|row| row.tier == 3 && !is_built(row)) {
        let desired = decode(&with(row, good_value(row)));

        let is_error = desired.problems.iter().any(|problem| problem.severity == Severity::Error);
        let is_harmless = row.bad.starts_with("ignored") && !row.key.starts_with("tcp.")
            || row.bad.contains("ignored: decoded, shown nowhere")
            || row.key == "docker.lbswarm";
        if is_error == is_harmless || is_left_out(&desired) == is_harmless {
            failures.push(format!("{}: {:?}", row.key, desired.problems));
        }
        if !is_named(&desired, row) {
            failures.push(format!("{}: not named", row.key));
        }
    }
    assert!(failures.is_empty(), "{} keys:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_value_of_the_wrong_type_leaves_out_the_container_and_is_named() {
    let mut failures = Vec::new();
    for row in rows().iter().filter(|row| row.tier < 3) {
        let Some(value) = bad_value(row) else { continue };

        let desired = decode(&with(row, value));

        if !is_left_out(&desired) || !is_named(&desired, row) {
            failures.push(format!("{} = {value}: {}", row.key, json(&desired)));
        }
    }
    assert!(failures.is_empty(), "{} keys:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_traefik_accepts_is_accepted_but_for_the_keys_that_are_stricter_on_purpose() {
    let mut failures = Vec::new();
    for row in rows().iter().filter(|row| row.tier < 3 && row.kind == "string") {
        if !(row.bad.starts_with("accepted") || row.bad.starts_with("runtime")) {
            continue;
        }
        let desired = decode(&with(row, "odd value"));

        let is_not_built = desired.problems.iter().any(|problem| problem.code == Code::NotBuilt);
        let is_stricter = STRICTER.iter().any(|(key, _)| *key == row.key);
        if is_left_out(&desired) != (is_not_built || is_stricter) {
            failures.push(format!("{}: {:?}", row.key, desired.problems));
        }
    }
    for (key, why) in STRICTER {
        let desired = decode(&[("http.routers.r.rule", "Host(`a.test`)"), (key, "odd value")]);
        if !is_left_out(&desired) {
            failures.push(format!("{key}: taken, though {why}"));
        }
    }
    assert!(failures.is_empty(), "{} keys:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_switch_with_another_text_is_off_with_all_keys_below_it() {
    for (switch, below) in [
        ("http.routers.r.tls", "http.routers.r.tls.options"),
        ("http.services.s.loadbalancer.sticky", "http.services.s.loadbalancer.sticky.cookie.name"),
        (
            "http.services.s.loadbalancer.sticky.cookie",
            "http.services.s.loadbalancer.sticky.cookie.name",
        ),
    ] {
        let rule = ("http.routers.r.rule", "Host(`a.test`)");

        let desired = decode(&[rule, (switch, "yes"), (below, "seen")]);

        assert!(!is_left_out(&desired), "{switch}");
        assert!(!json(&desired).contains("seen"), "{switch}: {}", json(&desired));
        assert!(!desired.problems.is_empty(), "{switch}: Traefik says nothing, Wharf does");
    }
}

#[test]
fn the_table_in_the_crate_knows_every_key_of_the_reference_and_no_other() {
    let known: BTreeMap<_, _> = wharf::labels::options()
        .map(|option| (format!("traefik.{}", option.path.to_lowercase()), option))
        .collect();
    let mut left: BTreeSet<_> = known.keys().cloned().collect();
    for line in include_str!("reference/labels.tsv").lines().skip(1) {
        let [_, key, kind, default, ..] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let key = if kind == "map" { format!("{key}.*") } else { key.to_owned() };
        let option = known.get(&key).unwrap_or_else(|| panic!("{key}"));
        assert_eq!((option.kind, option.default), (kind, default), "{key}");
        left.remove(&key);
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn wharfs_own_keys_are_seen_in_the_model_under_its_own_root_alone() {
    for option in wharf::labels::own_options().filter(|own| own.path.starts_with("http.")) {
        let key = concrete(&option.path.to_lowercase());
        let value = match option.kind {
            "duration" => "47s",
            "int" => "47",
            "bool" => "false",
            kind => panic!("{key}: {kind}"),
        };
        let rule = ("traefik.http.routers.r.rule", "Host(`a.test`)");
        let own = decode_whole(&[rule, (&format!("wharf.{key}"), value)]);
        let theirs = decode_whole(&[rule, (&format!("traefik.{key}"), value)]);

        let last = option.path.rsplit('.').next().unwrap();
        let wanted = format!("\"{last}\":");
        assert!(own.problems.is_empty(), "{key}: {:?}", own.problems);
        assert!(json(&own).contains(&wanted), "{key}: {}", json(&own));
        assert!(is_left_out(&theirs), "{key}");
        assert!(theirs.problems[0].to_string().contains(&format!("wharf.{key}")), "{key}");
    }
}

#[test]
fn keys_of_a_deploy_are_taken_under_wharfs_own_root_and_do_nothing_under_the_other() {
    let rule = ("traefik.http.routers.r.rule", "Host(`a.test`)");
    let own: Vec<_> =
        wharf::labels::own_options().filter(|own| own.path.starts_with("deploy.")).collect();
    let good = |option: &KnownOption| match option.kind {
        "duration" => "47s",
        "int" => "47",
        "bool" => "true",
        "string" => "v2",
        kind => panic!("{}: {kind}", option.path),
    };
    let all = |root: &str| -> Vec<_> {
        own.iter().map(|option| (format!("{root}.{}", option.path), good(option))).collect()
    };
    for (root, count) in [("wharf", 0), ("traefik", own.len())] {
        let labels = all(root);
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        let desired = decode_whole(&[&[rule], &labels[..]].concat());

        assert_eq!(desired.problems.len(), count, "{root}: {:?}", desired.problems);
        assert!(!is_left_out(&desired), "{root}");
    }
    for option in &own {
        let wrong = decode_whole(&[rule, (&format!("wharf.{}.x", option.path), "1")]);
        assert!(is_left_out(&wrong), "{}", option.path);
        assert!(wrong.problems[0].to_string().contains(&*option.path), "{:?}", wrong.problems);
    }
}

#[test]
fn every_table_of_the_crate_has_five_columns_known_states_and_each_key_once() {
    for table in [
        include_str!("../src/labels/known.tsv"),
        include_str!("../src/labels/own.tsv"),
        include_str!("../src/middleware/known.tsv"),
        include_str!("../src/provider/file/known.tsv"),
        include_str!("../src/settings/known.tsv"),
    ] {
        let mut seen = BTreeSet::new();
        for line in table.lines().skip(1) {
            let columns: Vec<_> = line.split('\t').collect();
            let [state, path, kind, default, meaning] = columns[..] else { panic!("{line}") };
            assert!(matches!(state, "built" | "later" | "removed" | "ignored"), "{line}");
            assert!(![path, kind, default, meaning].contains(&""), "{line}");
            assert!(seen.insert(path.to_lowercase()), "twice: {path}");
        }
    }
}
