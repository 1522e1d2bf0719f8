//! The matchers: names, number of arguments, and what can be checked of these without
//! compiling them.

use super::RuleError;
use super::parse::Call;
use super::template::Template;
use crate::tree::suggest::nearest;

/// A matcher with its arguments, checked for their number but not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// `Host`.
    Host(String),
    /// `HostRegexp`.
    HostRegexp(String),
    /// `Path`.
    Path(String),
    /// `PathPrefix`.
    PathPrefix(String),
    /// `PathRegexp`.
    PathRegexp(String),
    /// `Method`.
    Method(String),
    /// `Header`.
    Header(String, String),
    /// `HeaderRegexp`.
    HeaderRegexp(String, String),
    /// `Query`.
    Query(String, Option<String>),
    /// `QueryRegexp`.
    QueryRegexp(String, Option<String>),
    /// `ClientIP`.
    ClientIp(String),
    /// `HostRegexp` of the v2 syntax.
    HostTemplate(Template),
    /// `Path` of the v2 syntax, with parts.
    PathTemplate(Template),
    /// `PathPrefix` of the v2 syntax, with parts.
    PathPrefixTemplate(Template),
    /// `Query` of the v2 syntax: a key and what its first value looks like.
    QueryTemplate(String, Template),
}

impl Matcher {
    /// The name in Traefik's own spelling.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Host(_) => "Host",
            Self::HostRegexp(_) | Self::HostTemplate(_) => "HostRegexp",
            Self::Path(_) | Self::PathTemplate(_) => "Path",
            Self::PathPrefix(_) | Self::PathPrefixTemplate(_) => "PathPrefix",
            Self::PathRegexp(_) => "PathRegexp",
            Self::Method(_) => "Method",
            Self::Header(..) => "Header",
            Self::HeaderRegexp(..) => "HeaderRegexp",
            Self::Query(..) | Self::QueryTemplate(..) => "Query",
            Self::QueryRegexp(..) => "QueryRegexp",
            Self::ClientIp(_) => "ClientIP",
        }
    }

    /// The arguments in order.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::Host(one)
            | Self::HostRegexp(one)
            | Self::Path(one)
            | Self::PathPrefix(one)
            | Self::PathRegexp(one)
            | Self::Method(one)
            | Self::ClientIp(one) => (one.as_str(), None),
            Self::Header(one, two) | Self::HeaderRegexp(one, two) => {
                (one.as_str(), Some(two.as_str()))
            }
            Self::Query(one, two) | Self::QueryRegexp(one, two) => (one.as_str(), two.as_deref()),
            Self::HostTemplate(one) | Self::PathTemplate(one) | Self::PathPrefixTemplate(one) => {
                (one.source(), None)
            }
            Self::QueryTemplate(one, two) => (one.as_str(), Some(two.source())),
        };
        std::iter::once(first).chain(second)
    }
}

/// One row per matcher: its name and the numbers of arguments it takes.
const MATCHERS: [(&str, &[usize]); 11] = [
    ("Host", &[1]),
    ("HostRegexp", &[1]),
    ("Path", &[1]),
    ("PathPrefix", &[1]),
    ("PathRegexp", &[1]),
    ("Method", &[1]),
    ("Header", &[2]),
    ("HeaderRegexp", &[2]),
    ("Query", &[1, 2]),
    ("QueryRegexp", &[1, 2]),
    ("ClientIP", &[1]),
];

/// Matchers of `ruleSyntax: v2` and of TCP routers, for the mend.
const ELSEWHERE: [(&str, &str); 5] = [
    ("Headers", "did you mean `Header`? (`Headers` is of the v2 syntax)"),
    ("HeadersRegexp", "did you mean `HeaderRegexp`? (`HeadersRegexp` is of the v2 syntax)"),
    ("HostHeader", "did you mean `Host`? (`HostHeader` is of the v2 syntax)"),
    ("HostSNI", "did you mean `Host`? (`HostSNI` is for TCP routers)"),
    ("HostSNIRegexp", "did you mean `HostRegexp`? (`HostSNIRegexp` is for TCP routers)"),
];

/// Whether `word` spells `name` as written, all lower, all upper or in title case.
pub(super) fn spells(word: &str, name: &str) -> bool {
    let is_title = || {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.all(|letter| letter.is_ascii_lowercase())
    };
    word == name
        || word.eq_ignore_ascii_case(name)
            && (word.chars().all(|letter| letter.is_ascii_lowercase())
                || word.chars().all(|letter| letter.is_ascii_uppercase())
                || is_title())
}

