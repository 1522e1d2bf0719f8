//! The files in `static/`, part of the binary.

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Response, header::X_CONTENT_TYPE_OPTIONS};
use sha2::{Digest, Sha256};

use crate::api::answer;
use crate::message::Body;

const STYLE: &str = include_str!("../../../static/app.css");
const SCRIPT: &str = include_str!("../../../static/app.js");
const LOGO: &str = include_str!("../../../static/logo.svg");

/// The file of that name.
pub(super) fn asset(name: &str) -> Option<Response<Body>> {
    let (text, content_type) = match name {
        "app.css" => (STYLE, "text/css; charset=utf-8"),
        "app.js" => (SCRIPT, "text/javascript; charset=utf-8"),
        "logo.svg" => (LOGO, "image/svg+xml"),
        _ => return None,
    };
    let mut response = answer::with_type(Body::from(text), content_type);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Pages name the files with their `version`, so a copy is good for ever.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    Some(response)
}

/// Changes whenever one of the files does.
pub(super) fn version() -> String {
    let mut hash = Sha256::new();
    for text in [STYLE, SCRIPT, LOGO] {
        hash.update(text);
    }
    let digest = hash.finalize();
    let start = digest.iter().take(6).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("{start:012x}")
}
