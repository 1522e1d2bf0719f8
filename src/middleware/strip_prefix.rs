//! `stripPrefix`: cuts the first prefix that the path begins with.

use http::{HeaderValue, Request};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, target};
use crate::message::{Body, Exchange};

/// Settings of `stripPrefix`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The prefixes; plain text, no segment boundary is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Without effect: an emptied path always is `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_slash: Option<bool>,
}

/// The step.
pub struct Step {
    prefixes: Box<[(Box<str>, HeaderValue)]>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    const DEPRECATED: &'static [(&'static str, &'static str)] =
        &[("forceSlash", "remove it: an emptied path always becomes `/`")];

    fn build(settings: &Settings) -> Result<Self, String> {
        let prefixes = settings.prefixes.iter().map(|prefix| {
            let value = HeaderValue::from_str(prefix.trim())
                .map_err(|_| format!("prefix {prefix:?} cannot be sent as X-Forwarded-Prefix"))?;
            Ok((prefix.as_str().into(), value))
        });
        Ok(Self { prefixes: prefixes.collect::<Result<_, String>>()? })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let path = request.uri().path();
        for (prefix, value) in &self.prefixes {
            if let Some(rest) = target::strip(path, prefix.as_bytes()) {
                // As Traefik: added, so that a trusted peer's own line stays in front.
                request.headers_mut().append(target::X_FORWARDED_PREFIX, value.clone());
                return target::set_cut(exchange, request, rest).into();
            }
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::middleware::testing::{self, Reply};

    fn ask(prefixes: &[&str], url: &str) -> Result<(String, Vec<String>), u16> {
        let prefixes = prefixes.iter().map(ToString::to_string).collect();
        let step = Step::build(&Settings { prefixes, force_slash: None }).unwrap();
        match testing::ask(&step, testing::request(Method::GET, url)) {
            Reply::Next(request) => Ok((request.uri().to_string(), cut(&request))),
            Reply::After(..) => panic!("it has nothing to do with answers"),
            Reply::Answer(response) => Err(response.status().as_u16()),
        }
    }

    fn cut(request: &Request<Body>) -> Vec<String> {
        let lines = request.headers().get_all(target::X_FORWARDED_PREFIX).iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_first_prefix_that_matches_is_cut_and_told() {
        for (url, target, prefix) in [
            ("/api", "/", Some("/api")),
            ("/api/", "/", Some("/api")),
            ("/api/x/", "/x/", Some("/api")),
            ("/apix", "/x", Some("/api")),
            ("/v2/x", "/x", Some("/v2/")),
            ("/api?x", "/?x", Some("/api")),
            ("/api%2Fx", "/x", Some("/api")),
            ("/other", "/other", None),
        ] {
            let prefix = prefix.map(str::to_owned).into_iter().collect();

            assert_eq!(ask(&["/api", "/v2/"], url), Ok((target.to_owned(), prefix)), "{url}");
        }
    }

    #[test]
    fn a_path_that_would_collapse_is_refused() {
        for url in ["/api./x", "/api../x", "/api%2e/x", "/api%2F..%2Fx"] {
            assert_eq!(ask(&["/api"], url), Err(400), "{url}");
        }
    }

    #[test]
    fn a_trusted_prefix_stays_in_front() {
        let settings = Settings { prefixes: vec!["/api".into()], force_slash: None };
        let request = testing::get("/api/x", &[("x-forwarded-prefix", "/outer")]);

        let Reply::Next(request) = testing::ask(&Step::build(&settings).unwrap(), request) else {
            panic!("did not pass")
        };
        assert_eq!(cut(&request), ["/outer", "/api"]);
    }
}
