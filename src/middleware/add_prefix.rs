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

    fn request(&self, _exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let path = [&self.prefix, request.uri().path()].concat();
        target::set(request, path).into()
    }
}
