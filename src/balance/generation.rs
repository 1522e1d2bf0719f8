//! A generation of a service's servers as it is shown.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::deploy::{DeployRules, short};
use super::generations::{Generations, Member, Record};
use super::replica::Replica;
use super::rotation::Rotation;
use super::split::Gate;

/// The newest generation gets no more requests, since too many of them failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The generation.
    pub generation: Arc<str>,
    /// Since when.
    pub at: SystemTime,
    /// Requests that were over within the window, without those that asked for it by themselves.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// What they were counted over.
    pub window: Duration,
    /// The youngest of its containers then: one that is made later is another try.
    pub(super) created: Option<SystemTime>,
    /// Its place in the order of generations.
    pub(super) appeared: Option<SystemTime>,
    /// The generations then, this one too.
    pub(super) known: Box<[Arc<str>]>,
}

impl BackOff {
    pub(super) fn knew(&self, generation: &str) -> bool {
        self.known.iter().any(|known| **known == *generation)
    }

    /// What a generation that comes back stays before: one that was known was not deployed to
    /// follow this one, even if all its containers were made anew.
    pub(super) fn bound(&self, generation: &str) -> Option<SystemTime> {
        let is_other = *self.generation != *generation;
        self.appeared.filter(|_| is_other && self.knew(generation))
    }
}

/// What a generation of a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationState {
    /// The newest: gets no requests before so many of its servers are ready.
    Waiting(usize),
    /// The newest: gets a part of the requests.
    Canary,
    /// Gets its share of the requests.
    Serving,
    /// The newest: too many of its requests failed.
    BackedOff,
    /// There is a newer one that has all the requests.
    Old,
}

impl GenerationState {
    /// As shown: `backed off`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Canary => "canary",
            Self::Serving => "serving",
            Self::BackedOff => "backed off",
            Self::Old => "old",
        }
    }
}

/// A generation of a service's servers.
#[derive(Clone, Debug)]
pub struct Generation {
    /// As the labels say it.
    pub id: Arc<str>,
    /// When the youngest of its containers was made.
    pub created: Option<SystemTime>,
    /// What the youngest of its containers says of deploys.
    pub rules: Arc<DeployRules>,
    /// What it is doing.
    pub state: GenerationState,
    /// Servers that take requests.
    pub ready: usize,
    /// All its servers.
    pub servers: usize,
    /// Its part of the requests that no field and no cookie decides, in percent.
    pub share: f64,
    /// Requests so far.
    pub requests: u64,
    /// Of those, answered with 5xx or not at all.
    pub errors: u64,
    /// What the recent ones are counted over.
    pub window: Duration,
    /// Requests that were over within the window.
    pub recent: u64,
    /// Of those, the ones that failed.
    pub recent_errors: u64,
    /// Why it gets none, if it was found to fail.
    pub back_off: Option<BackOff>,
}

impl Generation {
    /// As it is shown.
    pub fn short(&self) -> &str {
        short(&self.id)
    }
}

impl Generations {
    /// All of them, newest first.
    pub(super) fn view(&self, members: &[Member], rotation: &Rotation) -> Vec<Generation> {
        let weights: HashMap<*const Replica, u32> =
            rotation.ready.iter().map(|(one, weight)| (Arc::as_ptr(one), *weight)).collect();
        let weight = |record: &Record| -> f64 {
            let own = members.iter().filter(|member| member.is_of(&record.id));
            let weights = own.filter_map(|member| weights.get(&Arc::as_ptr(&member.replica)));
            weights.map(|weight| f64::from(*weight)).sum()
        };
        let weights: Vec<f64> = self.records.iter().map(weight).collect();
        let gate = self.gate(members);
        let all: f64 = rotation.ready.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let is_alone = self.records.len() < 2;
        let of_newest = match self.records.first() {
            Some(newest) if !is_alone => share(newest, gate, &weights, all),
            _ => weights.first().map_or(0.0, |own| if all > 0.0 { 100.0 * own / all } else { 0.0 }),
        };
        // Those of no generation count with the older ones.
        let of_older = if is_alone { 0.0 } else { all - weights.first().unwrap_or(&0.0) };
        let records = self.records.iter().zip(&weights).enumerate();
        let one = |(place, (record, weight)): (usize, (&Record, &f64))| {
            let own = || members.iter().filter(|member| member.is_of(&record.id));
            let tally = record.tally(members);
            let recent = record.recent(tally);
            let ready = own().filter(|member| member.is_ready()).count();
            let share = match place {
                0 => of_newest,
                _ if of_older > 0.0 => (100.0 - of_newest) * weight / of_older,
                _ => 0.0,
            };
            let state = match (place, gate) {
                (0, _) if of_older <= 0.0 && ready > 0 => GenerationState::Serving,
                (0, Gate::BackedOff) => GenerationState::BackedOff,
                (0, Gate::Waiting) => GenerationState::Waiting(record.rules.min_ready),
                (0, Gate::Open) if record.rules.share().is_some_and(|percent| percent < 100) => {
                    GenerationState::Canary
                }
                (0, Gate::Open) => GenerationState::Serving,
                _ if share > 0.0 => GenerationState::Serving,
                _ => GenerationState::Old,
            };
            Generation {
                id: Arc::clone(&record.id),
                created: record.created,
                rules: Arc::clone(&record.rules),
                state,
                ready,
                servers: own().count(),
                share,
                requests: tally.requests,
                errors: tally.errors,
                window: self.window(),
                recent: recent.done,
                recent_errors: recent.errors,
                back_off: self.back_off.clone().filter(|one| one.generation == record.id),
            }
        };
        records.map(one).collect()
    }
}

/// The newest generation's part of the requests, in percent; `weights` are of the generations,
/// its own first, and `all` is that of all servers.
fn share(newest: &Record, gate: Gate, weights: &[f64], all: f64) -> f64 {
    let own = weights.first().copied().unwrap_or_default();
    if own <= 0.0 {
        return 0.0;
    }
    match gate {
        _ if own >= all => 100.0,
        Gate::Waiting | Gate::BackedOff => 0.0,
        Gate::Open => newest.rules.share().map_or(100.0 * own / all, f64::from),
    }
}
