//! `compress`: compresses answers with gzip, Brotli or Zstandard.

mod accept;
mod encode;
mod media;
#[cfg(test)]
mod tests;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange};
use accept::Coding;
use encode::Encoded;
use media::MediaTypes;

/// Smallest body that is compressed unless the settings say otherwise, in bytes.
const SMALLEST: u64 = 1024;

/// Settings of `compress`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Media types that are not compressed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excluded_content_types: Vec<String>,
    /// The only media types that are compressed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub included_content_types: Vec<String>,
    /// Smallest body that is compressed; 0 or less: 1024.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_response_body_bytes: i64,
    /// What is on offer; the first of those that a client likes best is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encodings: Vec<String>,
    /// For clients that name none; empty: their answers are not compressed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default_encoding: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            excluded_content_types: Vec::new(),
            included_content_types: Vec::new(),
            min_response_body_bytes: 0,
            encodings: ["gzip", "br", "zstd"].map(str::to_owned).into(),
            default_encoding: String::new(),
        }
    }
}

/// The step.
pub struct Step {
    types: MediaTypes,
    smallest: u64,
    codings: Box<[Coding]>,
    default: Option<Coding>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = Coding;

    const STANDS_ALONE: bool = true;

    fn build(settings: &Settings) -> Result<Self, String> {
        let types =
            MediaTypes::build(&settings.excluded_content_types, &settings.included_content_types)?;
        if settings.encodings.is_empty() {
            return Err("at least one encoding must be specified".to_owned());
        }
        let codings = settings.encodings.iter().map(|name| {
            Coding::from_name(name).ok_or_else(|| format!("unsupported encoding: {name}"))
        });
        let codings = codings.collect::<Result<Box<[_]>, _>>()?;
        let default = match settings.default_encoding.as_str() {
            "" => None,
            name => {
                let coding = Coding::from_name(name).filter(|coding| codings.contains(coding));
                Some(coding.ok_or_else(|| format!("unsupported default encoding: {name}"))?)
            }
        };
        let smallest = u64::try_from(settings.min_response_body_bytes).unwrap_or_default();
        let smallest = if smallest == 0 { SMALLEST } else { smallest };
        Ok(Self { types, smallest, codings, default })
    }

    fn request(&self, _exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Coding> {
        let headers = request.headers();
        if request.method() == Method::HEAD || self.types.exclude_request(headers) {
            return Flow::Next;
        }
        accept::choose(headers, &self.codings, self.default).map_or(Flow::Next, Flow::After)
    }

    fn response(&self, coding: Coding, response: &mut Response<Body>) {
        vary(response.headers_mut());
        if !self.compresses(response) {
            return;
        }
        let body = std::mem::take(response.body_mut());
        let length = body.size_hint().exact();
        // An encoder that can't be made leaves the answer as it is.
        match Encoded::new(coding, body, length) {
            Ok(body) => *response.body_mut() = Body::boxed(body),
            Err(body) => {
                *response.body_mut() = body;
                return;
            }
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        headers.remove(CONTENT_LENGTH);
        // A range would be one of another text.
        headers.remove(ACCEPT_RANGES);
    }
}

impl Step {
    fn compresses(&self, response: &Response<Body>) -> bool {
        let status = response.status();
        let headers = response.headers();
        !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            && !headers.contains_key(CONTENT_ENCODING)
            && !headers.contains_key(CONTENT_RANGE)
            && !forbids_changes(headers)
            && self.types.take(headers.get(CONTENT_TYPE))
            && !response.body().is_end_stream()
            // A body of unknown length is a stream: it is compressed as it comes.
            && response.body().size_hint().exact().is_none_or(|length| length >= self.smallest)
    }
}

/// `no-transform` binds proxies (RFC 9111 section 5.2.2.6).
fn forbids_changes(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|line| {
        let mut directives = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
    })
}

/// Says to caches that the answer depends on what the client accepts.
fn vary(headers: &mut HeaderMap) {
    let is_said = headers.get_all(VARY).iter().any(|line| {
        let mut names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    });
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}
