//! What is fuzzed: seeds, words of the grammar, and what must hold of every answer.

use std::cell::Cell;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use wharf::dns;
use wharf::message::trace::{Parent, redact};
use wharf::message::{Aliases, Connection, EntryPoint, StatusRanges, forwarded, hop, host, path};
use wharf::middleware::predicate::{self, Function, Kind, Value};
use wharf::model::Router;
use wharf::problem::{ContainerRef, Origin};
use wharf::redis::resp;
use wharf::route::Program;
use wharf::rule::{self, Syntax, constraint};
use wharf::settings::GoDuration;
use wharf::spiffe::{Id, Svid, TrustDomain};
use wharf::tree::{self, Node};

/// One parser.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) seeds: &'static [&'static str],
    pub(crate) words: &'static [&'static str],
    pub(crate) check: fn(&[u8]),
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "DNS servers",
        seeds: &[
            "search a.test\nnameserver 192.0.2.1\nnameserver 2001:db8::1\noptions ndots:5",
            "[2001:db8::1]:5353",
            "dns.a.test:53",
        ],
        words: &["nameserver ", ":", "[", "]", "%", "\n", "53", "::1", "."],
        check: |input| {
            let text = text(input);
            drop(dns::configured(&text));
            if let Ok(server) = text.parse::<dns::Server>() {
                assert_eq!(server.to_string().parse(), Ok(server));
            }
        },
    },
    Target {
        name: "rule",
        seeds: &[
            "Host(`a.test`) && (PathPrefix(`/api`) || !Method(\"GET\"))",
            "HostRegexp(`^[a-z]+\\.test$`) || Query(`a`, `b`) && ClientIP(`10.0.0.0/8`)",
            "Header(`X-A`, `b`) && HeaderRegexp(\"X-B\", \"\\\"c\\\"\")",
        ],
        words: &[
            "Host(`",
            "`)",
            " && ",
            " || ",
            "!",
            "(",
            ")",
            "PathRegexp(",
            "\"",
            "\\u00e9",
            "host(",
        ],
        check: check_rule,
    },
    Target {
        name: "v2 rule",
        seeds: &[
            "Host(`a.test`, `b.test`) && Path(`/a/{id:[0-9]{2}}`, `/b`)",
            "HostRegexp(`{sub:[a-z]+}.test`) || Query(`a=1`, `b={x}`) && ClientIP(`::1`)",
            "Headers(`X-A`, `b`) && !HeadersRegexp(`X-B`, `^c`)",
        ],
        words: &[
            "{",
            "}",
            ":",
            "{x:",
            "`, `",
            "Host(`",
            "`)",
            " && ",
            "=",
            "(",
            "[",
            "PathPrefix(`/",
        ],
        check: |input| {
            let text = text(input);
            match rule::parse(&text, Syntax::V2) {
                Ok(expr) => drop(Program::compile(&expr).map(|program| program.hosts())),
                Err(error) => {
                    assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                }
            }
        },
    },
    Target {
        name: "trace",
        seeds: &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1&b=%20&c+d=;&=x"],
        words: &["00-", "-", "ff", "0000000000000000", "%", "&", "=", "+", ";"],
        check: check_trace,
    },
    Target {
        name: "constraint",
        seeds: &["Label(`a`, `b`) && !LabelRegex(`c`, `^d+$`)"],
        words: &["Label(`", "`, `", "`)", "LabelRegex(", " && ", "||", "!"],
        check: |input| {
            if let Ok(constraint) = constraint::parse(&text(input)) {
                let _ = constraint.matches(&[("a".to_owned(), "b".to_owned())].into());
            }
        },
    },
    Target {
        name: "predicate",
        seeds: &[
            "ResponseCodeRatio(500, 600, 0, 600) > 0.3 && !(IsNetworkError() || Attempts() <= 2)",
            "LatencyAtQuantileMS(50.0) >= 100 || RequestMethod() == \"GET\" && Attempts() != 1",
        ],
        words: &[
            "(",
            ")",
            ",",
            "!",
            "&&",
            " || ",
            "<=",
            "==",
            "Attempts()",
            "1e9",
            ".5",
            "\"",
            "0x",
        ],
        check: check_predicate,
    },
    Target {
        name: "duration",
        seeds: &["1h2m3.5s", "-10ms", "90", "1.5us"],
        words: &["9", "h", "ms", "\u{b5}s", ".", "-", "+", "e9", "99999999999"],
        check: |input| {
            if let Ok(duration) = text(input).parse::<GoDuration>() {
                assert_eq!(duration.to_string().parse(), Ok(duration), "prints what it reads");
            }
        },
    },
    Target {
        name: "statuses",
        seeds: &["404", "500-599", "599-500-1"],
        words: &["-", "9", "+", "99999999999999999999", " "],
        check: |input| {
            let texts = [text(input)];
            if let Ok(ranges) = StatusRanges::parse(&texts) {
                let holds = (100..=999).any(|code| {
                    http::StatusCode::from_u16(code).is_ok_and(|status| ranges.contain(status))
                });
                let is_inverted = StatusRanges::inverted(&texts).next().is_some();
                assert!(!(holds && is_inverted), "{texts:?}");
                assert!(!holds || ranges.width() > 0, "{texts:?}");
            }
        },
    },
    Target {
        name: "label",
        seeds: &[
            "traefik.http.routers.web.rule=Host(`a`)\ntraefik.http.routers.web.tls.domains[0].main=a",
            "wharf.http.services.a.loadbalancer.server.port=80",
            "traefik.http.routers.web.tls=true\ntraefik.http.routers.web.priority=7",
        ],
        words: &[
            "traefik.", "[0]", "[", "]", "[1023]", "..", "\n", "=", "Web", "tls", "true", "sans",
        ],
        check: check_labels,
    },
    Target {
        name: "yaml",
        seeds: &[
            "http:\n  routers:\n    a: {rule: 'Host(`a`)', service: b, entryPoints: [web]}\n",
            "entryPoints:\n  web:\n    address: ':80'\n",
            "a: &x [1, 2]\nb: *x\n",
        ],
        words: &[": ", "\n  ", "- ", "{", "}", "&a ", "*a", "<<: ", "'", "|\n", "? ", "!!int "],
        check: |input| {
            let _ = tree::file::yaml(Path::new("fuzz.yml"), &text(input));
        },
    },
    Target {
        name: "toml",
        seeds: &[
            "[http.routers.a]\nrule = \"Host(`a`)\"\nentryPoints = [\"web\"]\n[[tls.certificates]]\n",
        ],
        words: &["[", "]]", "=", "\"\"\"", "\n", ".", "{", "}", "1979-05-27"],
        check: |input| {
            let _ = tree::file::toml(Path::new("fuzz.toml"), &text(input));
        },
    },
    Target {
        name: "path",
        seeds: &["/a/../b%2fc/./d//e", "/caf%c3%a9/%41%2e%2e/x", "/a?b=1;c=2"],
        words: &["/", "..", ".", "%2e", "%2F", "%", "%zz", "//", ";", "\\", "%00"],
        check: check_path,
    },
    Target {
        name: "host",
        seeds: &["Example.TEST:8080", "[::1]:80", "a.test."],
        words: &[":", ".", "[", "]", "@", "%", "8080"],
        check: |input| {
            let routed = host::for_routing(&text(input));
            if host::is_valid(input) {
                assert!(!routed.contains(|c: char| c.is_ascii_uppercase()), "{routed}");
                assert!(host::is_valid(routed.as_bytes()) || routed.contains(':'), "{routed}");
            }
        },
    },
    Target {
        name: "forwarded headers",
        seeds: &[
            "x-forwarded-for: 1.2.3.4, ::1\nx_forwarded_proto: https\nhost: a.test:80",
            "connection: upgrade, x-real-ip, close\nupgrade: websocket\nte: trailers, gzip",
        ],
        words: &["x-forwarded-", "X.Real.Ip", "_", ": ", "\n", "connection", "close, ", "host"],
        check: check_forwarded,
    },
    Target {
        name: "answer of a Redis",
        seeds: &[
            "*2\r\n:1\r\n:-500000\r\n",
            "+OK\r\n-MOVED 1 a:1\r\n",
            "*2\r\n$3\r\na\r\n\r\n*-1\r\n",
        ],
        words: &["\r\n", "*", "$", "+", "-", ":", "$-1\r\n", "*64\r\n", "99999999999", "\n"],
        check: check_redis,
    },
    Target {
        name: "SPIFFE identity",
        seeds: &[
            "\n\x1c\n\x0cspiffe://a/b\x12\x020\x00\x1a\x020\x00\x22\x020\x00\x1a\x08\n\x01b\x12\x030\x01\x00",
        ],
        words: &[
            "\n",
            "\x12",
            "\x1a",
            "\x22",
            "\x0c",
            "\x7f",
            "spiffe://",
            "0\x02",
            "\x00",
            "\x0b",
        ],
        check: check_svid,
    },
    Target {
        name: "SPIFFE id",
        seeds: &["spiffe://example.org/ns/a/sa/b", "example.org"],
        words: &["spiffe://", "/", "..", ":", "%", "@", "A", "?"],
        check: |input| {
            let text = text(input);
            if let Ok(id) = Id::parse(&text) {
                assert_eq!(id.as_str(), text);
                assert_eq!(TrustDomain::parse(&text), Ok(id.trust_domain()));
            }
        },
    },
];

