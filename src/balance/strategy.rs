//! How a server is chosen.

use std::net::IpAddr;
use std::sync::Arc;

use super::replica::Replica;
use super::rotation::Rotation;
use super::sticky::fnv1;

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
    /// `leasttime`: the lowest mean time to the first byte of an answer.
    LeastTime,
}

/// The strategy of that name; empty is `wrr`.
pub fn known(name: &str) -> Option<Strategy> {
    match name {
        "" | "wrr" => Some(Strategy::RoundRobin),
        "p2c" => Some(Strategy::TwoChoices),
        "hrw" => Some(Strategy::Rendezvous),
        "leasttime" => Some(Strategy::LeastTime),
        _ => None,
    }
}

/// Servers that were asked in vain for this request.
pub(super) type Tried = smallvec::SmallVec<[Arc<Replica>; 2]>;

impl Strategy {
    /// Servers' times to the first byte are wanted.
    pub(super) fn is_timed(self) -> bool {
        self == Self::LeastTime
    }

    /// A ready server that was not tried yet; `turn` is the number of this pick.
    pub(super) fn pick<'r>(
        self,
        rotation: &'r Rotation,
        turn: usize,
        client: IpAddr,
        tried: &Tried,
    ) -> Option<&'r Arc<Replica>> {
        let is_new =
            |replica: &&Arc<Replica>| !tried.iter().any(|tried| Arc::ptr_eq(tried, replica));
        if rotation.is_ramping() && !self.goes_by_shares() {
            // Other bits than those that choose among two.
            let random = scatter(turn as u64) >> 24;
            let is_in =
                |replica: &&Arc<Replica>| is_new(replica) && rotation.admits(replica, random);
            let picked = self.among(rotation, turn, client, is_in);
            if picked.is_some() {
                return picked;
            }
        }
        self.among(rotation, turn, client, is_new)
    }

    /// A growing share is followed without further ado.
    fn goes_by_shares(self) -> bool {
        match self {
            Self::RoundRobin | Self::Rendezvous => true,
            Self::TwoChoices | Self::LeastTime => false,
        }
    }

    fn among(
        self,
        rotation: &Rotation,
        turn: usize,
        client: IpAddr,
        is_new: impl Fn(&&Arc<Replica>) -> bool,
    ) -> Option<&Arc<Replica>> {
        match self {
            Self::RoundRobin => rotation.from(turn).map(|(replica, _)| replica).find(is_new),
            Self::TwoChoices => {
                let mut left = rotation.ready.iter().map(|(replica, _)| replica).filter(&is_new);
                let count = left.clone().count();
                let (first, second) = two_of(count, scatter(turn as u64));
                let first = left.clone().nth(first)?;
                let second = left.nth(second)?;
                Some(if second.in_flight() < first.in_flight() { second } else { first })
            }
            Self::Rendezvous => rotation
                .ready
                .iter()
                .filter(|(replica, _)| is_new(&replica))
                .max_by(|(a, a_weight), (b, b_weight)| {
                    let score =
                        |replica: &Replica, weight| rendezvous(&replica.url, weight, client);
                    score(a, *a_weight).total_cmp(&score(b, *b_weight))
                })
                .map(|(replica, _)| replica),
            Self::LeastTime => least(rotation, turn, is_new),
        }
    }
}

/// The ready server with the shortest wait; of several, the one whose turn is next.
fn least(
    rotation: &Rotation,
    turn: usize,
    is_new: impl Fn(&&Arc<Replica>) -> bool,
) -> Option<&Arc<Replica>> {
    let mut best: Option<(&Arc<Replica>, f64)> = None;
    let mut equals = 0;
    let weighed = || rotation.whole_shares().filter(|(replica, _)| is_new(replica));
    for (replica, weight) in weighed() {
        let wait = wait(replica, weight);
        match best {
            Some((_, least)) if wait > least => {}
            Some((_, least)) if wait >= least => equals += 1,
            Some(_) | None => (best, equals) = (Some((replica, wait)), 0),
        }
    }
    let (replica, least) = best?;
    if equals == 0 {
        return Some(replica);
    }
    // Another worker may have sent to them meanwhile: then the one found first.
    let next = if rotation.is_ramping() {
        // A share that grows has had its say when they were drawn.
        let mut least_of = weighed().filter(|(one, weight)| wait(one, *weight) <= least);
        least_of.nth(turn % (equals + 1)).map(|(one, _)| one)
    } else {
        let mut turns = rotation.from(turn).map(|(one, weight)| (one, *weight));
        turns.find(|(one, weight)| is_new(one) && wait(one, *weight) <= least).map(|(one, _)| one)
    };
    Some(next.unwrap_or(replica))
}

/// What a further request is likely to wait at a server. One that never answered counts as
/// instant, so that it is asked and known; by one request at a time, or one that hangs would
/// get them all.
fn wait(replica: &Replica, weight: u32) -> f64 {
    let in_flight = replica.in_flight();
    let mean = replica.times.mean();
    if mean <= 0.0 {
        return if in_flight == 0 { 0.0 } else { f64::INFINITY };
    }
    mean * (f64::from(in_flight) + 1.0) / f64::from(weight.max(1))
}

/// Two different places of `count`, or the same one twice when there is but one.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let count = count.max(1) as u64;
    let first = random % count;
    let other = (random >> 32) % count.saturating_sub(1).max(1);
    let second = if count == 1 { 0 } else { (first + 1 + other) % count };
    (usize::try_from(first).unwrap_or(0), usize::try_from(second).unwrap_or(0))
}

/// Spreads consecutive numbers (splitmix64): random enough to choose by, and free.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Weighted rendezvous hashing: each client's order of servers or services, the same on all
/// workers.
pub(super) fn rendezvous(name: &str, weight: u32, client: IpAddr) -> f64 {
    let address = match client.to_canonical() {
        IpAddr::V4(ip) => fnv1(&ip.octets()),
        IpAddr::V6(ip) => fnv1(&ip.octets()),
    };
    let hash = scatter(address ^ fnv1(name.as_bytes()));
    #[expect(clippy::cast_precision_loss, reason = "only 53 bits are taken")]
    let share = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / share.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_known_by_their_exact_names() {
        assert_eq!(known(""), Some(Strategy::RoundRobin));
        assert_eq!(known("p2c"), Some(Strategy::TwoChoices));
        assert_eq!(known("hrw"), Some(Strategy::Rendezvous));
        assert_eq!(known("WRR"), None);
        assert_eq!(known("leasttime"), Some(Strategy::LeastTime));
    }

    #[test]
    fn two_choices_differ_and_reach_everyone() {
        for count in 2..6 {
            let mut seen = vec![false; count];
            for number in 0..200 {
                let (first, second) = two_of(count, scatter(number));

                assert_ne!(first, second);
                seen[first] = true;
            }
            assert!(seen.into_iter().all(|seen| seen), "{count}");
        }
        assert_eq!(two_of(1, 7), (0, 0));
    }
}
