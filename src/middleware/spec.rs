//! Reading a declared middleware: which kind it is, and its settings.

use std::sync::LazyLock;

use super::{KINDS, Middleware, Spec};
use crate::problem::{Code, Problem};
use crate::tree::known::{KnownOption, Schema, State, rows};
use crate::tree::suggest::nearest;
use crate::tree::{self, Node};

/// Every option of every kind that Traefik knows. Those of a kind without a row in the
/// `middlewares!` table are not built, whatever else is said of them.
pub fn options() -> impl Iterator<Item = KnownOption> {
    rows(include_str!("known.tsv")).map(|option| {
        let kind = option.path.split('.').next().unwrap_or_default();
        let is_built = KINDS.iter().any(|(known, _)| *known == kind);
        let state = if is_built { option.state } else { State::Later };
        KnownOption { state, ..option }
    })
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(rows(include_str!("known.tsv"))));

impl Spec {
    /// Reads `middlewares.<name>`: exactly one kind below it. `None` when anything in it
    /// can't be understood; the problems say what.
    pub fn decode(node: &Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut kinds = node.children.iter();
        let Some((key, section)) = kinds.next() else {
            problems.push(
                Problem::error(Code::BadValue, node.origin.clone(), "a middleware without a kind")
                    .mend("set one of its kinds, such as `stripPrefix.prefixes`"),
            );
            return None;
        };
        if let Some((second, other)) = kinds.next() {
            problems.push(
                Problem::error(
                    Code::BadValue,
                    other.origin.clone(),
                    format!("one middleware with two kinds, `{}` and `{}`", key.0, second.0),
                )
                .mend("declare two middlewares and list both on the router"),
            );
            return None;
        }
        if let Some(spec) = Self::section(&key.0, section, problems) {
            return spec;
        }
        problems.push(unknown(&key.0, section));
        None
    }
}

fn unknown(key: &str, section: &Node) -> Problem {
    let origin = section.origin.clone();
    if let Some(known) = SCHEMA.words().find(|known| known.eq_ignore_ascii_case(key)) {
        return Problem::error(
            Code::NotBuilt,
            origin,
            format!("the middleware kind `{known}` is Traefik's and not built yet"),
        )
        .mend("take it off, and off the routers that use it");
    }
    let problem = Problem::error(Code::UnknownKey, origin, format!("no middleware kind `{key}`"));
    if let Some(nearest) = nearest(key, SCHEMA.words()) {
        return problem.mend(format!("did you mean `{nearest}`?"));
    }
    let built: Vec<_> = KINDS.iter().map(|(key, _)| *key).collect();
    problem.mend(format!("the kinds are `{}`", built.join("`, `")))
}

/// Decodes the section of one kind.
pub(super) fn settings<M: Middleware>(
    kind: &str,
    node: &Node,
    problems: &mut Vec<Problem>,
) -> Option<M::Settings> {
    let refused = match node.value.as_deref().map(str::trim) {
        None => node.children.is_empty() && !M::STANDS_ALONE,
        Some(value) => {
            !M::STANDS_ALONE || !(value.is_empty() || value.eq_ignore_ascii_case("true"))
        }
    };
    if refused {
        problems.push(alone::<M>(kind, node));
        return None;
    }
    for (key, mend) in M::DEPRECATED {
        if let Some((_, child)) = node.children.iter().find(|(k, _)| k.0.eq_ignore_ascii_case(key))
        {
            let text = format!("`{kind}.{key}` is deprecated and has no effect");
            problems.push(Problem::warning(Code::Notice, child.origin.clone(), text).mend(*mend));
        }
    }
    let known = SCHEMA.child(kind).map(|schema| schema.refused(node)).unwrap_or_default();
    let refused = known.into_iter().map(|(path, node, _)| {
        let text = format!("`{kind}.{path}` is an option of Traefik's and not built yet");
        Problem::error(Code::NotBuilt, node.origin.clone(), text).mend("take it off")
    });
    let count = problems.len();
    problems.extend(refused);
    if problems.len() > count {
        return None;
    }
    let section = Node { value: None, ..node.clone() };
    let settings: M::Settings = tree::decode(&section, problems)?;
    for remark in M::remarks(&settings) {
        problems.push(Problem::warning(Code::Notice, node.origin.clone(), remark));
    }
    Some(settings)
}

