//! The matchers of `ruleSyntax: v2`: lists of arguments and templates, told in matchers of
//! today. Deprecated in Traefik, but still read by it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::matcher::{check_filled, spells};
use super::parse::Call;
use super::template::{Kind, Template};
use super::{Expr, Matcher, RuleError, Tree, regexp};
use crate::tree::suggest::nearest;

/// The matchers, in Traefik's own spelling.
const MATCHERS: [&str; 10] = [
    "Host",
    "HostHeader",
    "HostRegexp",
    "Path",
    "PathPrefix",
    "Method",
    "Headers",
    "HeadersRegexp",
    "Query",
    "ClientIP",
];

/// Matchers of the v3 syntax, for the mend.
const ELSEWHERE: [(&str, &str); 4] = [
    ("Header", "did you mean `Headers`? (`Header` is of the v3 syntax)"),
    ("HeaderRegexp", "did you mean `HeadersRegexp`? (`HeaderRegexp` is of the v3 syntax)"),
    ("PathRegexp", "write Path(`/{name:pattern}`), or drop `ruleSyntax`"),
    ("QueryRegexp", "write Query(`key={name:pattern}`), or drop `ruleSyntax`"),
];

/// A call to the tree it means.
pub(super) fn from_call(call: &Call) -> Result<Expr, RuleError> {
    let Some(name) = MATCHERS.iter().find(|name| spells(&call.name, name)) else {
        return Err(unknown(call));
    };
    check_filled(call, name)?;
    let error = |text: String| {
        RuleError::adding(call.span.clone(), format!("error while adding rule {name}: {text}"))
    };
    let arguments = call.arguments.iter();
    match *name {
        "Host" | "HostHeader" => any(arguments.map(|text| host(text, *name == "Host"))),
        "HostRegexp" => any(arguments.map(|text| host_pattern(text))),
        "Path" => any(arguments.map(|text| path(text, Kind::Path))),
        "PathPrefix" => any(arguments.map(|text| path(text, Kind::PathPrefix))),
        "Method" => any(arguments.map(|text| Ok(Matcher::Method(text.clone())))),
        "ClientIP" => any(arguments.map(|text| client(text))),
        "Headers" => all(pairs(&call.arguments).map(|pairs| {
            pairs.into_iter().map(|(key, value)| Ok(Matcher::Header(key, value))).collect()
        })),
        "HeadersRegexp" => all(pairs(&call.arguments).map(|pairs| {
            let matcher = |(key, pattern): (String, String)| {
                regexp::compile(&pattern)?;
                Ok(Matcher::HeaderRegexp(key, pattern))
            };
            pairs.into_iter().map(matcher).collect()
        })),
        _ => all(queries(&call.arguments)),
    }
    .map_err(error)
}

fn unknown(call: &Call) -> RuleError {
    let text = format!("unsupported function: {}", call.name);
    let error = RuleError::parsing(call.name_span.clone(), text);
    if let Some((_, mend)) = ELSEWHERE.iter().find(|(name, _)| spells(&call.name, name)) {
        return error.mend(*mend);
    }
    match nearest(&call.name, MATCHERS) {
        Some(name) => error.mend(format!("did you mean `{name}`?")),
        None => error.mend(format!("the v2 matchers are {}", MATCHERS.join(", "))),
    }
}

fn any(parts: impl Iterator<Item = Result<Matcher, String>>) -> Result<Expr, String> {
    joined(parts.collect::<Result<_, _>>()?, Tree::Or)
}

fn all(parts: Result<Vec<Result<Matcher, String>>, String>) -> Result<Expr, String> {
    joined(parts?.into_iter().collect::<Result<_, _>>()?, Tree::And)
}

fn joined(parts: Vec<Matcher>, join: fn(Vec<Expr>) -> Expr) -> Result<Expr, String> {
    let mut parts: Vec<Expr> = parts.into_iter().map(Tree::Match).collect();
    match parts.len() {
        0 => Err("no args".to_owned()),
        1 => Ok(parts.remove(0)),
        _ => Ok(join(parts)),
    }
}

/// A host as such: `*` stands for nothing else. Only those of `Host` count for TLS, as in
/// Traefik; those of `HostHeader` are patterns.
fn host(text: &str, is_named: bool) -> Result<Matcher, String> {
    if !text.is_ascii() {
        return Err(format!(
            "invalid value \"{text}\" for \"Host\" matcher, non-ASCII characters are not allowed"
        ));
    }
    if is_named && !text.starts_with('*') && !text.is_empty() {
        return Ok(Matcher::Host(text.to_owned()));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    Ok(Matcher::HostTemplate(Template::literal_host(name)))
}

fn host_pattern(text: &str) -> Result<Matcher, String> {
    if !text.is_ascii() {
        return Err(format!(
            "invalid value \"{text}\" for HostRegexp matcher, non-ASCII characters are not allowed"
        ));
    }
    Template::read(text, text, Kind::Host).map(Matcher::HostTemplate)
}

fn path(text: &str, kind: Kind) -> Result<Matcher, String> {
    if !text.starts_with('/') {
        return Err(format!("mux: path must start with a slash, got \"{text}\""));
    }
    let template = Template::read(text, text, kind)?;
    Ok(match (template.has_parts(), kind) {
        (false, Kind::PathPrefix) => Matcher::PathPrefix(text.to_owned()),
        (false, _) => Matcher::Path(text.to_owned()),
        (true, Kind::PathPrefix) => Matcher::PathPrefixTemplate(template),
        (true, _) => Matcher::PathTemplate(template),
    })
}

fn client(text: &str) -> Result<Matcher, String> {
    if text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
        return Ok(Matcher::ClientIp(text.to_owned()));
    }
    Err(format!(
        "could not initialize IP Checker for \"ClientIP\" matcher: parsing CIDR trusted IPs \
         <nil>: invalid CIDR address: {text}"
    ))
}

/// Keys with their values. As Traefik: of one key twice, the last counts.
fn pairs(arguments: &[String]) -> Result<Vec<(String, String)>, String> {
    let (chunks, []) = arguments.as_chunks::<2>() else {
        return Err(odd(arguments));
    };
    let mut pairs: Vec<(String, String)> = Vec::with_capacity(chunks.len());
    for [key, value] in chunks {
        pairs.retain(|(other, _)| other != key);
        pairs.push((key.clone(), value.clone()));
    }
    Ok(pairs)
}

fn odd(arguments: &[String]) -> String {
    let all = arguments.join(" ");
    format!("mux: number of parameters must be multiple of 2, got [{all}]")
}

/// `a=1`, or `a` and `1`: both are cut at their first `=` and then taken in pairs.
fn queries(arguments: &[String]) -> Result<Vec<Result<Matcher, String>>, String> {
    let parts: Vec<String> =
        arguments.iter().flat_map(|one| one.splitn(2, '=')).map(str::to_owned).collect();
    let (pairs, []) = parts.as_chunks::<2>() else {
        return Err(odd(&parts));
    };
    Ok(pairs.iter().map(|[key, value]| query(key, value)).collect())
}

fn query(key: &str, value: &str) -> Result<Matcher, String> {
    let named = format!("{key}={value}");
    // A key is compared as it is, so that one with a part fits hardly anything.
    Template::read(key, &named, Kind::Query)?;
    // As Traefik: no value is any value.
    let value = if value.is_empty() { "{any}" } else { value };
    Template::read(value, &named, Kind::Query)
        .map(|template| Matcher::QueryTemplate(key.to_owned(), template))
}
