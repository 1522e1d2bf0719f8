//! `encodedCharacters`: refuses paths with escapes that servers read in different ways.

use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange, plain};

/// Settings of `encodedCharacters`: what may be in a path although it is encoded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// `%2F`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_encoded_slash: bool,
    /// `%5C`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_encoded_back_slash: bool,
    /// `%00`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_encoded_null_character: bool,
    /// `%3B`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_encoded_semicolon: bool,
    /// `%25`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_encoded_percent: bool,
    /// `%3F`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_encoded_question_mark: bool,
    /// `%23`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_encoded_hash: bool,
}

/// The step.
pub struct Step {
    refused: Box<[&'static str]>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let escapes = [
            (settings.allow_encoded_slash, "2F"),
            (settings.allow_encoded_back_slash, "5C"),
            (settings.allow_encoded_null_character, "00"),
            (settings.allow_encoded_semicolon, "3B"),
            (settings.allow_encoded_percent, "25"),
            (settings.allow_encoded_question_mark, "3F"),
            (settings.allow_encoded_hash, "23"),
        ];
        let refused = escapes.into_iter().filter(|(allowed, _)| !allowed).map(|(_, code)| code);
        Ok(Self { refused: refused.collect() })
    }

    fn request(&self, _exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let mut codes = request.uri().path().split('%').skip(1).filter_map(|rest| rest.get(..2));
        if codes.any(|code| self.refused.iter().any(|refused| refused.eq_ignore_ascii_case(code))) {
            return Flow::Respond(plain(StatusCode::BAD_REQUEST, ""));
        }
        Flow::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::testing::{self, Reply};

    fn passes(settings: &Settings, url: &str) -> bool {
        match testing::ask(&Step::build(settings).unwrap(), testing::get(url, &[])) {
            Reply::Next(_) => true,
            Reply::After(..) => panic!("it has nothing to do with answers"),
            Reply::Answer(response) => {
                assert_eq!(response.status(), StatusCode::BAD_REQUEST);
                assert!(http_body::Body::is_end_stream(response.body()));
                false
            }
        }
    }

    #[test]
    fn each_escape_is_refused_unless_it_is_allowed() {
        let all = Settings {
            allow_encoded_slash: true,
            allow_encoded_back_slash: true,
            allow_encoded_null_character: true,
            allow_encoded_semicolon: true,
            allow_encoded_percent: true,
            allow_encoded_question_mark: true,
            allow_encoded_hash: true,
        };
        for escape in ["%2F", "%2f", "%5C", "%00", "%3B", "%25", "%3F", "%23"] {
            let url = format!("/a{escape}b");

            assert!(!passes(&Settings::default(), &url), "{escape}");
            assert!(passes(&all, &url), "{escape}");
        }
        let slash = Settings { allow_encoded_slash: true, ..Settings::default() };
        assert!(passes(&slash, "/a%2Fb"));
        assert!(!passes(&slash, "/a%2Fb%5C"));
    }

    #[test]
    fn other_escapes_and_queries_pass() {
        for url in ["/a%20b", "/a?b=%2F", "/a%C3%A9/b", "/"] {
            assert!(passes(&Settings::default(), url), "{url}");
        }
    }
}
