//! The generations of a service's servers: which is the newest, how each fares, and whether
//! the newest was found to fail. Outlives tables, and the servers whose requests it counts.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::deploy::{Deploy, DeployRules, WINDOW};
use super::generation::BackOff;
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
    pub(super) fn is_of(&self, generation: &str) -> bool {
        self.deploy.as_ref().is_some_and(|deploy| *deploy.generation == *generation)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.weight > 0 && self.replica.is_ready()
    }
}

/// All generations that have servers now.
#[derive(Debug, Default)]
pub(super) struct Generations {
    /// Newest first.
    pub(super) records: Vec<Record>,
    pub(super) back_off: Option<BackOff>,
    /// Turns of the older ones together.
    turn: Arc<AtomicUsize>,
}

/// What is remembered of one.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: Arc<str>,
    /// When the youngest of its containers was made.
    pub(super) created: Option<SystemTime>,
    /// What that one says.
    pub(super) rules: Arc<DeployRules>,
    /// When the oldest of those was made that ran as it came: the order of generations. One
    /// that runs is no newer for another container.
    appeared: Option<SystemTime>,
    /// One of its containers runs.
    is_here: bool,
    /// Of servers that are no longer members.
    past: Tally,
    /// All of it, at the last looks, oldest first.
    looks: VecDeque<(Instant, Tally)>,
    turn: Arc<AtomicUsize>,
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
    /// Servers of no generation, a stranger's say, are no deploy, and count with the older
    /// ones where there are any.
    pub(super) fn settle(&mut self, members: &[Member]) {
        let mut seen: HashMap<&str, Seen<'_>> = HashMap::new();
        for member in members {
            let Some(deploy) = &member.deploy else { continue };
            let one = seen.entry(&deploy.generation).or_insert_with(|| Seen::new(deploy));
            one.add(deploy, member.replica.state() != ReplicaState::Gone);
        }
        self.records.retain(|record| seen.contains_key(&*record.id));
        if self.records.len() == 1 && seen.len() > 1 {
            // Nobody has looked at its counts while it was the only one.
            self.records.iter_mut().for_each(|record| record.forget_looks(members));
        }
        let known: HashSet<_> = self.records.iter().map(|record| Arc::clone(&record.id)).collect();
        let new = seen.values().filter(|one| !known.contains(&one.youngest.generation));
        self.records.extend(new.map(|one| Record::new(one.youngest)));
        for record in &mut self.records {
            if let Some(one) = seen.get(&*record.id) {
                let back_off = self.back_off.as_ref();
                record.take(one, back_off.and_then(|back_off| back_off.bound(&record.id)));
            }
        }
        // A container that does not run, one left behind say, is not what was deployed last.
        self.records.sort_by_cached_key(|record| {
            Reverse((record.is_here, record.appeared, Arc::clone(&record.id)))
        });
        self.end_back_off(members);
    }

    /// Ends a back-off when something was deployed since: a generation that nobody knew then, or
    /// a container of its own. More containers of the others say nothing about it.
    fn end_back_off(&mut self, members: &[Member]) {
        let Some(back_off) = &self.back_off else { return };
        let is_succeeded = self.records.first().is_some_and(|newest| !back_off.knew(&newest.id));
        let own = self.records.iter_mut().find(|record| record.id == back_off.generation);
        match own {
            Some(own) if own.created > back_off.created => {
                // What it did before says nothing about the new containers.
                own.forget_looks(members);
                self.back_off = None;
            }
            Some(_) if !is_succeeded => {}
            Some(_) | None => self.back_off = None,
        }
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
        // One alone has nothing to take over from: a stranger would get its share.
        let is_older = |member: &Member| !older.is_empty() && !member.is_of(&newest.id);
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
            older: Side::new(rotation(&is_older), Arc::clone(&self.turn)),
            pinned: pinned.collect(),
            cookie: if rules.pin { split::cookie_name(service).into() } else { Box::default() },
        })
    }

    pub(super) fn gate(&self, members: &[Member]) -> Gate {
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
        let window = self.window();
        for record in &mut self.records {
            let tally = record.tally(members);
            record.look(tally, now, window);
        }
        let newest = self.records.first()?;
        let rules = newest.rules.back_off?;
        let is_older = |member: &Member| !member.is_of(&newest.id) && member.is_ready();
        let has_older = self.records.len() > 1 && members.iter().any(is_older);
        if !has_older || self.gate(members) == Gate::BackedOff {
            return None;
        }
        let (requests, errors) = newest.recent(newest.tally(members)).drawn();
        let bound = u64::from(rules.errors);
        if requests < rules.min_requests.max(1) || errors * 100 < bound * requests {
            return None;
        }
        let back_off = BackOff {
            generation: Arc::clone(&newest.id),
            at: SystemTime::now(),
            requests,
            errors,
            window: rules.window,
            created: newest.created,
            appeared: newest.appeared,
            known: self.records.iter().map(|record| Arc::clone(&record.id)).collect(),
        };
        self.back_off = Some(back_off.clone());
        Some(back_off)
    }

    /// What is looked at, of all generations: as long as the newest says.
    pub(super) fn window(&self) -> Duration {
        self.records.first().map_or(WINDOW, |newest| newest.rules.window())
    }

    /// Whether there is anything to look at: more than one, or labels that speak of them.
    pub(super) fn are_told_apart(&self) -> bool {
        match self.records.as_slice() {
            [] => false,
            [one] => *one.rules != DeployRules::default(),
            _ => true,
        }
    }
}

