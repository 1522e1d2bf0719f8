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

    fn request(&self, _exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let path = request.uri().path();
        for (prefix, value) in &self.prefixes {
            if let Some(rest) = target::strip(path, prefix.as_bytes()) {
                // As Traefik: added, so that a trusted peer's own line stays in front.
                request.headers_mut().append(target::X_FORWARDED_PREFIX, value.clone());
                return target::set(request, rest).into();
            }
        }
        Flow::Next
    }
}
