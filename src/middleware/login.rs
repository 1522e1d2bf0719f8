//! What the middlewares share that ask for a name and a password themselves: the refusal,
//! and what becomes of a request that passes.

use std::hint::black_box;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::identity::Fields;
use crate::message::{Body, Exchange, plain};

/// What is done to a request that passes.
pub(super) struct Admission {
    header_field: Option<(HeaderName, Arc<Fields>)>,
    remove_header: bool,
}

impl Admission {
    /// Prepares it. The error names the option.
    pub(super) fn build(header_field: &str, remove_header: bool) -> Result<Self, String> {
        let header_field = if header_field.is_empty() {
            None
        } else {
            let name = HeaderName::from_bytes(header_field.as_bytes())
                .map_err(|_| format!("headerField {header_field:?} is no header name"))?;
            let fields = Fields { names: Box::new([name.clone()]), pattern: None };
            Some((name, Arc::new(fields)))
        };
        Ok(Self { header_field, remove_header })
    }

    /// Lets a request pass: names the user to the server and to the access log.
    pub(super) fn admit(
        &self,
        exchange: &mut Exchange,
        request: &mut Request<Body>,
        user: Box<str>,
    ) {
        if let Some((field, fields)) = &self.header_field {
            fields.take_out(request);
            if let Ok(value) = HeaderValue::from_str(&user) {
                request.headers_mut().insert(field, value);
            }
        }
        if self.remove_header {
            request.headers_mut().remove(AUTHORIZATION);
        }
        exchange.user = Some(user);
    }
}

/// A realm as a quoted string; Traefik's own where none is set.
pub(super) fn quoted(realm: &str) -> String {
    format!("\"{}\"", named(realm).replace('\\', "\\\\").replace('"', "\\\""))
}

/// The realm that is meant by a setting.
pub(super) fn named(realm: &str) -> &str {
    if realm.is_empty() { "traefik" } else { realm }
}

/// Says what is asked for.
pub(super) fn refusal(challenge: HeaderValue) -> Response<Body> {
    let mut response = plain(StatusCode::UNAUTHORIZED, "401 Unauthorized\n");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Compares secrets; the time does not tell how much of them is the same.
pub(super) fn equal(one: &[u8], two: &[u8]) -> bool {
    let differences = one.iter().zip(two).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    one.len() == two.len() && black_box(differences) == 0
}
