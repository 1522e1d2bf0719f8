//! `redirectRegex`: redirects by a pattern over the whole URL.

use std::borrow::Cow;

use http::{HeaderValue, Request};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, redirect, target};
use crate::message::{Body, Exchange};
use crate::rule::regexp;

/// Settings of `redirectRegex`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The pattern; searched for in `scheme://host[:port]/path?query`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub regex: String,
    /// The new text for each match; `$1` and `${1}` insert groups.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub replacement: String,
    /// 301 and 308 instead of 302 and 307.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub permanent: bool,
}

/// The step.
pub struct Step {
    pattern: Regex,
    replacement: Box<str>,
    permanent: bool,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn patterns(settings: &Settings) -> Vec<&str> {
        vec![&settings.regex]
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            pattern: regexp::compile(&settings.regex)?,
            replacement: settings.replacement.as_str().into(),
            permanent: settings.permanent,
        })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let scheme = if exchange.connection.tls.is_some() { "https://" } else { "http://" };
        let url = [scheme, redirect::host(request), redirect::target(request)].concat();
        let new = self.pattern.replace_all(&url, &*self.replacement);
        let Cow::Owned(new) = new else { return Flow::Next };
        if new == url {
            return Flow::Next;
        }
        // A path of the client's must not become the host of another site: `//evil.example`.
        let slashes = |text: &str| text.starts_with("//") || text.starts_with("/\\");
        if slashes(&new) && !slashes(&self.replacement) {
            return target::refused().into();
        }
        match location(&new) {
            Some(location) => {
                Flow::Respond(redirect::answer(request.method(), location, self.permanent))
            }
            None => Flow::Respond(redirect::unusable()),
        }
    }
}

/// The URL as a field value; `None` when it is no URL. Follows what Go's `url.Parse` takes
/// and how it prints it: odd characters are escaped, a broken escape or port is an error.
fn location(url: &str) -> Option<HeaderValue> {
    if url.bytes().any(|byte| byte.is_ascii_control()) || !has_sound_origin(url) {
        return None;
    }
    let (before, fragment) = url.split_once('#').map_or((url, None), |(a, b)| (a, Some(b)));
    let (path, query) = before.split_once('?').map_or((before, None), |(a, b)| (a, Some(b)));
    let mut out = target::complete(path).ok()?;
    for (mark, part) in [('?', query), ('#', fragment)] {
        if let Some(part) = part {
            out.push(mark);
            target::push_printable(&mut out, part);
        }
    }
    HeaderValue::try_from(out).ok()
}

/// Whether scheme, host and port are such, where the URL has them.
fn has_sound_origin(url: &str) -> bool {
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (first, rest) = url.split_at_checked(end).unwrap_or((url, ""));
    if let Some((scheme, _)) = first.split_once(':') {
        let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        if !begins || scheme.contains(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))) {
            return false;
        }
    }
    let Some(authority) = rest.strip_prefix("//") else { return true };
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = redirect::split_port(authority);
    port.unwrap_or_default().bytes().all(|byte| byte.is_ascii_digit())
        && !host.contains([' ', '<', '>', '"', '\\', '^', '`', '{', '|', '}', '%'])
}

#[cfg(test)]
mod tests {
    use http::{Method, header};

    use super::*;
    use crate::middleware::testing::{self, Reply};

    fn ask(regex: &str, replacement: &str, url: &str) -> Option<(u16, String)> {
        let settings =
            Settings { regex: regex.into(), replacement: replacement.into(), permanent: false };
        let step = Step::build(&settings).unwrap();
        match testing::ask(&step, testing::request(Method::GET, url)) {
            Reply::Next(_) | Reply::After(..) => None,
            Reply::Answer(response) => {
                let location = response.headers().get(header::LOCATION);
                let location = location.map_or("", |value| value.to_str().unwrap());
                Some((response.status().as_u16(), location.to_owned()))
            }
        }
    }

    #[test]
    fn the_whole_url_is_rewritten() {
        const OLD: &str = "^http://rr(:[0-9]+)?/(.*)";
        for (regex, replacement, url, location) in [
            (OLD, "http://other/$2", "http://rr/abc?x=1", "http://other/abc?x=1"),
            (OLD, "http://other/$2", "http://rr:81/a%20b", "http://other/a%20b"),
            (OLD, "https://${1}x/", "http://rr/a", "https://x/"),
            ("^http://r1/x/(.*)", "/$1", "http://r1/x/a", "/a"),
            ("^(.*)$", "${1} b{c}", "http://r2/a", "http://r2/a%20b%7Bc%7D"),
            (OLD, "http://other/$2", "http://rr/a%0d%0ab", "http://other/a%0d%0ab"),
            (OLD, "https://$2?a b", "http://rr/h/", "https://h/?a%20b"),
        ] {
            let answer = ask(regex, replacement, url);

            assert_eq!(answer, Some((302, location.to_owned())), "{url}");
        }
    }

    #[test]
    fn no_match_and_an_equal_url_pass() {
        assert_eq!(ask("^https://", "http://", "http://h/"), None);
        assert_eq!(ask("^(.*)$", "$1", "http://h/"), None);
    }

    #[test]
    fn a_replacement_that_is_no_url_is_a_bad_gateway() {
        for replacement in
            [":bad %zz", "http://h/%zz", "http://h:port/", "http://a b/", "/a\r\nX: y"]
        {
            let answer = ask(".+", replacement, "http://h/x");

            assert_eq!(answer.map(|answer| answer.0), Some(502), "{replacement:?}");
        }
    }

    #[test]
    fn a_path_of_the_clients_never_becomes_the_host() {
        let answer = ask("^http://h/x/(.*)", "/$1", "http://h/x//evil.example/");

        assert_eq!(answer.map(|answer| answer.0), Some(400));
    }

    #[test]
    fn a_broken_pattern_is_told_in_gos_words() {
        let settings = Settings { regex: "[".into(), ..Settings::default() };

        let error = Step::build(&settings).err();

        assert_eq!(error.as_deref(), Some("error parsing regexp: missing closing ]: `[`"));
    }
}
