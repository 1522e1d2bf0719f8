//! How a server is chosen.

/// The ways to choose a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// `wrr`: each its share, in turn.
    #[default]
    RoundRobin,
    /// `p2c`: of two at random, the one with fewer requests in flight.
    TwoChoices,
    /// `hrw`: by hash of the client's address.
    Rendezvous,
}

/// The strategy of that name; empty is `wrr`. `leasttime` is known to Traefik and not built.
pub fn known(name: &str) -> Option<Strategy> {
    match name {
        "" | "wrr" => Some(Strategy::RoundRobin),
        "p2c" => Some(Strategy::TwoChoices),
        "hrw" => Some(Strategy::Rendezvous),
        _ => None,
    }
}
