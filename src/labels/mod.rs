//! A container's labels to model parts and problems. Must never leave a key unread.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::{Desired, ReplicaState};
use crate::problem::ContainerRef;
use crate::settings;

/// A container as the engine describes it, reduced to what matters here.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Name and id.
    pub container: ContainerRef,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its state.
    pub state: ReplicaState,
    /// It has a HEALTHCHECK.
    pub has_health_check: bool,
    /// The signal that stops it; `None` when not known yet.
    pub stop_signal: Option<i32>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it was last started.
    pub started: Option<SystemTime>,
    /// Networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Ports that the image or container exposes: `(port, "tcp")`, sorted.
    pub exposed: Vec<(u16, String)>,
    /// Published ports.
    pub bindings: Vec<Binding>,
    /// `host`, `container:<id>`, or a network's name.
    pub network_mode: String,
}

impl Container {
    /// A container of which only the name is known: created, not started.
    pub fn named(name: &str, id: &str) -> Self {
        Self {
            container: ContainerRef { name: name.into(), id: id.into() },
            labels: BTreeMap::new(),
            state: ReplicaState::Gone,
            has_health_check: false,
            stop_signal: None,
            created: None,
            started: None,
            networks: BTreeMap::new(),
            exposed: Vec::new(),
            bindings: Vec::new(),
            network_mode: String::new(),
        }
    }
}

/// A container's place in one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: Arc<str>,
    /// IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// Global IPv6 address.
    pub ipv6: Option<IpAddr>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// The container's port.
    pub inner: u16,
    /// The host's address; unspecified: all.
    pub address: Option<IpAddr>,
    /// The host's port.
    pub outer: u16,
}

/// All containers' labels to desired state: decodes each, merges replicas, reports conflicts.
pub struct Decoder {}

impl Decoder {
    /// A decoder without containers.
    pub fn new(_docker: &settings::Docker, _wharf: &settings::Wharf) -> Self {
        Self {}
    }

    /// Whether a container with these labels is to be served, as far as can be told from them.
    pub fn wants<'l>(&self, labels: impl IntoIterator<Item = (&'l String, &'l String)>) -> bool {
        !labels.into_iter().any(|(key, value)| key == "traefik.enable" && value == "false")
    }

    /// Takes a container, new or changed.
    pub fn update(&mut self, _container: &Container) {}

    /// Forgets a container.
    pub fn remove(&mut self, _id: &str) {}

    /// Everything that the containers want served. What did not change since the last call
    /// keeps its `Arc`.
    pub fn desired(&mut self) -> Desired {
        Desired::default()
    }
}
