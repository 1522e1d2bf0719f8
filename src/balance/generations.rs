//! The generations of a service's servers: which is the newest, how each fares, and whether
//! the newest was found to fail. Outlives tables, and the servers whose requests it counts.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::deploy::{Deploy, DeployRules, WINDOW, short};
use super::replica::{Replica, Tally};
use super::rotation::Rotation;
use super::split::{self, Gate, Pinned, Side, Split};
use super::state::ReplicaState;

/// A server of a service.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) replica: Arc<Replica>,
    /// Its share; 0: none.
    pub(super) weight: u32,
    /// The deploy that it comes from, where deploys of its service can be told apart.
    pub(super) deploy: Option<Arc<Deploy>>,
}

impl Member {
    fn is_of(&self, generation: &str) -> bool {
        self.deploy.as_ref().is_some_and(|deploy| *deploy.generation == *generation)
    }

    fn is_ready(&self) -> bool {
        self.weight > 0 && self.replica.is_ready()
    }
}

/// All generations that have servers now.
#[derive(Debug, Default)]
pub(super) struct Generations {
    /// Newest first.
    records: Vec<Record>,
    back_off: Option<BackOff>,
    /// Turns of the older ones together.
    turn: Arc<AtomicUsize>,
}

/// What is remembered of one.
#[derive(Debug)]
struct Record {
    id: Arc<str>,
    /// When the youngest of its containers was made.
    created: Option<SystemTime>,
    /// What that one says.
    rules: Arc<DeployRules>,
    /// Of servers that are no longer members.
    past: Tally,
    /// All of it, at the last looks, oldest first.
    looks: VecDeque<(Instant, Tally)>,
    turn: Arc<AtomicUsize>,
}

/// The newest generation gets no more requests, since too many of them failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The generation.
    pub generation: Arc<str>,
    /// Since when.
    pub at: SystemTime,
    /// Requests that were over within the window.
    pub requests: u64,
    /// How many of them failed.
    pub errors: u64,
    /// What they were counted over.
    pub window: Duration,
    /// The youngest of its containers then: one that is made later is another try.
    created: Option<SystemTime>,
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
    /// Takes over what a server counted that is no member any more.
    pub(super) fn bury(&mut self, member: &Member) {
        let record = self.records.iter_mut().find(|record| member.is_of(&record.id));
        if let Some(record) = record {
            record.past = record.past.plus(member.replica.tally_here().all_done());
        }
    }

    /// Which generations there are now. What is known of one without servers is forgotten.
    pub(super) fn settle(&mut self, members: &[Member]) {
        let mut youngest: HashMap<&str, (&Arc<Deploy>, bool)> = HashMap::new();
        if members.iter().all(|member| member.deploy.is_some()) {
            for member in members {
                let Some(deploy) = &member.deploy else { continue };
                let is_here = member.replica.state() != ReplicaState::Gone;
                let (known, was_here) =
                    youngest.entry(&deploy.generation).or_insert((deploy, is_here));
                if deploy.created > known.created {
                    *known = deploy;
                }
                *was_here |= is_here;
            }
        }
        self.records.retain(|record| youngest.contains_key(&*record.id));
        for record in &mut self.records {
            if let Some((deploy, _)) = youngest.get(&*record.id) {
                record.take(deploy);
            }
        }
        let known: HashSet<_> = self.records.iter().map(|record| Arc::clone(&record.id)).collect();
        let new = youngest.values().filter(|(deploy, _)| !known.contains(&deploy.generation));
        self.records.extend(new.map(|(deploy, _)| Record::new(deploy)));
        // A container that does not run, one left behind say, is not what was deployed last.
        self.records.sort_by_cached_key(|record| {
            let is_here = youngest.get(&*record.id).is_some_and(|(_, is_here)| *is_here);
            Reverse((is_here, record.created, Arc::clone(&record.id)))
        });
        self.end_back_off(members);
    }

    /// Ends a back-off when something was deployed since.
    fn end_back_off(&mut self, members: &[Member]) {
        let Some(back_off) = &self.back_off else { return };
        let is_known = self.records.iter().any(|record| record.id == back_off.generation);
        let is_newer = |record: &&mut Record| record.created > back_off.created;
        let again = self.records.iter_mut().find(is_newer);
        if is_known && again.is_none() {
            return;
        }
        // What it did before says nothing about the new containers.
        if let Some(record) = again {
            record.looks = [(Instant::now(), record.tally(members))].into();
        }
        self.back_off = None;
    }

    /// How requests are split between them; `None` where nothing is to be decided. `rotation`
    /// makes the rotation of some of the members.
    pub(super) fn split(
        &self,
        service: &str,
        members: &[Member],
        rotation: impl Fn(&dyn Fn(&Member) -> bool) -> Rotation,
    ) -> Option<Split> {
        let (newest, older) = self.records.split_first()?;
        let rules = &newest.rules;
        if **rules == DeployRules::default() || older.is_empty() && !rules.pin {
            return None;
        }
        let is_new = |member: &Member| member.is_of(&newest.id);
        let side = |record: &Record| {
            let is_own = |member: &Member| member.is_of(&record.id);
            Side::new(rotation(&is_own), Arc::clone(&record.turn))
        };
        let pinned =
            self.records.iter().filter(|_| rules.pin).map(|record| {
                Pinned::new(service, &record.id, side(record), record.id == newest.id)
            });
        Some(Split {
            rules: Arc::clone(rules),
            gate: self.gate(members),
            newest: side(newest),
            older: Side::new(rotation(&|member| !is_new(member)), Arc::clone(&self.turn)),
            pinned: pinned.collect(),
            cookie: if rules.pin { split::cookie_name(service).into() } else { Box::default() },
        })
    }

    fn gate(&self, members: &[Member]) -> Gate {
        let Some(newest) = self.records.first() else { return Gate::Open };
        let ready = members.iter().filter(|member| member.is_of(&newest.id) && member.is_ready());
        if self.back_off.as_ref().is_some_and(|back_off| back_off.generation == newest.id) {
            Gate::BackedOff
        } else if ready.count() < newest.rules.min_ready {
            Gate::Waiting
        } else {
            Gate::Open
        }
    }

    /// Takes the counts now. The back-off that begins, if one does.
    pub(super) fn look(&mut self, members: &[Member], now: Instant) -> Option<BackOff> {
        for record in &mut self.records {
            let tally = record.tally(members);
            record.look(tally, now);
        }
        let newest = self.records.first()?;
        let rules = newest.rules.back_off?;
        let has_other = members.iter().any(|member| !member.is_of(&newest.id) && member.is_ready());
        if !has_other || self.gate(members) == Gate::BackedOff {
            return None;
        }
        let recent = newest.recent(newest.tally(members));
        let bound = u64::from(rules.errors);
        if recent.done < rules.min_requests.max(1) || recent.errors * 100 < bound * recent.done {
            return None;
        }
        let back_off = BackOff {
            generation: Arc::clone(&newest.id),
            at: SystemTime::now(),
            requests: recent.done,
            errors: recent.errors,
            window: rules.window,
            created: newest.created,
        };
        self.back_off = Some(back_off.clone());
        Some(back_off)
    }

    /// Whether there is anything to look at: more than one, or labels that speak of them.
    pub(super) fn are_told_apart(&self) -> bool {
        match self.records.as_slice() {
            [] => false,
            [one] => *one.rules != DeployRules::default(),
            _ => true,
        }
    }

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
        let window = self.records.first().map_or(WINDOW, |newest| newest.rules.window());
        let of_newest = self.records.first().map_or(0.0, |newest| share(newest, gate, &weights));
        let of_older: f64 = weights.iter().skip(1).sum();
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
                state,
                ready,
                servers: own().count(),
                share,
                requests: tally.requests,
                errors: tally.errors,
                window,
                recent: recent.done,
                recent_errors: recent.errors,
                back_off: self.back_off.clone().filter(|one| one.generation == record.id),
            }
        };
        records.map(one).collect()
    }
}

