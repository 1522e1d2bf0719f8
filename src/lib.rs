//! Wharf: a reverse proxy that watches the Docker engine and serves what
//! containers ask for in their `traefik.*` labels.
//!
//! The modules are listed in dependency order: each may import only those above
//! it (`tests/layers.rs` holds this).

pub mod acme;
pub mod api;
pub mod balance;
pub mod cli;
pub mod compile;
pub mod control;
pub mod dns;
pub mod labels;
pub mod listen;
pub mod message;
pub mod middleware;
pub mod model;
pub mod observe;
pub mod otlp;
pub mod problem;
pub mod provider;
pub mod redis;
pub mod route;
pub mod rule;
pub mod settings;
pub mod spiffe;
pub mod table;
pub mod tls;
pub mod tree;
pub mod upstream;
