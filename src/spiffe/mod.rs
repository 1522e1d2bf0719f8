//! SPIFFE: an identity of this process that an agent gives and renews, and identities of
//! servers. Holds the newest one for whoever shakes hands. Must never know transports.
//! <https://github.com/spiffe/spiffe/tree/main/standards>

mod address;
mod id;
mod peer;
mod svid;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch as latest;

pub use address::Address;
pub use id::{BadId, Id, TrustDomain};
pub use peer::{Allowed, Own, Verifier};
pub use svid::{BadSvid, Svid};
pub use watch::run;

/// The newest identity. Clones share it.
#[derive(Clone)]
pub struct Source(Arc<latest::Sender<Option<Arc<Svid>>>>);

impl Default for Source {
    fn default() -> Self {
        Self(Arc::new(latest::Sender::new(None)))
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl Source {
    /// The newest identity; `None` until there is one.
    pub fn current(&self) -> Option<Arc<Svid>> {
        self.0.borrow().clone()
    }

    /// Waits for the first identity.
    pub async fn ready(&self) {
        // It fails when the sender is gone, which we have.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Takes a new identity in place of the last one.
    pub fn renew(&self, svid: Svid) {
        self.0.send_replace(Some(Arc::new(svid)));
    }
}