fn entry_point() -> EntryPoint {
    EntryPoint {
        name: "web".into(),
        index: 0,
        port: 80,
        trusted: Some(Box::default()),
        keep_forwarded_for: false,
        connection_fields: Box::default(),
        sanitize_path: true,
        encode_query_semicolons: false,
        refused_escapes: Box::default(),
        aliases: Aliases::Keep,
        is_admin: false,
    }
}

fn check_svid(input: &[u8]) {
    static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(aws_lc_rs::default_provider);
    if let Ok(svid) = Svid::read(input, &PROVIDER) {
        assert!(svid.id.as_str().starts_with("spiffe://"));
    }
}

fn check_redis(input: &[u8]) {
    let Ok(found) = resp::parse(input) else { return };
    let Some((reply, length)) = found else {
        assert!(input.len() < resp::LARGEST, "no end to it");
        return;
    };
    assert!(length > 0 && length <= input.len().min(resp::LARGEST));
    let alone = input.get(..length).unwrap_or_default();
    assert_eq!(resp::parse(alone), Ok(Some((reply, length))), "what follows changes nothing");
    let unfinished = input.get(..length - 1).unwrap_or_default();
    assert_eq!(resp::parse(unfinished), Ok(None), "it needs all of its bytes");
}

fn check_labels(input: &[u8]) {
    let container = ContainerRef { name: "a".into(), id: "0123".into() };
    let mut root = Node::new(Origin::Container(container.clone()));
    for line in text(input).lines() {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let _ = tree::label(&mut root, &container, key, value);
    }
    let mut problems = Vec::new();
    if let Some(router) = root.get("http.routers.web") {
        let router: Option<Router> = tree::decode(router, &mut problems);
        assert!(router.is_some() || !problems.is_empty(), "what is left out has a reason");
    }
    let everything: Option<Router> = tree::decode(&root, &mut problems);
    assert!(everything.is_some() || !problems.is_empty());
}

