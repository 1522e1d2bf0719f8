//! Whose turn it is: worked out when readiness changes, read by requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::generations::Member;
use super::ramp;
use super::replica::Replica;
use super::split::Split;
use super::state::ReplicaState;

/// Turns kept at most; larger sums of weights are scaled down to it.
const MAX_TURNS: u64 = 4096;

/// The servers that requests may be sent to.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// Ready ones with a share.
    pub(super) ready: Box<[(Arc<Replica>, u32)]>,
    /// Places in `ready`, in the order of turns.
    turns: Box<[u32]>,
    /// The parts of their shares that the ready ones get, of [`ramp::STEPS`]; empty when all
    /// get the whole.
    parts: Box<[u32]>,
    /// Asked when nobody is ready.
    pub(super) last_resort: Box<[Arc<Replica>]>,
    /// Those of them that are asked also what must not be sent twice.
    pub(super) steady: Box<[Arc<Replica>]>,
    /// A server is about to be ready, or it is about to be known whether one goes on.
    pub(super) is_expecting: bool,
    /// How requests are split between generations, where that is to be decided.
    pub(super) split: Option<Box<Split>>,
}

impl Rotation {
    /// The rotation of these servers and their weights; the share of one that has just become
    /// ready grows over `slow_start`.
    pub(super) fn new<'m>(
        members: &(impl Iterator<Item = &'m Member> + Clone),
        slow_start: Duration,
        now: Instant,
    ) -> Self {
        let with_share = || members.clone().filter(|member| member.weight > 0);
        let mut ready: Box<[_]> = with_share()
            .filter(|member| member.replica.is_ready())
            .map(|member| (Arc::clone(&member.replica), member.weight))
            .collect();
        let mut parts: Box<[u32]> = Box::default();
        if !slow_start.is_zero() {
            let part = |(replica, _): &(Arc<Replica>, u32)| {
                ramp::part(replica.ready_since(), slow_start, now)
            };
            parts = ready.iter().map(part).collect();
            // All alike is as good as whole.
            if parts.iter().all(|part| Some(part) == parts.first()) {
                parts = Box::default();
            }
            for ((_, weight), part) in ready.iter_mut().zip(&parts) {
                *weight = weight.saturating_mul(*part);
            }
        }
        let chosen = |is_so: fn(&Replica) -> bool| -> Box<[Arc<Replica>]> {
            let replicas = with_share().map(|member| &member.replica);
            replicas.filter(|replica| is_so(replica)).map(Arc::clone).collect()
        };
        let (last_resort, steady) = (chosen(Replica::is_last_resort), chosen(Replica::is_steady));
        let weights: Vec<u32> = ready.iter().map(|(_, weight)| *weight).collect();
        Self {
            turns: turns(&weights),
            parts,
            is_expecting: last_resort.len() > steady.len()
                || with_share().any(|member| member.replica.state() == ReplicaState::Starting),
            last_resort,
            steady,
            ready,
            split: None,
        }
    }

    /// Those to ask when nobody is ready.
    pub(super) fn resorts(&self, may_be_sent_twice: bool) -> &[Arc<Replica>] {
        if may_be_sent_twice { &self.last_resort } else { &self.steady }
    }

    /// The share of one of them has yet to grow.
    pub(super) fn is_ramping(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The ready servers and the shares that they will have once they have grown.
    pub(super) fn whole_shares(&self) -> impl Iterator<Item = (&Arc<Replica>, u32)> {
        self.ready.iter().enumerate().map(|(place, (replica, weight))| {
            let part = self.parts.get(place).copied().unwrap_or(1);
            (replica, weight.checked_div(part).unwrap_or(*weight))
        })
    }

    /// Whether a server is to be looked at in a draw with this random number, by strategies
    /// that do not go by shares.
    pub(super) fn admits(&self, replica: &Arc<Replica>, random: u64) -> bool {
        let found = self.ready.iter().position(|(one, _)| Arc::ptr_eq(one, replica));
        let part = found.and_then(|place| self.parts.get(place)).copied();
        part.is_none_or(|part| random % u64::from(ramp::STEPS) < u64::from(part))
    }

    /// The server whose turn it is.
    pub(super) fn turn(&self, count: usize) -> Option<&Arc<Replica>> {
        self.at(count).map(|(replica, _)| replica)
    }

    fn at(&self, count: usize) -> Option<&(Arc<Replica>, u32)> {
        let place = *self.turns.get(count.checked_rem(self.turns.len())?)?;
        self.ready.get(place as usize)
    }

    /// The servers and their shares in the order of turns from that one on, one round.
    pub(super) fn from(&self, count: usize) -> impl Iterator<Item = &(Arc<Replica>, u32)> {
        (0..self.turns.len()).filter_map(move |step| self.at(count.wrapping_add(step)))
    }
}

/// One round of turns: earliest deadline first, so that the turns of each are spread out.
pub(super) fn turns(weights: &[u32]) -> Box<[u32]> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let scale = sum.div_ceil(MAX_TURNS).max(1);
    let shares: Vec<u64> = weights
        .iter()
        .map(|weight| match u64::from(weight / divisor) {
            0 => 0,
            share => (share / scale).max(1),
        })
        .collect();
    let total: u64 = shares.iter().sum();
    let mut taken = vec![0_u64; shares.len()];
    (0..total).filter_map(|_| next(&shares, &mut taken)).collect()
}

/// The one whose next turn is due first: the smallest (taken + 1/2) / share; earlier ones win
/// ties.
fn next(shares: &[u64], taken: &mut [u64]) -> Option<u32> {
    let due = |index: usize| Some((2 * *taken.get(index)? + 1, *shares.get(index)?));
    let chosen =
        (0..shares.len()).filter(|index| shares.get(*index) != Some(&0)).min_by(|a, b| {
            let (Some((a, a_share)), Some((b, b_share))) = (due(*a), due(*b)) else {
                return std::cmp::Ordering::Equal;
            };
            (a * b_share).cmp(&(b * a_share))
        })?;
    *taken.get_mut(chosen)? += 1;
    u32::try_from(chosen).ok()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_shared_by_weight_and_spread_out() {
        for (weights, wanted) in [
            (&[1, 1][..], "01"),
            (&[3, 1], "0010"),
            (&[2, 2, 2], "012"),
            (&[1, 0, 1], "02"),
            (&[], ""),
            (&[0], ""),
        ] {
            let made: String = turns(weights).iter().map(ToString::to_string).collect();

            assert_eq!(made, wanted, "{weights:?}");
        }
    }

    #[test]
    fn large_weights_are_scaled_and_nobody_is_forgotten() {
        let made = turns(&[1_000_003, 1_000_000, 1]);

        assert!(made.len() <= 4100);
        assert!(made.contains(&2));
    }
}
