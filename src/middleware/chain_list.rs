//! `chain`: other middlewares in order. `compile` puts them in its place, so that none is
//! left when requests come.

use http::Request;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange};

/// Settings of `chain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The middlewares, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub middlewares: Vec<String>,
}

/// Nothing: an empty chain lets everything pass.
pub struct Step;

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        match settings.middlewares.first() {
            None => Ok(Self),
            Some(name) => Err(format!("chain with {name:?} was not put in place")),
        }
    }

    fn request(&self, _exchange: &mut Exchange, _request: &mut Request<Body>) -> Flow<Self::Memo> {
        Flow::Next
    }
}
