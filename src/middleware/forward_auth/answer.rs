//! What the client gets of an answer.

use http::header::{CONTENT_LENGTH, LOCATION, SET_COOKIE, TRAILER};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};

use super::{Answer, location};
use crate::message::{Body, hop, plain, worded};

/// Sends the client to log in.
pub(super) fn sign_in(url: HeaderValue) -> Response<Body> {
    let mut response = plain(StatusCode::FOUND, "");
    response.headers_mut().insert(LOCATION, url);
    response
}

/// The answer as the client's. Its location is completed from `base`. `None` when it is
/// no URL.
pub(super) fn refusal(answer: Answer, base: Option<&Uri>) -> Option<Response<Body>> {
    let mut response = Response::new(answer.body.data.into());
    *response.status_mut() = answer.status;
    let mut headers = answer.headers;
    hop::strip_response(answer.status, &mut headers);
    // Of the body as it came; this one may have been decoded, and has no trailers.
    for name in [CONTENT_LENGTH, TRAILER] {
        headers.remove(name);
    }
    if let Some(said) = headers.get(LOCATION) {
        let whole = location::resolve(said, base)?;
        headers.insert(LOCATION, whole);
    }
    *response.headers_mut() = headers;
    Some(worded(response))
}

/// As Traefik: once the server sets any cookie, those of these names are its own to set.
pub(super) fn set_cookies(names: &[String], from: &HeaderMap, into: &mut HeaderMap) {
    let is_listed = |cookie: &&HeaderValue| names.iter().any(|name| is_named(cookie, name));
    let kept: Vec<_> =
        into.get_all(SET_COOKIE).iter().filter(|cookie| !is_listed(cookie)).cloned().collect();
    into.remove(SET_COOKIE);
    for cookie in kept {
        into.append(SET_COOKIE, cookie);
    }
    for cookie in from.get_all(SET_COOKIE).iter().filter(is_listed) {
        into.append(SET_COOKIE, cookie.clone());
    }
}

fn is_named(cookie: &HeaderValue, name: &str) -> bool {
    let said = cookie.as_bytes().split(|byte| matches!(byte, b'=' | b';')).next();
    said.is_some_and(|said| said.trim_ascii() == name.as_bytes())
}