/// What the members say of one now.
struct Seen<'m> {
    youngest: &'m Arc<Deploy>,
    is_here: bool,
    /// When the oldest container was made that runs.
    oldest: Option<SystemTime>,
}

impl<'m> Seen<'m> {
    fn new(deploy: &'m Arc<Deploy>) -> Self {
        Self { youngest: deploy, is_here: false, oldest: None }
    }

    fn add(&mut self, deploy: &'m Arc<Deploy>, is_here: bool) {
        if deploy.created > self.youngest.created {
            self.youngest = deploy;
        }
        if is_here {
            let is_first = !self.is_here || deploy.created < self.oldest;
            self.oldest = if is_first { deploy.created } else { self.oldest };
            self.is_here = true;
        }
    }
}

impl Record {
    fn new(deploy: &Deploy) -> Self {
        Self {
            id: Arc::clone(&deploy.generation),
            created: deploy.created,
            rules: Arc::clone(&deploy.rules),
            appeared: deploy.created,
            is_here: false,
            past: Tally::default(),
            looks: [(Instant::now(), Tally::default())].into(),
            turn: Arc::default(),
        }
    }

    /// It is seen so now. `bound`: it comes before what was made then, whatever its age.
    fn take(&mut self, seen: &Seen<'_>, bound: Option<SystemTime>) {
        self.created = seen.youngest.created;
        self.rules = Arc::clone(&seen.youngest.rules);
        if !self.is_here && seen.is_here {
            let before = bound.and_then(|bound| bound.checked_sub(Duration::from_nanos(1)));
            let is_bound = before.is_some_and(|before| seen.oldest > Some(before));
            self.appeared = if is_bound { before } else { seen.oldest };
        }
        self.is_here = seen.is_here;
    }

    /// What was counted of it so far.
    pub(super) fn tally(&self, members: &[Member]) -> Tally {
        let own = members.iter().filter(|member| member.is_of(&self.id));
        own.fold(self.past, |all, member| all.plus(member.replica.tally_here()))
    }

    /// What was counted since the window began.
    pub(super) fn recent(&self, now: Tally) -> Tally {
        self.looks.front().map_or(now, |(_, then)| now.minus(*then))
    }

    /// Begins the window anew.
    fn forget_looks(&mut self, members: &[Member]) {
        self.looks = [(Instant::now(), self.tally(members))].into();
    }

    fn look(&mut self, tally: Tally, now: Instant, window: Duration) {
        self.looks.push_back((now, tally));
        // The first one that is kept is the last from before the window.
        while self.looks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= window) {
            self.looks.pop_front();
        }
    }
}
