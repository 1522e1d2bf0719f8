//! `redirectScheme`: the same URL with another scheme or port.

use http::{HeaderName, HeaderValue, Request};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, redirect};
use crate::message::{Body, Exchange};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Settings of `redirectScheme`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The new scheme.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// The new port; empty: none is written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port: String,
    /// 301 and 308 instead of 302 and 307.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub permanent: bool,
}

/// The step.
pub struct Step {
    scheme: Box<str>,
    /// Empty, or digits; never the scheme's default.
    port: Box<str>,
    /// The port is one that a URL can have.
    usable: bool,
    permanent: bool,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        if settings.scheme.is_empty() {
            return Err("you must provide a target scheme".to_owned());
        }
        let begins = settings.scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        let other = |c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c));
        let port = if is_default(&settings.scheme, &settings.port) { "" } else { &settings.port };
        let usable =
            begins && !settings.scheme.contains(other) && port.bytes().all(|b| b.is_ascii_digit());
        Ok(Self {
            scheme: settings.scheme.as_str().into(),
            port: port.into(),
            usable,
            permanent: settings.permanent,
        })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let (host, port) = redirect::split_port(redirect::host(request));
        let scheme = scheme(exchange, request);
        let port = port.filter(|port| !is_default(scheme, port)).unwrap_or_default();
        if *scheme == *self.scheme && *port == *self.port {
            return Flow::Next;
        }
        let target = redirect::target(request);
        let colon = if self.port.is_empty() { "" } else { ":" };
        let location = [&*self.scheme, "://", host, colon, &self.port, target].concat();
        match HeaderValue::try_from(location) {
            Ok(location) if self.usable && is_host(host) => {
                Flow::Respond(redirect::answer(request.method(), location, self.permanent))
            }
            Ok(_) | Err(_) => Flow::Respond(redirect::unusable()),
        }
    }
}

/// `http` or `https`, by what a trusted hop in front said, else by our own TLS.
fn scheme(exchange: &Exchange, request: &Request<Body>) -> &'static str {
    let said = request.headers().get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
    let is = |said: &[u8], names: [&str; 2]| {
        names.iter().any(|name| said.eq_ignore_ascii_case(name.as_bytes()))
    };
    match said {
        // A WebSocket's handshake is plain HTTP, whatever it is called.
        Some(said) if is(said, ["http", "ws"]) => "http",
        Some(said) if is(said, ["https", "wss"]) => "https",
        Some(_) | None if exchange.connection.tls.is_some() => "https",
        Some(_) | None => "http",
    }
}

fn is_default(scheme: &str, port: &str) -> bool {
    matches!((scheme, port), ("http", "80") | ("https", "443"))
}

/// Whether this is a host and nothing else: `user@elsewhere` would lead elsewhere.
fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(address) => address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, header};

    use super::*;
    use crate::middleware::testing::{self, Reply};

    fn step(scheme: &str, port: &str, permanent: bool) -> Step {
        Step::build(&Settings { scheme: scheme.into(), port: port.into(), permanent }).unwrap()
    }

    fn ask(step: &Step, method: Method, url: &str) -> Option<(u16, String)> {
        match testing::ask(step, testing::request(method, url)) {
            Reply::Next(_) | Reply::After(..) => None,
            Reply::Answer(response) => {
                let location = response.headers().get(header::LOCATION);
                let location = location.map_or("", |value| value.to_str().unwrap());
                Some((response.status().as_u16(), location.to_owned()))
            }
        }
    }

    #[test]
    fn the_new_url_has_the_host_and_target_and_no_default_or_old_port() {
        for (scheme, port, url, location) in [
            ("https", "8443", "http://h/x?y=1", "https://h:8443/x?y=1"),
            ("https", "8443", "http://h:99/a", "https://h:8443/a"),
            ("https", "", "http://h:80/a%20b", "https://h/a%20b"),
            ("https", "443", "http://h:443/", "https://h/"),
            ("https", "", "http://[::1]:80/", "https://[::1]/"),
            ("foo", "443", "http://h/", "foo://h:443/"),
            ("http", "8080", "http://h/", "http://h:8080/"),
        ] {
            let answer = ask(&step(scheme, port, false), Method::GET, url);

            assert_eq!(answer, Some((302, location.to_owned())), "{url}");
        }
    }

    #[test]
    fn a_url_that_would_not_change_passes() {
        for (scheme, port, url) in [
            ("http", "", "http://h/x"),
            ("http", "80", "http://h:80/x"),
            ("http", "81", "http://h:81/x"),
        ] {
            assert_eq!(ask(&step(scheme, port, true), Method::GET, url), None, "{url}");
        }
    }

    #[test]
    fn the_forwarded_scheme_counts() {
        for (said, redirects) in
            [("https", false), ("WSS", false), ("http", true), ("ws", true), ("odd", true)]
        {
            let mut request = testing::request(Method::GET, "http://h/");
            request.headers_mut().insert(X_FORWARDED_PROTO, said.parse().unwrap());
            let reply = testing::ask(&step("https", "", false), request);

            assert_eq!(matches!(reply, Reply::Answer(_)), redirects, "{said}");
        }
    }

    #[test]
    fn the_status_goes_by_method_and_permanence() {
        for (method, permanent, status) in [
            (Method::GET, false, 302),
            (Method::GET, true, 301),
            (Method::POST, false, 307),
            (Method::PUT, true, 308),
            (Method::HEAD, false, 307),
            (Method::HEAD, true, 308),
        ] {
            let answer = ask(&step("https", "", permanent), method.clone(), "http://h/");

            assert_eq!(answer.map(|answer| answer.0), Some(status), "{method}");
        }
    }

    #[test]
    fn what_makes_no_url_is_a_bad_gateway() {
        let bad_port = ask(&step("https", "abc", false), Method::GET, "http://h/");
        assert_eq!(bad_port.map(|answer| answer.0), Some(502));

        let mut request = testing::request(Method::GET, "/");
        request.headers_mut().insert(header::HOST, "h@elsewhere".parse().unwrap());
        let Reply::Answer(response) = testing::ask(&step("https", "", false), request) else {
            panic!("passed")
        };
        assert_eq!(response.status().as_u16(), 502);
    }

    #[test]
    fn a_scheme_is_needed() {
        let error = Step::build(&Settings::default()).err();

        assert_eq!(error.as_deref(), Some("you must provide a target scheme"));
    }
}
