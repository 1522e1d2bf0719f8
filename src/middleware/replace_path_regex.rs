//! `replacePathRegex`: rewrites the path, as it is encoded, by a pattern.

use std::borrow::Cow;

use http::Request;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, target};
use crate::message::{Body, Exchange};
use crate::rule::regexp;

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
    pattern: Regex,
    replacement: Box<str>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn patterns(settings: &Settings) -> Vec<&str> {
        vec![&settings.regex]
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        let text = settings.regex.trim();
        let pattern = regexp::compile(text)
            .map_err(|error| format!("error compiling regular expression {text}: {error}"))?;
        // As Traefik: blanks around the replacement go, too.
        Ok(Self { pattern, replacement: settings.replacement.trim().into() })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let path = self.pattern.replace_all(request.uri().path(), &*self.replacement);
        let Cow::Owned(path) = path else { return Flow::Next };
        match target::tidy(&path) {
            Ok(path) => {
                target::remember(request);
                target::set_cut(exchange, request, path).into()
            }
            Err(error) => target::unusable(error).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{self, Reply};

    fn ask(regex: &str, replacement: &str, url: &str) -> Result<(String, Option<String>), u16> {
        let settings = Settings { regex: regex.into(), replacement: replacement.into() };
        match testing::ask(&Step::build(&settings).unwrap(), testing::get(url, &[])) {
            Reply::Next(request) => {
                let old = request.headers().get("x-replaced-path");
                let old = old.map(|value| value.to_str().unwrap().to_owned());
                Ok((request.uri().to_string(), old))
            }
            Reply::After(..) => panic!("it has nothing to do with answers"),
            Reply::Answer(response) => Err(response.status().as_u16()),
        }
    }

    #[test]
    fn the_encoded_path_is_rewritten_and_the_old_one_told() {
        for (url, target, old) in [
            ("/old/x", "/n/x", Some("/old/x")),
            ("/old/a%20b?q", "/n/a%20b?q", Some("/old/a%20b")),
            ("/old/a(b)", "/n/a(b)", Some("/old/a(b)")),
            ("/zzz", "/zzz", None),
        ] {
            let answer = ask("^/old/(.*)", " /n/$1", url);

            assert_eq!(answer, Ok((target.to_owned(), old.map(str::to_owned))), "{url}");
        }
    }

    #[test]
    fn a_result_that_collapses_or_is_no_path_is_refused() {
        assert_eq!(ask("^/(.*)$", "/a/../$1", "/x"), Err(400));
        assert_eq!(ask("^/(.*)$", "/%$1", "/zz"), Err(500));
    }

    #[test]
    fn a_broken_pattern_is_told_in_traefiks_words() {
        let settings = Settings { regex: "a(".into(), replacement: String::new() };

        let error = Step::build(&settings).err();

        let text =
            "error compiling regular expression a(: error parsing regexp: missing closing ): `a(`";
        assert_eq!(error.as_deref(), Some(text));
    }
}
