//! What is fuzzed: seeds, words of the grammar, and what must hold of every answer.

use wharf::rule::{self, constraint};
use wharf::settings::GoDuration;

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
        name: "duration",
        seeds: &["1h2m3.5s", "-10ms", "90", "1.5us"],
        words: &["9", "h", "ms", "\u{b5}s", ".", "-", "+", "e9", "99999999999"],
        check: |input| {
            if let Ok(duration) = text(input).parse::<GoDuration>() {
                assert_eq!(duration.to_string().parse(), Ok(duration), "prints what it reads");
            }
        },
    },
];

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

fn check_rule(input: &[u8]) {
    let text = text(input);
    match rule::parse(&text) {
        Ok(expr) => {
            let printed = expr.to_string();
            assert_eq!(rule::parse(&printed), Ok(expr), "{printed}");
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= text.len());
            let _ = error.sentence(&text);
        }
    }
}
