//! x.

use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange, plain};

/// Settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {}

/// The step.
pub struct Step;

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(_settings: &Settings) -> Result<Self, String> {
        Ok(Self)
    }

    fn request(&self, _exchange: &mut Exchange, _request: &mut Request<Body>) -> Flow<Self::Memo> {
        Flow::Respond(plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
    }
}
