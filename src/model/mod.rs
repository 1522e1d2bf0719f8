//! What the providers want served: plain data with its provenance, in Traefik's
//! names, so that one set of structs decodes labels and files and prints the API.
//! Must never hold `hyper` types, sockets or atomics.

mod composite;
mod router;
mod secret;
mod service;
mod tls;
mod transport;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::middleware;
use crate::problem::{Origin, Problem};

pub use composite::{
    Failover, FailoverErrors, HealthOfChildren, HighestRandomWeight, Mirror, Mirroring, Weighted,
    WeightedService,
};
pub use router::{Domain, Router, RouterObservability, RouterTls, tidy};
pub use secret::Secret;
pub use service::{
    Cookie, HealthCheck, Hold, LoadBalancer, PassiveHealthCheck, ReplicaFacts, ReplicaState,
    ResponseForwarding, Server, Service, ServiceKind, Sticky,
};
pub use tls::{
    CertificateFiles, ClientAuth, ClientAuthType, GeneratedCert, Store, Tls, TlsOptions,
};
pub use transport::{ForwardingTimeouts, ServersTransport};

/// Where a thing was declared; the part of a name behind the `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Labels of containers.
    Docker,
    /// The file provider.
    File,
    /// Wharf itself.
    Internal,
}

impl Provider {
    /// The name behind the `@`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::File => "file",
            Self::Internal => "internal",
        }
    }

    /// The provider of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "docker" => Some(Self::Docker),
            "file" => Some(Self::File),
            "internal" => Some(Self::Internal),
            _ => None,
        }
    }
}

/// A qualified name: `whoami@docker`. Orders as its text does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    text: Arc<str>,
    local: usize,
    provider: Provider,
}

impl Name {
    /// `local@provider`.
    pub fn new(local: &str, provider: Provider) -> Self {
        let text = format!("{local}@{}", provider.as_str()).into();
        Self { text, local: local.len(), provider }
    }

    /// Reads a reference as written on something of `home`: without `@` it means the same
    /// provider. `None` when the part behind the `@` is no provider of Wharf's.
    pub fn resolve(reference: &str, home: Provider) -> Option<Self> {
        match reference.rsplit_once('@') {
            None => Some(Self::new(reference, home)),
            Some((local, provider)) => {
                Provider::from_name(provider).map(|provider| Self::new(local, provider))
            }
        }
    }

    /// The part before the `@`.
    pub fn local(&self) -> &str {
        self.text.get(..self.local).unwrap_or_default()
    }

    /// The part behind the `@`.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A value and everywhere it was written: one origin per container that said it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Who said so; never empty.
    pub from: Vec<Origin>,
    /// Who holds the name, where several may claim it: of things from labels.
    pub holder: Option<Arc<Holder>>,
}

impl<T> Sourced<T> {
    /// A value that nobody else can lay claim to.
    pub fn new(value: T, from: Vec<Origin>) -> Self {
        Self { value, from, holder: None }
    }
}

/// Who of those that start containers something belongs to, and who came first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The one with the lower number came first.
    pub order: u64,
    /// The Compose project; the container where there is none.
    pub party: Arc<str>,
    /// None of its containers has run for longer than requests wait for one.
    pub rests: bool,
}

/// Named things of one kind. Values are shared, so that an unchanged one can be told by
/// its pointer from one publication to the next.
pub type Items<T> = BTreeMap<Name, Arc<Sourced<T>>>;

/// Everything that one provider, or all of them together, want served.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Routers.
    pub routers: Items<Router>,
    /// Middlewares.
    pub middlewares: Items<middleware::Spec>,
    /// Services.
    pub services: Items<Service>,
    /// Servers transports (file provider only).
    pub transports: Items<ServersTransport>,
    /// Certificates and options (file provider only), stores.
    pub tls: Tls,
    /// What could not be used.
    pub problems: Vec<Problem>,
}
