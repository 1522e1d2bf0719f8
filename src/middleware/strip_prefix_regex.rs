//! `stripPrefixRegex`: cuts what the first matching pattern matches at the start of the path.

use http::{HeaderValue, Request};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, target};
use crate::message::{Body, Exchange};
use crate::rule::regexp;

/// Settings of `stripPrefixRegex`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regex: Vec<String>,
}

/// The step.
pub struct Step {
    patterns: Box<[Regex]>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn patterns(settings: &Settings) -> Vec<&str> {
        settings.regex.iter().map(String::as_str).collect()
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        let patterns = settings.regex.iter().map(|text| regexp::compile(text.trim()));
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let path = request.uri().path();
        let decoded = target::decode(path);
        let Ok(text) = std::str::from_utf8(&decoded) else { return Flow::Next };
        for pattern in &self.patterns {
            let Some(prefix) = pattern.find(text).filter(|found| {
                // Only the leftmost match counts, as in Traefik.
                found.start() == 0 && !found.is_empty()
            }) else {
                continue;
            };
            let prefix = prefix.as_str();
            let (Some(rest), Ok(value)) =
                (target::strip(path, prefix.as_bytes()), HeaderValue::from_str(prefix))
            else {
                return target::refused().into();
            };
            request.headers_mut().append(target::X_FORWARDED_PREFIX, value);
            return target::set_cut(exchange, request, rest).into();
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::middleware::testing::{self, Reply};

    fn ask(url: &str) -> Result<(String, Option<String>), u16> {
        let regex = ["", "/a[0-9]+", "^/b/[^/]+"].map(str::to_owned).into();
        let step = Step::build(&Settings { regex }).unwrap();
        match testing::ask(&step, testing::request(Method::GET, url)) {
            Reply::Next(request) => {
                let prefix = request.headers().get(target::X_FORWARDED_PREFIX);
                let prefix = prefix.map(|value| value.to_str().unwrap().to_owned());
                Ok((request.uri().to_string(), prefix))
            }
            Reply::After(..) => panic!("it has nothing to do with answers"),
            Reply::Answer(response) => Err(response.status().as_u16()),
        }
    }

    #[test]
    fn what_matches_at_the_start_is_cut_and_told() {
        for (url, target, prefix) in [
            ("/a12/x?q", "/x?q", Some("/a12")),
            ("/b/foo/x", "/x", Some("/b/foo")),
            ("/b/f%20o/z", "/z", Some("/b/f o")),
            ("/b/f%2Fo/z", "/o/z", Some("/b/f")),
            ("/x/a12/z", "/x/a12/z", None),
        ] {
            let prefix = prefix.map(str::to_owned);

            assert_eq!(ask(url), Ok((target.to_owned(), prefix)), "{url}");
        }
    }

    #[test]
    fn what_would_collapse_or_cannot_be_told_is_refused() {
        for url in ["/a1./z", "/b/x%0Ay/z"] {
            assert_eq!(ask(url), Err(400), "{url}");
        }
    }

    #[test]
    fn a_broken_pattern_is_told_in_gos_words() {
        let error = Step::build(&Settings { regex: vec!["(".into()] }).err();

        assert_eq!(error.as_deref(), Some("error parsing regexp: missing closing ): `(`"));
    }
}
