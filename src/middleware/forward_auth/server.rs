//! The server that is asked, and its connections.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};

use super::settings::{Settings, Tls};
use crate::middleware::{client_tls, target};
use crate::upstream::{Server, Transport, TransportSettings};

/// Idle connections that one worker keeps.
const IDLE: i64 = 32;

/// Servers that are asked with TLS settings of nobody's own: middlewares with the same
/// address share their connections, as there is often one such server for all routers.
static SHARED: Mutex<Vec<(Box<str>, Weak<Connections>)>> = Mutex::new(Vec::new());

/// A server as settings name it.
pub(super) struct AuthServer {
    connections: Arc<Connections>,
    target: PathAndQuery,
    base: Uri,
    /// For the user and password in the address, as Go has it.
    authorization: Option<HeaderValue>,
}

/// What may be shared of a server.
struct Connections(Server);

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.retire();
    }
}

impl Deref for AuthServer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.connections.0
    }
}

impl AuthServer {
    /// Prepares it; `None` when the address is none, which Traefik finds out at each
    /// request. The error is about TLS, in Traefik's words.
    pub(super) fn of(settings: &Settings) -> Result<Option<Arc<Self>>, String> {
        let transport = transport(settings.tls.as_ref())
            .map_err(|why| format!("unable to create client TLS configuration: {why}"))?;
        let Ok(base) = parse(&settings.address) else { return Ok(None) };
        let connections = match transport {
            Some(transport) => Server::parse(&settings.address, false, &transport)
                .ok()
                .map(|server| Arc::new(Connections(server))),
            None => shared(&base),
        };
        let made = connections.map(|connections| Self {
            connections,
            target: base.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
            authorization: authorization(&base),
            base,
        });
        Ok(made.map(Arc::new))
    }

    /// What it is asked for.
    pub(super) fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// The address, which relative locations start from.
    pub(super) fn base(&self) -> &Uri {
        &self.base
    }

    /// For messages: without the password.
    pub(super) fn address(&self) -> &str {
        &self.connections.0.address
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// Reads an address. The error completes a sentence about it.
pub(super) fn parse(address: &str) -> Result<Uri, &'static str> {
    let uri: Uri = address.parse().map_err(|_| "is no URL")?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err("is no http or https URL"),
    }
}

fn shared(base: &Uri) -> Option<Arc<Connections>> {
    let scheme = base.scheme_str()?;
    let authority = base.authority()?.as_str().rsplit('@').next()?;
    let url = format!("{scheme}://{authority}");
    let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, known)| known.strong_count() > 0);
    if let Some(known) =
        all.iter().filter(|(known, _)| **known == *url).find_map(|(_, known)| known.upgrade())
    {
        return Some(known);
    }
    let transport = Transport::build(&plain()).ok()?;
    let made = Arc::new(Connections(Server::parse(&url, false, &transport).ok()?));
    all.push((url.into(), Arc::downgrade(&made)));
    Some(made)
}

fn plain() -> TransportSettings {
    TransportSettings { max_idle_per_server: IDLE, ..TransportSettings::default() }
}

/// A transport of its own, where there are settings for it.
fn transport(tls: Option<&Tls>) -> Result<Option<Arc<Transport>>, String> {
    let Some(tls) = tls else { return Ok(None) };
    let material = client_tls::Material {
        ca: &tls.ca,
        cert: &tls.cert,
        key: &tls.key,
        insecure_skip_verify: tls.insecure_skip_verify,
    };
    client_tls::transport(&material, plain()).map(Some)
}

fn authorization(base: &Uri) -> Option<HeaderValue> {
    let (user, _) = base.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let pair = [&*target::decode(name), b":", &*target::decode(password)].concat();
    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()
}
