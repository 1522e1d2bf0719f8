//! `stripPrefixRegex`: cuts what the first matching pattern matches at the start of the path.

use http::{HeaderValue, Request};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, Pattern, target};
use crate::message::{Body, Exchange};

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
    patterns: Box<[Pattern]>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let patterns = settings.regex.iter().map(|text| Pattern::new(text.trim()));
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    fn request(&self, _exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
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
            return target::set(request, rest).into();
        }
        Flow::Next
    }
}
