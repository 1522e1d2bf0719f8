//! Answers in Go's spelling: JSON with its escapes, errors, 404.

use std::io;

use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::message::Body;

/// Escapes what Go's encoder escapes, so that the JSON can stand inside HTML.
struct GoEscapes;

impl Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['&', '<', '>', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut chars = tail.chars();
            if let Some(special) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(special))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// One line of JSON.
pub(super) fn json_text(value: &impl Serialize) -> String {
    let mut bytes = Vec::with_capacity(512);
    let mut serializer = Serializer::with_formatter(&mut bytes, GoEscapes);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        // Only a map whose keys are no strings can fail, and none of ours is.
        Err(error) => format!("{{\"message\":{:?}}}", error.to_string()),
    }
}

/// 200 with one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    let mut text = json_text(value);
    text.push('\n');
    with_type(Body::from(text), "application/json")
}

/// 200 with that body.
pub(super) fn with_type(body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An error; as Traefik, JSON that is sent as text.
pub(super) fn error(status: StatusCode, message: &str) -> Response<Body> {
    let mut text = json_text(&serde_json::json!({ "message": message }));
    text.push('\n');
    text_error(status, Body::from(text))
}

/// 404 as Go words it.
pub(super) fn not_found() -> Response<Body> {
    text_error(StatusCode::NOT_FOUND, Body::from("404 page not found\n"))
}

/// An error in plain words.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    text_error(status, Body::from(text))
}

/// An empty answer with that status.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn text_error(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = with_type(body, "text/plain; charset=utf-8");
    *response.status_mut() = status;
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        let cases = [
            ("Host(`a`) && PathPrefix(`/`)", r#""Host(`a`) \u0026\u0026 PathPrefix(`/`)""#),
            ("<script>", r#""\u003cscript\u003e""#),
            ("a\u{2028}b\"c\\", "\"a\\u2028b\\\"c\\\\\""),
            ("ünï", "\"ünï\""),
        ];
        for (text, printed) in cases {
            assert_eq!(json_text(&text), printed, "{text}");
        }
    }
}
