use proptest::prelude::*;

use super::*;

/// Reads a v3 rule.
fn read(text: &str) -> Result<Expr, RuleError> {
    super::parse(text, Syntax::V3)
}

fn host(name: &str) -> Expr {
    Tree::Match(Matcher::Host(name.into()))
}

#[test]
fn and_binds_tighter_than_or() {
    let tree = read("Host(`a`) || Host(`b`) && !Host(`c`)").unwrap();

    let right = Tree::And(vec![host("b"), Tree::Not(Box::new(host("c")))]);
    assert_eq!(tree, Tree::Or(vec![host("a"), right]));
}

#[test]
fn names_are_taken_in_four_spellings_only() {
    for name in ["ClientIP", "clientip", "CLIENTIP", "Clientip"] {
        assert!(read(&format!("{name}(`::1`)")).is_ok(), "{name}");
    }
    for name in ["ClientIp", "clientIP", "hOST"] {
        assert!(read(&format!("{name}(`::1`)")).is_err(), "{name}");
    }
}

#[test]
fn arguments_stand_in_back_ticks_or_double_quotes() {
    let cases = [
        ("Path(`/a\\b`)", "/a\\b"),
        (r#"Path("/a\tb")"#, "/a\tb"),
        (r#"Path("/\x41\101\u00e9\U0001F600\"\\")"#, "/AA\u{e9}\u{1F600}\"\\"),
        ("Path(\n  `/x`,\n)", "/x"),
        ("Path(`/x`) // note", "/x"),
        ("/* a */ Path(`/x`)\n", "/x"),
    ];
    for (rule, path) in cases {
        assert_eq!(read(rule), Ok(Tree::Match(Matcher::Path(path.into()))), "{rule}");
    }
}

/// The texts are those that Traefik 3.7.15 answers.
#[test]
fn errors_are_in_traefik_words() {
    let parsing = [
        ("Hostt(`a`)", "unsupported function: Hostt"),
        ("Foo", "Foo is not defined"),
        ("Host(`a`) &&", "1:13: expected operand, found 'EOF'"),
        ("Host(`a`) and Host(`b`)", "1:11: expected 'EOF', found and"),
        ("Host('ab')", "1:6: illegal rune literal"),
        ("Host(`a`", "1:9: missing ',' before newline in argument list"),
        ("Host `a`", "1:6: expected 'EOF', found `a`"),
        ("Host(a)", "a is not defined"),
        ("(Host(`a`)", "1:11: expected ')', found newline"),
        ("Host(`a`))", "1:10: expected 'EOF', found ')'"),
        ("|| Host(`a`)", "1:1: expected operand, found '||'"),
        ("Host(`a`) | Host(`b`)", "| is not supported"),
        (r#"Host("a\qb")"#, "1:9: unknown escape sequence"),
        ("Host(`a", "1:6: raw string literal not terminated"),
        ("Host(\"a", "1:6: string literal not terminated"),
        ("Host(`a`) + Host(`b`)", "+ is not supported"),
        ("", "1:1: expected operand, found 'EOF'"),
        ("()", "1:2: expected operand, found ')'"),
        ("Host(`a`) $ ", "1:11: illegal character U+0024 '$'"),
        ("Host(`a` `b`)", "1:10: missing ',' in argument list"),
        ("Host(`a`,,`b`)", "1:10: expected operand, found ','"),
        ("Host(`a`)\n&& \nPath(`/`) )", "3:11: expected 'EOF', found ')'"),
        ("Host(`a`);", "1:10: expected 'EOF', found ';'"),
    ];
    let adding = [
        (
            "Host(`a`,`b`)",
            "error while adding rule Host: unexpected number of parameters; got 2, \
             expected one of [1]",
        ),
        (
            "Query(`a`,`b`,`c`)",
            "error while adding rule Query: unexpected number of parameters; got 3, \
             expected one of [1 2]",
        ),
        ("Path(`x`)", "error while adding rule Path: path \"x\" does not start with a '/'"),
        ("Host()", "error while checking rule Host: no args for matcher Host"),
        ("Host(``)", "error while checking rule Host: empty args for matcher Host, []"),
        ("Header(``,`a`)", "error while checking rule Header: empty args for matcher Header, [ a]"),
        (
            "Host(`é.t`)",
            "error while adding rule Host: invalid value \"é.t\" for Host matcher, \
             non-ASCII characters are not allowed",
        ),
    ];

    for (rule, text) in parsing {
        let error = read(rule).unwrap_err();
        assert_eq!((error.text.as_str(), error.stage), (text, Stage::Parsing), "{rule}");
    }
    for (rule, text) in adding {
        let error = read(rule).unwrap_err();
        assert_eq!((error.text.as_str(), error.stage), (text, Stage::Adding), "{rule}");
    }
}

/// The texts are those that Traefik 3.7.15 answers.
#[test]
fn v2_errors_are_in_traefik_words() {
    let cases = [
        ("HostSNI(`a`)", "unsupported function: HostSNI"),
        ("PathRegexp(`a`)", "unsupported function: PathRegexp"),
        ("Host()", "error while checking rule Host: no args for matcher Host"),
        ("Host(`a`,``)", "error while checking rule Host: empty args for matcher Host, [a ]"),
        (
            "HostHeader(`é`)",
            "error while adding rule HostHeader: invalid value \"é\" for \"Host\" matcher, \
             non-ASCII characters are not allowed",
        ),
        (
            "HostRegexp(`é`)",
            "error while adding rule HostRegexp: invalid value \"é\" for HostRegexp matcher, \
             non-ASCII characters are not allowed",
        ),
        (
            "Path(`/a`,`b`)",
            "error while adding rule Path: mux: path must start with a slash, got \"b\"",
        ),
        ("Path(`/{x`)", "error while adding rule Path: mux: unbalanced braces in \"/{x\""),
        (
            "Headers(`a`,`b`,`c`)",
            "error while adding rule Headers: mux: number of parameters must be multiple of 2, \
             got [a b c]",
        ),
        (
            "HeadersRegexp(`a`,`(`)",
            "error while adding rule HeadersRegexp: error parsing regexp: missing closing ): `(`",
        ),
        (
            "Query(`a=x`,`b`)",
            "error while adding rule Query: mux: number of parameters must be multiple of 2, \
             got [a x b]",
        ),
        ("Query(`a={`)", "error while adding rule Query: mux: unbalanced braces in \"a={\""),
        (
            "ClientIP(`::1`,`zz`)",
            "error while adding rule ClientIP: could not initialize IP Checker for \"ClientIP\" \
             matcher: parsing CIDR trusted IPs <nil>: invalid CIDR address: zz",
        ),
    ];
    for (rule, text) in cases {
        assert_eq!(parse(rule, Syntax::V2).unwrap_err().text, text, "{rule}");
    }

    let mend = |rule: &str| parse(rule, Syntax::V2).unwrap_err().mend.unwrap();
    assert_eq!(mend("Header(`a`, `b`)"), "did you mean `Headers`? (`Header` is of the v3 syntax)");
    assert_eq!(mend("Hots(`a`)"), "did you mean `Host`?");
}

#[test]
fn errors_point_at_the_place_and_say_how_to_mend_it() {
    let cases = [
        ("Host(`a`) && Hots(`b`)", "Hots", "did you mean `Host`?"),
        ("Host(`a`) and Host(`b`)", "and", "did you mean `&&`?"),
        ("Host(`a`, `b`)", "Host(`a`, `b`)", "write Host(`a`) || Host(`b`)"),
        ("Host('a')", "'a'", "put arguments in back-ticks: Host(`example.org`)"),
        ("Path(`x`)", "Path(`x`)", "did you mean `/x`?"),
        ("Headers(`a`, `b`)", "Headers", "did you mean `Header`? (`Headers` is of the v2 syntax)"),
    ];

    for (rule, place, mend) in cases {
        let error = read(rule).unwrap_err();
        assert_eq!(rule.get(error.span.clone()), Some(place), "{rule}");
        assert_eq!(error.mend.as_deref(), Some(mend), "{rule}");
    }
}

#[test]
fn long_and_deep_rules_are_refused() {
    let nested = |depth: usize| format!("{}Host(`a`){}", "(".repeat(depth), ")".repeat(depth));

    assert!(read(&nested(64)).is_ok());
    assert!(read(&nested(65)).unwrap_err().text.contains("more than 64"));
    assert!(read(&format!("{}Host(`a`)", "!".repeat(10_000))).is_err());
    assert!(read(&format!("Host(`{}`)", "a".repeat(17_000))).unwrap_err().text.contains("16384"));
}

fn argument() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "\\PC{1,8}", any::<String>()]
        .prop_filter("empty", |text| !text.is_empty())
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let path = || argument().prop_map(|text| format!("/{text}"));
    prop_oneof![
        "[!-~]{1,9}".prop_map(Matcher::Host),
        "[!-~]{1,9}".prop_map(Matcher::HostRegexp),
        path().prop_map(Matcher::Path),
        path().prop_map(Matcher::PathPrefix),
        argument().prop_map(Matcher::PathRegexp),
        argument().prop_map(Matcher::Method),
        (argument(), argument()).prop_map(|(a, b)| Matcher::Header(a, b)),
        (argument(), argument()).prop_map(|(a, b)| Matcher::HeaderRegexp(a, b)),
        (argument(), prop::option::of(argument())).prop_map(|(a, b)| Matcher::Query(a, b)),
        (argument(), prop::option::of(argument())).prop_map(|(a, b)| Matcher::QueryRegexp(a, b)),
        argument().prop_map(Matcher::ClientIp),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    matcher().prop_map(Tree::Match).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| Tree::Not(Box::new(one))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Tree::And),
            prop::collection::vec(inner, 2..4).prop_map(Tree::Or),
        ]
    })
}

proptest! {
    #[test]
    fn printed_rules_parse_to_the_same_tree(expr in expr()) {
        prop_assert_eq!(read(&expr.to_string()), Ok(expr));
    }

    #[test]
    fn no_text_panics(text in any::<String>(), near in "[HostPah()`\"'&|!,\\\\x0-9\\n é]{0,40}") {
        for rule in [&text, &near] {
            for syntax in [Syntax::V3, Syntax::V2] {
                if let Err(error) = parse(rule, syntax) {
                    prop_assert!(rule.get(error.span.clone()).is_some(), "{:?}", error);
                }
            }
        }
        let _ = regexp::compile(&text);
        let _ = regexp::compile(&near);
    }
}
