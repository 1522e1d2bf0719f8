//! `basicAuth`: asks for a name and password (RFC 7617).

mod md5_crypt;
mod secret;
#[cfg(test)]
mod tests;
mod users;
mod verify;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::login::{self, Admission};
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
    admission: Admission,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        let users = Users::load(&settings.users, &settings.users_file)?;
        let challenge = format!("Basic realm={}", login::quoted(&settings.realm));
        let challenge = HeaderValue::try_from(challenge)
            .map_err(|_| format!("realm {:?} cannot be a header value", settings.realm))?;
        let admission = Admission::build(&settings.header_field, settings.remove_header)?;
        Ok(Self(Box::new(Parts { users, challenge, admission })))
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let Some(said) = Credentials::of(request.headers()) else {
            return Flow::Respond(self.0.refusal());
        };
        match verify::at_once(self.0.users.secret(&said.name), &said.password) {
            Verdict::Pass => {
                self.0.admission.admit(exchange, request, said.name);
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
                self.0.admission.admit(exchange, request, said.name);
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
    fn refusal(&self) -> Response<Body> {
        login::refusal(self.challenge.clone())
    }
}

fn busy() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
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