/// A call to its matcher.
pub(super) fn from_call(call: &Call) -> Result<Matcher, RuleError> {
    let Some((name, counts)) = MATCHERS.iter().find(|(name, _)| spells(&call.name, name)) else {
        return Err(unknown(call));
    };
    check_arguments(call, name, counts)?;
    let mut arguments = call.arguments.iter().cloned();
    let mut next = || arguments.next().unwrap_or_default();
    let first = next();
    let matcher = match *name {
        "Host" => Matcher::Host(first),
        "HostRegexp" => Matcher::HostRegexp(first),
        "Path" => Matcher::Path(first),
        "PathPrefix" => Matcher::PathPrefix(first),
        "PathRegexp" => Matcher::PathRegexp(first),
        "Method" => Matcher::Method(first),
        "Header" => Matcher::Header(first, next()),
        "HeaderRegexp" => Matcher::HeaderRegexp(first, next()),
        "Query" => Matcher::Query(first, arguments.next()),
        "QueryRegexp" => Matcher::QueryRegexp(first, arguments.next()),
        _ => Matcher::ClientIp(first),
    };
    check_text(call, matcher)
}

fn unknown(call: &Call) -> RuleError {
    let error =
        RuleError::parsing(call.name_span.clone(), format!("unsupported function: {}", call.name));
    if let Some((_, mend)) = ELSEWHERE.iter().find(|(name, _)| spells(&call.name, name)) {
        return error.mend(*mend);
    }
    if let Some(name) = nearest(&call.name, MATCHERS.iter().map(|(name, _)| *name)) {
        return error.mend(format!("did you mean `{name}`?"));
    }
    let names: Vec<_> = MATCHERS.iter().map(|(name, _)| *name).collect();
    error.mend(format!("the matchers are {}", names.join(", ")))
}

/// Traefik's checks in Traefik's order: none, an empty one, their number.
fn check_arguments(call: &Call, name: &str, counts: &[usize]) -> Result<(), RuleError> {
    check_filled(call, name)?;
    check_number(call, name, counts)
}

/// That there are arguments, and none is empty.
pub(super) fn check_filled(call: &Call, name: &str) -> Result<(), RuleError> {
    let error = |text: String| RuleError::adding(call.span.clone(), text);
    if call.arguments.is_empty() {
        let text = format!("error while checking rule {name}: no args for matcher {name}");
        return Err(error(text).mend(format!("name what to match: {name}(`...`)")));
    }
    if call.arguments.iter().any(String::is_empty) {
        let all = call.arguments.join(" ");
        let text =
            format!("error while checking rule {name}: empty args for matcher {name}, [{all}]");
        return Err(error(text).mend("fill the empty argument, or drop the matcher"));
    }
    Ok(())
}

fn check_number(call: &Call, name: &str, counts: &[usize]) -> Result<(), RuleError> {
    let error = |text: String| RuleError::adding(call.span.clone(), text);
    let got = call.arguments.len();
    if counts.contains(&got) {
        return Ok(());
    }
    let expected: Vec<_> = counts.iter().map(ToString::to_string).collect();
    let text = format!(
        "error while adding rule {name}: unexpected number of parameters; got {got}, \
         expected one of [{}]",
        expected.join(" ")
    );
    let joined: Vec<_> = call
        .arguments
        .iter()
        .map(|one| format!("{name}({})", super::print::argument(one)))
        .collect();
    Err(match counts {
        [1] => error(text).mend(format!("write {}", joined.join(" || "))),
        _ => error(text),
    })
}

fn check_text(call: &Call, matcher: Matcher) -> Result<Matcher, RuleError> {
    let name = matcher.name();
    let error = |text: String| {
        let text = format!("error while adding rule {name}: {text}");
        RuleError::adding(call.span.clone(), text)
    };
    if let Matcher::Path(path) | Matcher::PathPrefix(path) = &matcher
        && !path.starts_with('/')
    {
        let mend = format!("did you mean `/{path}`?");
        return Err(error(format!("path \"{path}\" does not start with a '/'")).mend(mend));
    }
    if let Matcher::Host(host) | Matcher::HostRegexp(host) = &matcher
        && !host.is_ascii()
    {
        let text = format!(
            "invalid value \"{host}\" for {name} matcher, non-ASCII characters are not allowed"
        );
        return Err(error(text).mend("write the name in its ASCII form (xn--...)"));
    }
    Ok(matcher)
}
