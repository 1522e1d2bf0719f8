//! `replacePathRegex`: rewrites the path, as it is encoded, by a pattern.

use http::Request;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, Pattern, target};
use crate::message::{Body, Exchange};

/// Settings of `replacePathRegex`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The pattern.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub regex: String,
    /// The new text for each match; `$1` and `${1}` insert groups.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub replacement: String,
}

/// The step.
pub struct Step {
    pattern: Pattern,
    replacement: Box<str>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let text = settings.regex.trim();
        let pattern = Pattern::new(text)
            .map_err(|error| format!("error compiling regular expression {text}: {error}"))?;
        // As Traefik: blanks around the replacement go, too.
        Ok(Self { pattern, replacement: settings.replacement.trim().into() })
    }

    fn request(&self, _exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let Some(path) = self.pattern.replace_all(request.uri().path(), &self.replacement) else {
            return Flow::Next;
        };
        match target::tidy(&path) {
            Ok(path) => {
                target::remember(request);
                target::set(request, path).into()
            }
            Err(_) => target::unusable().into(),
        }
    }
}
