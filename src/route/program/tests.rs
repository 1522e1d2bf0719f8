use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::super::index::Index;
use super::super::trie::Span;
use super::*;
use crate::rule::{self, Syntax};

fn program(rule: &str) -> Program {
    Program::compile(&rule::parse(rule, Syntax::V3).unwrap()).unwrap()
}

fn v2(rule: &str) -> Program {
    Program::compile(&rule::parse(rule, Syntax::V2).unwrap()).unwrap()
}

fn view<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> View<'a> {
    let peer = IpAddr::from([10, 0, 0, 1]);
    let query = "a=1&flag";
    View { host, alias: None, path, query, method: &Method::GET, headers, peer, tls: false }
}

#[test]
fn hosts_match_by_their_alias_too() {
    let headers = HeaderMap::new();
    let request = View { alias: Some("b.net"), ..view("a.example.org", "/", &headers) };
    for (rule, wanted) in [
        ("Host(`a.example.org`)", true),
        ("Host(`b.net`)", true),
        ("Host(`*.net`)", true),
        ("Host(`a.example.org`) && Host(`b.net`)", true),
        ("!Host(`b.net`)", false),
        ("Host(`c.net`)", false),
        ("HostRegexp(`net$`)", true),
        ("HostRegexp(`^a`)", true),
        ("HostRegexp(`^c`)", false),
    ] {
        assert_eq!(program(rule).matches(&request, Separators::default()), wanted, "{rule}");
    }
    assert!(v2("Host(`b.net`)").matches(&request, Separators::default()));
    assert!(!v2("HostRegexp(`{sub:b}.net`)").matches(&request, Separators::default()));
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

/// The answers are those of Traefik 3.7.15.
#[test]
fn v2_matchers_match_as_in_traefik() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("1"));
    headers.append("x-a", HeaderValue::from_static("two"));
    headers.append("x-b", HeaderValue::from_static("2"));
    let request = view("a.example.org", "/a/12/x", &headers);
    let cases = [
        ("Host(`b.test`, `A.Example.org`)", true),
        ("Host(`*.example.org`)", false),
        ("Host(`*`)", false),
        ("HostHeader(`a.example.org.`)", true),
        ("HostHeader(`b`, `c`)", false),
        ("HostRegexp(`{sub:[A-Z]+}.example.org`)", true),
        ("HostRegexp(`{sub}.org`)", false),
        ("HostRegexp(`x`, `{any:.+}`)", true),
        ("HostRegexp(`a.example.org:80`)", false),
        ("Path(`/a/12/x`, `/b`)", true),
        ("Path(`/a/{id:[0-9]+}/{rest}`)", true),
        ("Path(`/a/{id:[0-9]+}`)", false),
        ("PathPrefix(`/b`, `/a/{id:[0-9]+}`)", true),
        ("PathPrefix(`/{x:b|c}`)", false),
        ("Method(`post`, `get`)", true),
        ("Headers(`X-A`, `1`, `X-B`, `2`)", true),
        ("Headers(`X-A`, `1`, `X-B`, `1`)", false),
        ("Headers(`X-A`, `3`, `X-A`, `two`)", true),
        ("HeadersRegexp(`X-A`, `^t`)", true),
        ("Query(`a=1`)", true),
        ("Query(`a=`, `flag=`)", true),
        ("Query(`a=2`)", false),
        ("Query(`a={x:[0-9]+}`)", true),
        ("Query(`none={x}`)", false),
        ("ClientIP(`192.168.0.0/16`, `10.0.0.0/8`)", true),
        ("!(Host(`a.example.org`) || Path(`/x`)) || host(`a.example.org`)", true),
    ];
    for (rule, expected) in cases {
        assert_eq!(v2(rule).matches(&request, Separators::default()), expected, "{rule}");
    }

    let twice = View { query: "a=2&a=1", ..request };
    assert!(!v2("Query(`a=1`)").matches(&twice, Separators::default()));
}

#[test]
fn v2_rules_stand_where_they_can_match() {
    let places = |rule: &str| v2(rule).places().to_vec();

    let lists = places("Host(`a`, `b`) && PathPrefix(`/x`, `/y/{id}`)");
    assert_eq!(lists.len(), 4);
    assert!(lists.iter().any(|place| &*place.path == "/y/" && place.span == Span::Below));
    assert_eq!(v2("Host(`A`, `b`) || HostHeader(`c`) || HostRegexp(`d`)").hosts(), ["a", "b"]);
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
        assert_eq!(
            Program::compile(&rule::parse(rule, Syntax::V3).unwrap()).unwrap_err().text,
            text
        );
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

fn leaves() -> impl Strategy<Value = String> {
    prop_oneof![
        "(a|b|c)(\\.(a|b))?".prop_map(|host| format!("Host(`{host}`)")),
        "\\*(\\.(a|b))?".prop_map(|host| format!("Host(`{host}`)")),
        "[abc]".prop_map(|text| format!("HostRegexp(`{text}`)")),
        "(/[ab]{0,2}){1,3}".prop_map(|path| format!("PathPrefix(`{path}`)")),
        "(/[ab]{0,2}){1,3}".prop_map(|path| format!("Path(`{path}`)")),
        "[ab]".prop_map(|text| format!("PathRegexp(`{text}$`)")),
        Just("Method(`GET`)".to_owned()),
        Just("Method(`POST`)".to_owned()),
    ]
}

fn v2_leaves() -> impl Strategy<Value = String> {
    let template = || "(/([ab]{0,2}|\\{x\\}|\\{y:a\\|b\\})){1,3}";
    prop_oneof![
        "(a|b|c)(\\.(a|b))?`, `[abc]".prop_map(|hosts| format!("Host(`{hosts}`)")),
        "\\*(\\.(a|b))?".prop_map(|host| format!("Host(`{host}`)")),
        "(\\{x\\}|\\{y:a\\|b\\}|[abc])(\\.(a|b))?".prop_map(|host| format!("HostRegexp(`{host}`)")),
        template().prop_map(|path| format!("PathPrefix(`{path}`, `/b`)")),
        (template(), template()).prop_map(|(one, two)| format!("Path(`{one}`, `{two}`)")),
        Just("Query(`a=1`, `flag=`)".to_owned()),
        Just("Method(`POST`, `GET`)".to_owned()),
    ]
}

/// Rules of both syntaxes, as they stand beside each other on one entry point.
fn programs() -> impl Strategy<Value = Program> {
    prop_oneof![
        nested(leaves().boxed()).prop_map(|rule| program(&rule)),
        nested(v2_leaves().boxed()).prop_map(|rule| v2(&rule)),
    ]
}

fn nested(leaf: BoxedStrategy<String>) -> impl Strategy<Value = String> {
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
        programs in prop::collection::vec(programs(), 0..12),
        requests in prop::collection::vec(
            (
                "((a|b|c)(\\.(a|b)){0,2})?",
                prop::option::of("(a|b|c)(\\.(a|b)){0,2}"),
                "(/[ab]{0,2}){1,4}",
            ),
            1..12,
        ),
    ) {
        let index = Index::build(programs.iter().map(Program::places));
        let headers = HeaderMap::new();
        for (host, alias, path) in &requests {
            let alias = alias.as_deref();
            let view = View { alias, ..view(host, path, &headers) };
            let mut accepts = |rank: usize| programs[rank].matches(&view, Separators::default());

            let scanned = (0..programs.len()).find(|rank| accepts(*rank));

            let found = index.first_of_both(host, alias, path, &mut accepts);
            prop_assert_eq!(found, scanned, "{} {:?} {}", host, alias, path);
        }
    }
}