fn check_path(input: &[u8]) {
    let text = text(input);
    let entry_point = entry_point();
    if let Ok(once) = path::normalise(&text, &entry_point) {
        let twice = path::normalise(&once, &entry_point);
        assert_eq!(twice.as_deref(), Ok(&*once), "normalising again changes nothing");
        assert!(!once.split('/').any(|segment| segment == ".." || segment == "."), "{once}");
        let _ = path::routing(&once);
    }
    let _ = path::query(&text, &entry_point);
}

fn check_forwarded(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let entry_point = Arc::new(entry_point());
    let connection = Connection {
        entry_point: Arc::clone(&entry_point),
        peer: ([192, 0, 2, 1], 4711).into(),
        local: ([192, 0, 2, 2], 80).into(),
        peer_value: HeaderValue::from_static("192.0.2.1"),
        tls: None,
        trusted: false,
        worker: 0,
        requests: Cell::new(1),
    };
    hop::arrive(&entry_point, &mut headers);
    assert!(!forwarded::arrive(&connection, &mut headers), "plain and untrusted is not secure");
    assert_eq!(headers.get("x-real-ip"), Some(&connection.peer_value));
    assert!(!headers.contains_key("x-forwarded-for"), "an untrusted chain is dropped");
    for name in headers.keys().filter(|name| forwarded::is_managed(name)) {
        assert!(!name.as_str().contains(['_', '.']), "{name} is an alias of a managed field");
    }
    hop::strip_request(&mut headers);
    for name in ["keep-alive", "proxy-connection", "transfer-encoding"] {
        assert!(!headers.contains_key(name), "{name} belongs to one hop");
    }
}

fn check_trace(input: &[u8]) {
    let parent = Parent::parse(input);
    assert_eq!(parent, Parent::parse(input));
    let safe = ["safe".into()];
    let once = redact(&text(input), &safe);
    assert_eq!(redact(&once, &safe), once, "redacting again changes nothing");
}

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

fn check_predicate(input: &[u8]) {
    const fn function(
        name: &'static str,
        takes: &'static [Kind],
        gives: Kind,
    ) -> Function<&'static str> {
        Function { name, takes, gives, make: |_| Some("") }
    }
    const FUNCTIONS: &[Function<&str>] = &[
        function("Attempts", &[], Kind::Int),
        function("IsNetworkError", &[], Kind::Truth),
        function("LatencyAtQuantileMS", &[Kind::Float], Kind::Int),
        function("RequestMethod", &[], Kind::Text),
        function("ResponseCodeRatio", &[Kind::Int; 4], Kind::Float),
    ];
    if let Ok(predicate) = predicate::parse(&text(input), FUNCTIONS) {
        let _ = predicate.holds(&mut |_| Value::Int(1));
    }
}

fn check_rule(input: &[u8]) {
    let text = text(input);
    match rule::parse(&text, Syntax::V3) {
        Ok(expr) => {
            let printed = expr.to_string();
            assert_eq!(rule::parse(&printed, Syntax::V3), Ok(expr), "{printed}");
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= text.len());
            let _ = error.sentence(&text);
        }
    }
}
