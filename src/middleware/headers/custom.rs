//! Fields that the user sets and removes.

use std::collections::BTreeMap;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};

use super::Settings;
use crate::message::{Body, Exchange};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Fields that say where a message ends. Setting them would let two readers disagree, so
/// they are left as they are (Go leaves them out on the way to servers, too).
const FRAMING: [HeaderName; 3] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER];

/// Fields to set, or to remove where there is no value.
pub(super) struct Edits(Box<[(HeaderName, Option<HeaderValue>)]>);

impl Edits {
    /// For answers. A name that HTTP forbids is left out, as in Traefik; see [`remarks`].
    pub(super) fn for_responses(fields: &BTreeMap<String, String>) -> Result<Self, String> {
        let known = fields.iter().filter_map(|(name, value)| Some((usable(name)?, value)));
        known.map(|(name, value)| edit(name, value)).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => drop(headers.insert(name, value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }
}

/// What happens to requests.
pub(super) struct RequestEdits {
    fields: Edits,
    host: Option<(HeaderValue, Option<Authority>)>,
    suppress_forwarded_for: bool,
}

impl RequestEdits {
    /// Prepares them. Traefik answers each request with 500 where this returns an error.
    pub(super) fn build(fields: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut edits = Vec::new();
        let mut host = None;
        let mut suppress_forwarded_for = false;
        for (text, value) in fields {
            let name = HeaderName::from_bytes(text.as_bytes())
                .map_err(|_| format!("customRequestHeaders: {text:?} is no header name"))?;
            let (name, value) = edit(name, value)?;
            if name == header::HOST {
                // As Traefik: an empty one changes nothing.
                host = value.map(|value| {
                    let authority = Authority::try_from(value.as_bytes()).ok();
                    (value, authority)
                });
            } else if !FRAMING.contains(&name) {
                suppress_forwarded_for |= name == X_FORWARDED_FOR && value.is_none();
                edits.push((name, value));
            }
        }
        Ok(Self { fields: Edits(edits.into()), host, suppress_forwarded_for })
    }

    pub(super) fn apply(&self, exchange: &mut Exchange, request: &mut Request<Body>) {
        self.fields.apply(request.headers_mut());
        exchange.suppress_forwarded_for |= self.suppress_forwarded_for;
        let Some((value, authority)) = &self.host else { return };
        request.headers_mut().insert(header::HOST, value.clone());
        if let (Some(authority), Some(_)) = (authority, request.uri().authority()) {
            let mut parts = request.uri().clone().into_parts();
            parts.authority = Some(authority.clone());
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
}

fn edit(name: HeaderName, value: &str) -> Result<(HeaderName, Option<HeaderValue>), String> {
    if value.is_empty() {
        return Ok((name, None));
    }
    match HeaderValue::from_str(value) {
        Ok(value) => Ok((name, Some(value))),
        Err(_) => Err(format!("header {name}: {value:?} holds characters that HTTP forbids")),
    }
}

fn usable(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !FRAMING.contains(name))
}

/// What is accepted and yet not done.
pub(super) fn remarks(settings: &Settings) -> Vec<String> {
    let mut remarks = Vec::new();
    let both =
        settings.custom_request_headers.keys().chain(settings.custom_response_headers.keys());
    for name in both {
        match HeaderName::from_bytes(name.as_bytes()) {
            Err(_) => remarks.push(format!("{name:?} is no header name; it is left out")),
            Ok(known) if FRAMING.contains(&known) => {
                remarks.push(format!("`{name}` belongs to the connection and cannot be set"));
            }
            Ok(_) => {}
        }
    }
    remarks
}
