//! `replacePath`: puts a fixed path in place of the request's.

use http::Request;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, target};
use crate::message::{Body, Exchange};

/// Settings of `replacePath`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The new path; empty is `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// The step.
pub struct Step {
    path: String,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        // Traefik sends a path without a leading slash as it is, which no server takes.
        let path = target::with_slash(&settings.path);
        Ok(Self { path: target::tidy(&path)? })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        target::remember(request);
        target::set(exchange, request, self.path.clone()).into()
    }
}

#[cfg(test)]
mod tests {
    use crate::middleware::testing::{self, Reply};

    use super::*;

    #[test]
    fn the_path_is_replaced_and_remembered_and_the_query_stays() {
        for (path, target) in [("/new", "/new?z=1"), ("", "/?z=1"), ("/a b", "/a%20b?z=1")] {
            let step = Step::build(&Settings { path: path.into() }).unwrap();

            let Reply::Next(request) = testing::ask(&step, testing::get("/x%20y?z=1", &[])) else {
                panic!("{path} did not pass")
            };
            assert_eq!(request.uri(), target);
            assert_eq!(request.headers()["x-replaced-path"], "/x%20y");
        }
    }
}
