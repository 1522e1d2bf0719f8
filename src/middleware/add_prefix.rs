//! `addPrefix`: puts text in front of the path.

use http::Request;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, target};
use crate::message::{Body, Exchange};

/// Settings of `addPrefix`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The text; a missing leading slash is added.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// The step.
pub struct Step {
    prefix: String,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        if settings.prefix.is_empty() {
            return Err("prefix cannot be empty".to_owned());
        }
        Ok(Self { prefix: target::escape(target::with_slash(&settings.prefix).as_bytes()) })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let path = [&self.prefix, request.uri().path()].concat();
        target::set(exchange, request, path).into()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::middleware::testing::{self, Reply};

    #[test]
    fn the_prefix_comes_first_and_the_rest_stays() {
        for (prefix, url, target) in [
            ("/foo", "/x", "/foo/x"),
            ("foo", "/x?a=%20b", "/foo/x?a=%20b"),
            ("/foo", "/x%2Fy", "/foo/x%2Fy"),
            ("/foo", "/x%20y", "/foo/x%20y"),
            ("/foo/", "/x", "/foo//x"),
            ("/a b%2F?", "/x", "/a%20b%252F%3F/x"),
        ] {
            let step = Step::build(&Settings { prefix: prefix.into() }).unwrap();

            let Reply::Next(request) = testing::ask(&step, testing::request(Method::GET, url))
            else {
                panic!("{url} did not pass")
            };
            assert_eq!(request.uri(), target, "{url}");
        }
    }

    #[test]
    fn dot_segments_are_refused() {
        let step = Step::build(&Settings { prefix: "/a/..".into() }).unwrap();

        let Reply::Answer(response) = testing::ask(&step, testing::request(Method::GET, "/x"))
        else {
            panic!("passed")
        };
        assert_eq!(response.status().as_u16(), 400);
    }

    #[test]
    fn a_prefix_is_needed() {
        let error = Step::build(&Settings::default()).err();

        assert_eq!(error.as_deref(), Some("prefix cannot be empty"));
    }
}