/// The newest generation's part of the requests, in percent; `weights` are of all, its own
/// first.
fn share(newest: &Record, gate: Gate, weights: &[f64]) -> f64 {
    let own = weights.first().copied().unwrap_or_default();
    let all: f64 = weights.iter().sum();
    if own <= 0.0 {
        return 0.0;
    }
    match gate {
        _ if own >= all => 100.0,
        Gate::Waiting | Gate::BackedOff => 0.0,
        Gate::Open => newest.rules.share().map_or(100.0 * own / all, f64::from),
    }
}

impl Record {
    fn new(deploy: &Deploy) -> Self {
        Self {
            id: Arc::clone(&deploy.generation),
            created: deploy.created,
            rules: Arc::clone(&deploy.rules),
            past: Tally::default(),
            looks: [(Instant::now(), Tally::default())].into(),
            turn: Arc::default(),
        }
    }

    fn take(&mut self, youngest: &Deploy) {
        self.created = youngest.created;
        self.rules = Arc::clone(&youngest.rules);
    }

    /// What was counted of it so far.
    fn tally(&self, members: &[Member]) -> Tally {
        let own = members.iter().filter(|member| member.is_of(&self.id));
        own.fold(self.past, |all, member| all.plus(member.replica.tally_here()))
    }

    /// What was counted since the window began.
    fn recent(&self, now: Tally) -> Tally {
        self.looks.front().map_or(now, |(_, then)| now.minus(*then))
    }

    fn look(&mut self, tally: Tally, now: Instant) {
        self.looks.push_back((now, tally));
        let window = self.rules.window();
        // The first one that is kept is the last from before the window.
        while self.looks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= window) {
            self.looks.pop_front();
        }
    }
}
