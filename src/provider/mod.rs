//! Where desired state comes from: docker, file. Must never decide anything about routing.

pub mod docker;
pub mod file;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::model::{CertificateFiles, Desired, Provider, ReplicaState, Sourced};

/// What a provider tells the reconcile task.
#[derive(Debug)]
pub enum Change {
    /// Everything that this provider wants served now, and its problems. Replaces its last.
    Desired(Provider, Arc<Desired>),
    /// A container's state, as soon as it is known; flips cells in place, no compile.
    Replica {
        /// Full id.
        container: Arc<str>,
        /// The new state.
        state: ReplicaState,
    },
    /// A running container lost these addresses: it was taken out of a network.
    Moved {
        /// Full id.
        container: Arc<str>,
        /// Where it no longer is.
        from: Vec<IpAddr>,
    },
    /// The connection to the engine.
    Engine(EngineState),
    /// What is known of the certificates that are served, beside their text.
    Stapled,
    /// All certificates that a resolver has. Replaces its last.
    Certificates {
        /// Its name.
        resolver: Arc<str>,
        /// Chains and keys, PEM.
        files: Vec<Arc<Sourced<CertificateFiles>>>,
    },
}

/// The connection to the Docker engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineState {
    /// Its address; empty without a Docker provider.
    pub endpoint: String,
    /// Whether events are coming in.
    pub connected: bool,
    /// Since when that is so.
    pub since: Option<SystemTime>,
    /// Why it is not connected.
    pub error: Option<String>,
    /// Engine version and API version.
    pub version: Option<String>,
    /// Containers known, exposed or not.
    pub containers: usize,
    /// Calls made to the engine so far.
    pub calls: u64,
}
