//! `digestAuth`: asks for a name and a password that never goes over the wire (RFC 7616,
//! with MD5 and `qop=auth`, as Traefik does).

mod nonces;
mod parameters;
#[cfg(test)]
mod tests;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::login::{self, Admission};
use super::users::{self, Users};
use super::{Flow, Middleware, target};
use crate::message::{Body, Exchange};
use nonces::{Count, Nonces};
use parameters::Parameters;

/// Stands in for the hash of unknown users, so that they cost the same as known ones.
const DECOY: &str = "00000000000000000000000000000000";

/// Settings of `digestAuth`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// `name:realm:hash` with the MD5 of `name:realm:password`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// A file with one `name:realm:hash` per line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub users_file: String,
    /// Does not send Authorization on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remove_header: bool,
    /// Told to clients, and the one that users must be of; empty: `traefik`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub realm: String,
    /// The field of the request that names the user to the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub header_field: String,
}

/// The step.
pub struct Step(Box<Parts>);

struct Parts {
    /// Names of the realm's users and their hashes.
    users: Users<Box<str>>,
    /// `"traefik"`, quoted.
    realm: String,
    opaque: String,
    nonces: Nonces,
    admission: Admission,
}

/// What is answered to one who does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Ask for name and password.
    Wrong,
    /// They were right: try again with a new nonce, without asking anybody.
    Stale,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn remarks(settings: &Settings) -> Vec<String> {
        let realm = login::named(&settings.realm);
        let odd = settings.users.iter().filter_map(|user| {
            let (key, hash) = parse(user)?;
            let (name, own) = key.split_once(':')?;
            if own != realm {
                return Some(format!(
                    "digestAuth: user {name:?} is of realm {own:?} and cannot pass: `realm` is \
                     {realm:?}"
                ));
            }
            let is_hash = hash.len() == DECOY.len()
                && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            (!is_hash).then(|| {
                format!(
                    "digestAuth: user {name:?} has no MD5 in lower case, so nobody passes by it"
                )
            })
        });
        odd.collect()
    }

    fn build(settings: &Settings) -> Result<Self, String> {
        let all = users::load("DigestUser", &settings.users, &settings.users_file, parse)?;
        // As Traefik: no user at all is fine, and so is one of another realm; nobody passes.
        let realm = format!(":{}", login::named(&settings.realm));
        let own = |(key, hash): (Box<str>, _)| Some((key.strip_suffix(&realm)?.into(), hash));
        let parts = Parts {
            users: all.into_iter().filter_map(own).collect(),
            realm: login::quoted(&settings.realm),
            opaque: hex(&rand::random::<[u8; 8]>()),
            nonces: Nonces::new(),
            admission: Admission::build(&settings.header_field, settings.remove_header)?,
        };
        if HeaderValue::try_from(&parts.realm).is_err() {
            return Err(format!("realm {:?} cannot be a header value", settings.realm));
        }
        Ok(Self(Box::new(parts)))
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let parts = &*self.0;
        let field = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let Some(said) = field.and_then(Parameters::parse) else {
            return Flow::Respond(parts.refusal(Refusal::Wrong));
        };
        let verdict = parts.check(&said, request);
        let user = Box::from(&*said.username);
        match verdict {
            Ok(()) => {
                parts.admission.admit(exchange, request, user);
                Flow::Next
            }
            Err(refusal) => {
                exchange.user = Some(user);
                Flow::Respond(parts.refusal(refusal))
            }
        }
    }
}

impl Parts {
    fn check(&self, said: &Parameters<'_>, request: &Request<Body>) -> Result<(), Refusal> {
        let known = self.users.get(&*said.username);
        let hash = known.map_or(DECOY, |hash| hash);
        let what = md5(&[request.method().as_str(), &said.uri]);
        let wanted = md5(&[hash, &said.nonce, &said.nc, &said.cnonce, &said.qop, &what]);
        let is_right = login::equal(wanted.as_bytes(), said.response.as_bytes());
        if known.is_none() || !is_right || !said.is_supported() || !is_for(&said.uri, request) {
            return Err(Refusal::Wrong);
        }
        let count = said.count().ok_or(Refusal::Wrong)?;
        // A step with other settings gives another value: its nonces are gone.
        if *said.opaque != *self.opaque {
            return Err(Refusal::Stale);
        }
        match self.nonces.count(&said.nonce, count) {
            Count::Next => Ok(()),
            Count::Again => Err(Refusal::Wrong),
            Count::Stale => Err(Refusal::Stale),
        }
    }

    fn refusal(&self, refusal: Refusal) -> Response<Body> {
        let stale = match refusal {
            Refusal::Wrong => "",
            Refusal::Stale => " stale=\"true\",",
        };
        let Self { realm, opaque, .. } = self;
        let nonce = self.nonces.issue();
        let challenge = HeaderValue::try_from(format!(
            "Digest realm={realm}, nonce=\"{nonce}\", opaque=\"{opaque}\",{stale} \
             algorithm=\"MD5\", qop=\"auth\""
        ));
        login::refusal(challenge.unwrap_or(HeaderValue::from_static("Digest")))
    }
}

/// `name:realm:hash`: the first two as one key, and the hash.
fn parse(user: &str) -> Option<(Box<str>, Box<str>)> {
    let (key, hash) = user.rsplit_once(':')?;
    let (_, realm) = key.split_once(':')?;
    (!realm.contains(':')).then(|| (key.into(), hash.into()))
}

/// Whether what was hashed as the target is the one that was asked for. As Traefik: also
/// where only the path was, or the start of it.
fn is_for(uri: &str, request: &Request<Body>) -> bool {
    let asked = request.uri();
    if asked.path_and_query().is_some_and(|target| target.as_str() == uri) {
        return true;
    }
    let path = match uri.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or(""),
        None => uri,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    is_escaped_well(path) && target::decode(asked.path()).starts_with(&target::decode(path))
}

fn is_escaped_well(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        rest.as_bytes().first_chunk::<2>().is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    })
}

/// The hash of these, with colons between them.
fn md5(parts: &[&str]) -> String {
    let mut hasher = Md5::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(":");
        }
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}
