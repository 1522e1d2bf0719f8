//! A container's labels to model parts and problems. Must never leave a key unread.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::ReplicaState;
use crate::problem::ContainerRef;

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
    /// When it was made.
    pub created: Option<SystemTime>,
    /// When it was last started.
    pub started: Option<SystemTime>,
    /// Networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Ports that the image or container exposes: `(port, "tcp")`, sorted.
    pub exposed: Vec<(u16, String)>,
    /// Published ports: container port to host address and port.
    pub bindings: Vec<(u16, Option<IpAddr>, u16)>,
    /// `host`, `container:<id>`, or a network's name.
    pub network_mode: String,
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

/// All containers' labels to desired state: decodes each, merges replicas, reports conflicts.
pub struct Decoder {}
