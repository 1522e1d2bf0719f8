//! A container's labels to model parts and problems. Must never leave a key unread.

mod address;
mod bounds;
mod container;
mod decoder;
mod deploy;
mod generation;
mod hand_over;
mod kind;
mod known;
mod merge;
mod name;
mod owner;
mod reach;
mod read;
mod service;
mod spoiled;
mod template;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::ReplicaState;
use crate::problem::ContainerRef;

pub use container::bad_name;
pub use decoder::Decoder;
pub use known::{options, own_options};

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

/// The value of a label under `traefik.` or `wharf.`, its key in any case.
fn root_value<'l>(labels: &'l BTreeMap<String, String>, path: &str) -> Option<&'l str> {
    labels.iter().find_map(|(key, value)| {
        let (root, rest) = key.split_once('.')?;
        let is_ours = root == "traefik" || root == "wharf";
        (is_ours && rest.eq_ignore_ascii_case(path)).then_some(value.as_str())
    })
}
