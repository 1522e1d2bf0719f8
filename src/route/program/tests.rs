use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::super::index::Index;
use super::*;
use crate::rule;

fn program(rule: &str) -> Program {
    Program::compile(&rule::parse(rule).unwrap()).unwrap()
}

fn view<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> View<'a> {
    let peer = IpAddr::from([10, 0, 0, 1]);
    View { host, path, query: "a=1&flag", method: &Method::GET, headers, peer, tls: false }
}

#[test]
fn matchers_match_as_in_traefik() {
    let mut headers = HeaderMap::new();
    headers.append("x-kind", HeaderValue::from_static("one"));
    headers.append("x-kind", HeaderValue::from_static("two, three"));
    headers.append("host", HeaderValue::from_static("a.example.org"));
    let request = view("a.example.org", "/pre/Fix", &headers);
    let cases = [
        ("Host(`A.Example.org`)", true),
        ("Host(`a.example.org.`)", true),
        ("Host(`*.example.org`)", true),
        ("Host(`*.org`)", false),
        ("Host(`*`)", true),
        ("Host(`example.org`)", false),
        ("HostRegexp(`^[a-z]\\.ex`)", true),
        ("HostRegexp(`EX`)", false),
        ("Path(`/pre/Fix`)", true),
        ("Path(`/pre/fix`)", false),
        ("Path(`/pre/Fix/`)", false),
        ("PathPrefix(`/pr`)", true),
        ("PathRegexp(`F.x$`)", true),
        ("Method(`get`)", true),
        ("Method(`POST`)", false),
        ("Header(`X-Kind`, `one`)", true),
        ("Header(`x-kind`, `two`)", false),
        ("Header(`x-kind`, `two, three`)", true),
        ("Header(`Host`, `a.example.org`)", false),
        ("Header(`not a name`, `x`)", false),
        ("HeaderRegexp(`X-Kind`, `thr`)", true),
        ("Query(`a`, `1`)", true),
        ("Query(`a`)", false),
        ("Query(`flag`)", true),
        ("QueryRegexp(`a`, `^\\d$`)", true),
        ("QueryRegexp(`flag`)", true),
        ("ClientIP(`10.0.0.1`)", true),
        ("ClientIP(`10.9.9.9/8`)", true),
        ("ClientIP(`::ffff:10.0.0.1`)", true),
        ("ClientIP(`fe80::/10`)", false),
        ("!Host(`*`) || (Path(`/x`) || PathPrefix(`/`)) && !Method(`POST`)", true),
    ];

    for (rule, expected) in cases {
        assert_eq!(program(rule).matches(&request, Separators::default()), expected, "{rule}");
    }
}

#[test]
fn a_request_without_host_matches_the_star_only() {
    let headers = HeaderMap::new();
    for (rule, expected) in
        [("Host(`*`)", true), ("Host(`.`)", false), ("HostRegexp(`^.+$`)", false)]
    {
        let matched = program(rule).matches(&view("", "/", &headers), Separators::default());
        assert_eq!(matched, expected, "{rule}");
    }
}

#[test]
fn arguments_that_do_not_compile_are_named_in_traefik_words() {
    let cases = [
        (
            "HostRegexp(`(`)",
            "error while adding rule HostRegexp: compiling HostRegexp matcher: \
             error parsing regexp: missing closing ): `(`",
        ),
        (
            "ClientIP(`zz`)",
            "error while adding rule ClientIP: initializing IP checker for ClientIP matcher: \
             parsing CIDR trusted IPs <nil>: invalid CIDR address: zz",
        ),
    ];
    for (rule, text) in cases {
        assert_eq!(Program::compile(&rule::parse(rule).unwrap()).unwrap_err().text, text);
    }
}

#[test]
fn a_rule_stands_only_where_it_can_match() {
    let places = |rule: &str| program(rule).places().len();

    assert_eq!(places("Host(`a`) && (PathPrefix(`/x`) || PathPrefix(`/y`))"), 2);
    assert_eq!(
        places("(Host(`a`) || Host(`b`)) && (Path(`/x`) || Path(`/y`)) && Method(`GET`)"),
        4
    );
    assert_eq!(places("!(Host(`a`) || Host(`b`))"), 1);
    let many: Vec<_> = (0..9).map(|n| format!("Host(`{n}`)")).collect();
    let many = many.join(" || ");
    assert_eq!(places(&format!("({many}) && ({many})")), 1);
}

fn rules() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "(a|b|c)(\\.(a|b))?".prop_map(|host| format!("Host(`{host}`)")),
        "\\*(\\.(a|b))?".prop_map(|host| format!("Host(`{host}`)")),
        "[abc]".prop_map(|text| format!("HostRegexp(`{text}`)")),
        "(/[ab]{0,2}){1,3}".prop_map(|path| format!("PathPrefix(`{path}`)")),
        "(/[ab]{0,2}){1,3}".prop_map(|path| format!("Path(`{path}`)")),
        "[ab]".prop_map(|text| format!("PathRegexp(`{text}$`)")),
        Just("Method(`GET`)".to_owned()),
        Just("Method(`POST`)".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone().prop_map(|(a, b)| format!("({a} && {b})")),
            two.prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|one| format!("!{one}")),
        ]
    })
}

proptest! {
    #[test]
    fn the_index_finds_what_a_linear_scan_finds(
        rules in prop::collection::vec(rules(), 0..12),
        requests in prop::collection::vec(("((a|b|c)(\\.(a|b)){0,2})?", "(/[ab]{0,2}){1,4}"), 1..12),
    ) {
        let programs: Vec<_> = rules.iter().map(|rule| program(rule)).collect();
        let index = Index::build(programs.iter().map(Program::places));
        let headers = HeaderMap::new();
        for (host, path) in &requests {
            let view = view(host, path, &headers);
            let mut accepts = |rank: usize| programs[rank].matches(&view, Separators::default());

            let scanned = (0..programs.len()).find(|rank| accepts(*rank));

            prop_assert_eq!(index.first(host, path, &mut accepts), scanned, "{} {}", host, path);
        }
    }
}
