//! `basicAuth`: asks for a name and password (RFC 7617).

mod md5_crypt;
mod secret;
#[cfg(test)]
mod tests;
mod users;
mod verify;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange, plain};
use users::Users;
use verify::Verdict;

/// Longest password that is looked at; hashing is linear in it and done a thousand times.
const LONGEST: usize = 4096;

/// Settings of `basicAuth`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// `name:hash` with bcrypt, `$apr1$`, `$1$` or `{SHA}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// A file with one `name:hash` per line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub users_file: String,
    /// Told to clients; empty: `traefik`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub realm: String,
    /// Does not send Authorization on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remove_header: bool,
    /// The field of the request that names the user to the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub header_field: String,
}

/// The step.
pub struct Step(Box<Parts>);

struct Parts {
    users: Users,
    challenge: HeaderValue,
    remove_header: bool,
    header_field: Option<HeaderName>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let users = Users::load(&settings.users, &settings.users_file)?;
        let realm = if settings.realm.is_empty() { "traefik" } else { &settings.realm };
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = HeaderValue::try_from(format!("Basic realm=\"{realm}\""))
            .map_err(|_| format!("realm {:?} cannot be a header value", settings.realm))?;
        let header_field = match settings.header_field.as_str() {
            "" => None,
            text => Some(
                HeaderName::from_bytes(text.as_bytes())
                    .map_err(|_| format!("headerField {text:?} is no header name"))?,
            ),
        };
        let remove_header = settings.remove_header;
        Ok(Self(Box::new(Parts { users, challenge, remove_header, header_field })))
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let Some(said) = Credentials::of(request.headers()) else {
            return Flow::Respond(self.0.refusal());
        };
        match verify::at_once(self.0.users.secret(&said.name), &said.password) {
            Verdict::Pass => {
                self.0.admit(exchange, request, said.name);
                Flow::Next
            }
            Verdict::Refuse => {
                exchange.user = Some(said.name);
                Flow::Respond(self.0.refusal())
            }
            Verdict::Wait => Flow::Wait,
        }
    }

    async fn wait(
        &self,
        exchange: &mut Exchange,
        request: &mut Request<Body>,
    ) -> Result<(), Response<Body>> {
        let Some(said) = Credentials::of(request.headers()) else {
            return Err(self.0.refusal());
        };
        match verify::off_thread(self.0.users.secret(&said.name), said.password).await {
            Some(true) => {
                self.0.admit(exchange, request, said.name);
                Ok(())
            }
            Some(false) => {
                exchange.user = Some(said.name);
                Err(self.0.refusal())
            }
            None => Err(busy()),
        }
    }
}

impl Parts {
    fn admit(&self, exchange: &mut Exchange, request: &mut Request<Body>, name: Box<str>) {
        let headers = request.headers_mut();
        if let Some(field) = &self.header_field {
            remove_aliases(headers, field);
            if let Ok(value) = HeaderValue::from_str(&name) {
                headers.insert(field, value);
            }
        }
        if self.remove_header {
            headers.remove(AUTHORIZATION);
        }
        exchange.user = Some(name);
    }

    fn refusal(&self) -> Response<Body> {
        let mut response = plain(StatusCode::UNAUTHORIZED, "401 Unauthorized\n");
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(WWW_AUTHENTICATE, self.challenge.clone());
        response
    }
}

fn busy() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The user is named by us alone: the client's own field goes, and with it all that a
/// server may take for it (`X_User` for `X-User`).
fn remove_aliases(headers: &mut HeaderMap, field: &HeaderName) {
    let same = |name: &HeaderName| {
        let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
        name.as_str().bytes().map(plain).eq(field.as_str().bytes().map(plain))
    };
    let aliases: Vec<HeaderName> = headers.keys().filter(|name| same(name)).cloned().collect();
    for alias in aliases {
        headers.remove(alias);
    }
}

/// What the client says it is.
struct Credentials {
    name: Box<str>,
    password: Vec<u8>,
}

impl Credentials {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let said = headers.get(AUTHORIZATION)?.as_bytes();
        let (scheme, token) = said.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let mut pair = STANDARD.decode(token).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let password = pair.split_off(colon + 1);
        pair.truncate(colon);
        let name = String::from_utf8(pair).ok()?.into();
        (password.len() <= LONGEST).then_some(Self { name, password })
    }
}
