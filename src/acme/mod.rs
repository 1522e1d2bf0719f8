//! Certificates by ACME (RFC 8555): resolvers, orders, challenges, `acme.json`. Must never
//! run on a worker.

mod challenge;
mod client;
mod dns;
mod driver;
mod file;
mod http;
mod jws;
mod order;
mod plan;
mod request;
mod setup;
pub mod status;
mod store;
mod words;

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::Name;
use crate::tls::Facts;

pub use challenge::{ALPN, Challenges, HttpAnswers, PATH};
pub use driver::run;
pub use setup::{Setup, bad_name, check, crowd, open};
pub use status::{Board, State};

/// A set of names that routers want one certificate for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Who is to get it.
    pub resolver: Arc<str>,
    /// The names, lower case, the main one first.
    pub names: Vec<String>,
    /// Who wants it.
    pub routers: Vec<Name>,
    /// It is for names that no other certificate covers.
    pub is_default: bool,
}

/// What resolvers need to know of the table.
pub trait Source {
    /// What routers want of this resolver.
    fn wanted(&self, resolver: &str) -> Vec<Wanted>;
    /// What is known of all certificates that are served, but for the default one.
    fn served(&self) -> Vec<Facts>;
    /// Tells those who look on that something of [`Shared`] changed.
    fn touch(&self);
    /// Wakes when that may have changed.
    fn subscribe(&self) -> watch::Receiver<u64>;
}

/// What workers and the API share with resolvers.
#[derive(Debug, Default)]
pub struct Shared {
    /// Open challenges.
    pub challenges: Arc<Challenges>,
    /// How it stands.
    pub board: Board,
}