fn alone<M: Middleware>(kind: &str, node: &Node) -> Problem {
    let value = node.value.as_deref().unwrap_or_default();
    let (text, mend) = if M::STANDS_ALONE {
        (format!("{value:?} does not switch `{kind}` on"), "write `true`, or set its options")
    } else {
        (format!("{kind} cannot be a standalone element"), "set at least one of its options")
    };
    Problem::error(Code::BadValue, node.origin.clone(), text).mend(mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{ContainerRef, Origin, Severity};

    /// What labels of a middleware `m` come to, and the problems as `severity code text`.
    fn decode(labels: &[(&str, &str)]) -> (Option<Spec>, Vec<String>) {
        let container = ContainerRef { name: "c".into(), id: "0".into() };
        let mut root = Node::new(Origin::Internal);
        for (key, value) in labels {
            let origin = Origin::Label { container: container.clone(), key: (*key).into() };
            root.insert(key, value, origin).unwrap();
        }
        let mut problems = Vec::new();
        let spec = Spec::decode(&root, &mut problems);
        let texts = problems.iter().map(|problem| {
            let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
            let mend = problem.mend.as_deref().unwrap_or_default();
            format!("{severity} {}: {}; {mend}", problem.code.as_str(), problem.text)
        });
        (spec, texts.collect())
    }

    #[test]
    fn every_kind_decodes_with_its_defaults_and_prints_as_the_api_does() {
        for (labels, json) in [
            (
                &[("stripprefix.prefixes", "/api, /v2/")][..],
                r#"{"stripPrefix":{"prefixes":["/api","/v2/"]}}"#,
            ),
            (&[("compress", "true")], r#"{"compress":{"encodings":["gzip","br","zstd"]}}"#),
            (
                &[("compress.minresponsebodybytes", "10"), ("compress.encodings", "br")],
                r#"{"compress":{"minResponseBodyBytes":10,"encodings":["br"]}}"#,
            ),
            (
                &[("redirectscheme.scheme", "https"), ("redirectScheme.permanent", "T")],
                r#"{"redirectScheme":{"scheme":"https","permanent":true}}"#,
            ),
            (
                &[
                    ("ipallowlist.sourcerange", "127.0.0.0/8"),
                    ("ipallowlist.ipstrategy.excludedips", "1.2.3.4"),
                    ("ipallowlist.ipstrategy.ipv6subnet", "64"),
                ],
                r#"{"ipAllowList":{"sourceRange":["127.0.0.0/8"],"ipStrategy":{"excludedIPs":["1.2.3.4"],"ipv6Subnet":64}}}"#,
            ),
            (
                &[
                    ("headers.customresponseheaders.X-A", "b"),
                    ("headers.forcestsheader", "true"),
                    ("headers.custombrowserxssvalue", "v"),
                    ("headers.accesscontrolmaxage", "-1"),
                ],
                r#"{"headers":{"customResponseHeaders":{"X-A":"b"},"accessControlMaxAge":-1,"forceSTSHeader":true,"customBrowserXSSValue":"v"}}"#,
            ),
            (
                &[("basicauth.users", "joe:$apr1$x$y"), ("basicauth.usersfile", "/f")],
                r#"{"basicAuth":{"users":["joe:$apr1$x$y"],"usersFile":"/f"}}"#,
            ),
            (&[("chain.middlewares", "a,b@file")], r#"{"chain":{"middlewares":["a","b@file"]}}"#),
        ] {
            let (spec, problems) = decode(labels);

            assert_eq!(problems, [""; 0], "{json}");
            assert_eq!(serde_json::to_string(&spec.unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn limits_and_certificates_decode_and_print_likewise() {
        for (labels, json) in [
            (
                &[("circuitbreaker.expression", "NetworkErrorRatio() > 0.5")][..],
                r#"{"circuitBreaker":{"expression":"NetworkErrorRatio() > 0.5","checkPeriod":"100ms","fallbackDuration":"10s","recoveryDuration":"10s","responseCode":503}}"#,
            ),
            (&[("contenttype", "true")], r#"{"contentType":{}}"#),
            (
                &[("grpcweb.alloworigins", "http://a, *")],
                r#"{"grpcWeb":{"allowOrigins":["http://a","*"]}}"#,
            ),
            (
                &[
                    ("passtlsclientcert.pem", "true"),
                    ("passtlsclientcert.info.notafter", "true"),
                    ("passtlsclientcert.info.subject.commonname", "true"),
                    ("passtlsclientcert.info.issuer.domaincomponent", "true"),
                ],
                r#"{"passTLSClientCert":{"pem":true,"info":{"notAfter":true,"subject":{"commonName":true},"issuer":{"domainComponent":true}}}}"#,
            ),
            (
                &[("ratelimit.average", "100")],
                r#"{"rateLimit":{"average":100,"period":"1s","burst":1}}"#,
            ),
            (
                &[("ratelimit.redis.password", "secret"), ("ratelimit.redis.tls.key", "/k")],
                r#"{"rateLimit":{"period":"1s","burst":1,"redis":{"endpoints":["localhost:6379"],"tls":{"key":"/k"},"password":"xxxx","readTimeout":"3s","writeTimeout":"3s","dialTimeout":"5s"}}}"#,
            ),
            (
                &[
                    ("ratelimit.redis.endpoints", "a:1"),
                    ("ratelimit.redis.password", "p"),
                    ("ratelimit.redis.username", "joe"),
                    ("ratelimit.redis.db", "2"),
                    ("ratelimit.redis.poolsize", "3"),
                    ("ratelimit.redis.minidleconns", "4"),
                    ("ratelimit.redis.maxactiveconns", "5"),
                    ("ratelimit.redis.readtimeout", "0"),
                ],
                r#"{"rateLimit":{"period":"1s","burst":1,"redis":{"endpoints":["a:1"],"username":"joe","password":"xxxx","db":2,"poolSize":3,"minIdleConns":4,"maxActiveConns":5,"readTimeout":"0s","writeTimeout":"3s","dialTimeout":"5s"}}}"#,
            ),
            (
                &[
                    ("inflightreq.amount", "3"),
                    ("inflightreq.sourcecriterion.ipstrategy.depth", "2"),
                ],
                r#"{"inFlightReq":{"amount":3,"sourceCriterion":{"ipStrategy":{"depth":2}}}}"#,
            ),
        ] {
            let (spec, problems) = decode(labels);

            assert_eq!(problems, [""; 0], "{json}");
            assert_eq!(serde_json::to_string(&spec.unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn what_cannot_be_understood_is_told_by_name() {
        for (labels, problem) in [
            (
                &[("ratelimits.average", "1")][..],
                "error unknown-key: no middleware kind `ratelimits`; did you mean `rateLimit`?",
            ),
            (
                &[("stripprefixes.prefixes", "1")],
                "error unknown-key: no middleware kind `stripprefixes`; did you mean `stripPrefix`?",
            ),
            (
                &[("plugin.a.b", "c")],
                "error not-built: the middleware kind `plugin` is Traefik's and not built \
                 yet; take it off, and off the routers that use it",
            ),
            (
                &[("addprefix.prefix", "/a"), ("replacepath.path", "/b")],
                "error bad-value: one middleware with two kinds, `addprefix` and `replacepath`; \
                 declare two middlewares and list both on the router",
            ),
            (
                &[("headers", "true")],
                "error bad-value: headers cannot be a standalone element; set at least one of its \
                 options",
            ),
            (
                &[("compress", "yes")],
                "error bad-value: \"yes\" does not switch `compress` on; write `true`, or set its \
                 options",
            ),
        ] {
            let (spec, problems) = decode(labels);

            assert_eq!(spec, None);
            assert_eq!(problems, [problem]);
        }
    }

    #[test]
    fn an_unknown_option_or_a_bad_value_leaves_the_middleware_out() {
        for label in [("stripprefix.prefix", "/a"), ("headers.framedeny", "maybe")] {
            let (spec, problems) = decode(&[label]);

            assert_eq!(spec, None);
            assert_eq!(problems.len(), 1, "{problems:?}");
        }
    }

    #[test]
    fn options_without_effect_are_accepted_with_a_warning() {
        let (spec, problems) = decode(&[
            ("headers.sslredirect", "true"),
            ("headers.featurepolicy", "x"),
            ("headers.customresponseheaders.Bad Name", "x"),
        ]);

        assert!(spec.is_some());
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.starts_with("warning notice: ")));

        let (spec, problems) = decode(&[
            ("ratelimit.redis.endpoints", "a:1, b:2"),
            ("ratelimit.redis.username", "joe"),
            ("ratelimit.redis.db", "2"),
        ]);

        assert!(spec.is_some());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains(" has no effect")));
    }

    #[test]
    fn every_kind_of_the_table_has_its_options_described() {
        for (kind, _) in KINDS.iter().filter(|(kind, _)| *kind != "probe") {
            assert!(SCHEMA.words().any(|known| known == *kind), "{kind}");
        }
        for (path, state) in [
            ("stripPrefix.prefixes", State::Built),
            ("compress", State::Built),
            ("plugin.<plugin>.*", State::Later),
        ] {
            let found = options().find(|option| option.path == path);
            assert_eq!(found.map(|option| option.state), Some(state), "{path}");
        }
    }
}
