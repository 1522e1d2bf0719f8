//! Reading a declared middleware: which kind it is, and its settings.

use super::{KINDS, Middleware, Spec};
use crate::problem::{Code, Problem};
use crate::tree::{self, Node};

/// Kinds that Traefik knows and Wharf has not built.
pub const NOT_BUILT: &[&str] = &[
    "buffering",
    "circuitBreaker",
    "contentType",
    "digestAuth",
    "encodedCharacters",
    "errors",
    "forwardAuth",
    "grpcWeb",
    "inFlightReq",
    "ipWhiteList",
    "passTLSClientCert",
    "plugin",
    "rateLimit",
    "retry",
];

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
    if let Some(known) = NOT_BUILT.iter().find(|known| known.eq_ignore_ascii_case(key)) {
        return Problem::error(
            Code::NotBuilt,
            origin,
            format!("the middleware kind `{known}` is Traefik's and not built yet"),
        );
    }
    let names = KINDS.iter().map(|(key, _)| *key).collect::<Vec<_>>().join("`, `");
    Problem::error(Code::UnknownKey, origin, format!("no middleware kind `{key}`"))
        .mend(format!("the kinds are `{names}`"))
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
