use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::super::{Key, Switch, label};
use super::*;
use crate::problem::{ContainerRef, Origin};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Router {
    rule: String,
    entry_points: Vec<String>,
    priority: i64,
    port: Option<u16>,
    ratio: f64,
    is_on: bool,
    mode: Mode,
    #[serde(deserialize_with = "switch")]
    tls: Option<Tls>,
    check: Option<Check>,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Tls {
    options: String,
    domains: Vec<Domain>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Domain {
    main: String,
    sans: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Check {
    path: String,
    #[serde(default)]
    status: u16,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Keep,
    Drop,
}

fn tree(labels: &[(&str, &str)]) -> Node {
    let container = ContainerRef { name: "web-1".into(), id: "0123456789abcdef".into() };
    let mut root = Node::new(Origin::Container(container.clone()));
    for (key, value) in labels {
        label(&mut root, &container, &format!("traefik.{key}"), value).unwrap();
    }
    root
}

fn read<T: DeserializeOwned>(labels: &[(&str, &str)]) -> (Option<T>, Vec<String>) {
    let mut problems = Vec::new();
    let value = decode(&tree(labels), &mut problems);
    let texts = problems.iter().map(|problem| match &problem.mend {
        Some(mend) => format!("{}; {mend}", problem.text),
        None => problem.text.to_string(),
    });
    (value, texts.collect())
}

#[test]
fn keys_match_in_any_case_and_map_keys_keep_theirs() {
    let (router, problems) = read::<Router>(&[
        ("RULE", "Path(`/`)"),
        ("entrypoints", "web, websecure"),
        ("priority", "7"),
        ("port", "80"),
        ("ratio", "0.5"),
        ("ison", "T"),
        ("mode", "DROP"),
        ("tls", "true"),
        ("tls.Domains[0].main", "a.org"),
        ("tls.domains[0].sans", "b.org,c.org"),
        ("tls.domains[10].main", "z.org"),
        ("tls.domains[2].main", "d.org"),
        ("headers.X-Custom", "1"),
    ]);

    assert_eq!(problems, Vec::<String>::new());
    let router = router.unwrap();
    assert_eq!(router.rule, "Path(`/`)");
    assert_eq!(router.entry_points, ["web", "websecure"]);
    assert_eq!((router.priority, router.port, router.ratio), (7, Some(80), 0.5));
    assert!(router.is_on);
    assert_eq!(router.mode, Mode::Drop);
    let tls = router.tls.unwrap();
    let mains: Vec<&str> = tls.domains.iter().map(|domain| &*domain.main).collect();
    assert_eq!(mains, ["a.org", "d.org", "z.org"]);
    assert_eq!(tls.domains[0].sans, ["b.org", "c.org"]);
    assert_eq!(router.headers["X-Custom"], "1");
}

#[test]
fn every_unknown_key_and_every_bad_value_is_named() {
    let (router, problems) = read::<Router>(&[
        ("rul", "x"),
        ("prority", "1"),
        ("port", "99999"),
        ("priority", "abc"),
        ("ison", "maybe"),
        ("mode", "redact"),
        ("tls.optoins", "x"),
        ("rule.deep", "x"),
    ]);

    assert_eq!(router, None);
    let expected = [
        "no such key `rul`; did you mean `rule`?",
        "no such key `prority`; did you mean `priority`?",
        "`port` takes a whole number from 0 to 65535, not \"99999\"; \
         write a number without unit or fraction, such as 10",
        "`priority` takes a whole number, not \"abc\"; write a number without unit or fraction, such as 10",
        "`ison` takes true or false, not \"maybe\"; write true or false",
        "`mode` takes keep or drop, not \"redact\"; write `keep` or another of these",
        "no such key `tls.optoins`; did you mean `options`?",
        "`rule` takes one text, not keys below it; write one text",
    ];
    for text in expected {
        assert!(problems.iter().any(|problem| problem == text), "{text}: {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn a_switch_is_on_with_true_and_off_with_anything_else() {
    for (value, is_on, warnings) in
        [("true", true, 0), ("TRUE", true, 0), ("", true, 0), ("false", false, 0), ("1", false, 1)]
    {
        let (router, problems) = read::<Router>(&[("tls", value)]);
        assert_eq!(router.unwrap().tls.is_some(), is_on, "{value}");
        assert_eq!(problems.len(), warnings, "{value}");
    }

    let (router, problems) = read::<Router>(&[("tls", "false"), ("tls.options", "x")]);

    assert_eq!(router.unwrap().tls, None);
    assert_eq!(
        problems,
        ["\"false\" switches `tls` and all keys below it off; `tls` is on with the value true"]
    );
}

#[test]
fn a_switch_may_be_the_whole_node() {
    let node = tree(&[("compress", "true")]);

    let decoded = decode::<Switch<Tls>>(node.child("compress").unwrap(), &mut Vec::new());

    assert_eq!(decoded, Some(Switch(Some(Tls::default()))));
}

#[test]
fn other_sections_cannot_stand_alone() {
    let (router, problems) = read::<Router>(&[("check", "true"), ("headers", "x")]);

    assert_eq!(router, None);
    assert!(problems[0].contains("check cannot be a standalone element"), "{problems:?}");
    assert!(problems[1].contains("headers cannot be a standalone element"), "{problems:?}");
}

#[test]
fn a_required_key_is_asked_for() {
    let (_, problems) = read::<Router>(&[("check.status", "200")]);

    assert_eq!(problems, ["`check` needs `path`, which is not set; set `path`"]);
}

fn nodes() -> impl Strategy<Value = Node> {
    let key = prop_oneof![
        "[a-z]{0,3}",
        "\\[[0-9]{1,2}\\]",
        Just("rule".to_owned()),
        Just("tls".to_owned()),
        Just("domains".to_owned()),
        Just("check".to_owned()),
        Just("headers".to_owned()),
        Just("priority".to_owned()),
        Just("port".to_owned()),
        Just("mode".to_owned()),
        Just("entryPoints".to_owned()),
    ];
    let value =
        proptest::option::of(prop_oneof!["[ -~]{0,6}", "-?[0-9]{1,25}", Just("true".to_owned())]);
    let leaf = value
        .clone()
        .prop_map(|value| Node { value: value.map(Into::into), ..Node::new(Origin::Internal) });
    leaf.prop_recursive(4, 32, 6, move |inner| {
        (value.clone(), proptest::collection::vec((key.clone(), inner), 0..6)).prop_map(
            |(value, children)| Node {
                origin: Origin::Internal,
                value: value.map(Into::into),
                children: children.into_iter().map(|(key, node)| (Key(key.into()), node)).collect(),
            },
        )
    })
}

proptest! {
    #[test]
    fn no_tree_makes_the_decoder_panic_or_fail_without_a_word(node in nodes()) {
        let mut problems = Vec::new();
        let decoded = decode::<Router>(&node, &mut problems);
        prop_assert!(decoded.is_some() || !problems.is_empty());

        let mut problems = Vec::new();
        let decoded = decode::<Switch<Router>>(&node, &mut problems);
        prop_assert!(decoded.is_some() || !problems.is_empty());
    }
}
