//! The containers that are known, and what each event means for them. Decides only; the
//! calls are made by `watch`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::event::{self, Action, Event};
use super::removed::Removed;
use super::session::Signal;
use crate::labels::{Container, Decoder};
use crate::model::ReplicaState;
use crate::settings;

/// A container that outlives its stop signal by this much was not meant to end.
const SURVIVES: Duration = Duration::from_secs(35);

/// What an event asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    /// Look at this container.
    pub(super) inspect: Option<Arc<str>>,
    /// Tell this state at once.
    pub(super) replica: Option<(Arc<str>, ReplicaState)>,
    /// Tell that it no longer has these addresses.
    pub(super) moved: Option<(Arc<str>, Vec<IpAddr>)>,
}

/// When a container was told to stop: when that was heard, and when it was by the engine's clock.
#[derive(Clone, Copy, Debug)]
struct Told {
    heard: Instant,
    at: Option<SystemTime>,
}

/// The containers that are known.
pub(super) struct Known {
    containers: BTreeMap<Arc<str>, Arc<Container>>,
    /// When a container was told to stop.
    told: HashMap<Arc<str>, Told>,
    /// Containers that were removed and are kept a little longer.
    removed: Removed,
    pub(super) decoder: Decoder,
    /// Something changed since the desired state was last taken.
    pub(super) dirty: bool,
}

impl Known {
    /// Knows no container. What is removed is kept for so long, if nothing else is left of what
    /// it served: requests wait for its successor.
    pub(super) fn new(decoder: Decoder, keeps_removed: Duration) -> Self {
        Self {
            containers: BTreeMap::new(),
            told: HashMap::new(),
            removed: Removed::new(keeps_removed),
            decoder,
            dirty: true,
        }
    }

    /// Reads everything by these settings from now on. What is to be looked at, since it was not
    /// of interest before, is returned.
    pub(super) fn change(
        &mut self,
        docker: &settings::Docker,
        wharf: &settings::Wharf,
        keeps_removed: Duration,
    ) -> Vec<Arc<str>> {
        self.removed.keep_for(keeps_removed);
        self.decoder.change(docker, wharf);
        self.dirty = true;
        let is_of_interest =
            |one: &&Arc<Container>| lacks_detail(one) && self.decoder.wants(&one.labels);
        let all = self.containers.values().filter(is_of_interest);
        all.map(|one| Arc::clone(&one.container.id)).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.containers.len().saturating_sub(self.removed.len())
    }

    /// Applies an event.
    pub(super) fn on_event(&mut self, event: &Event, now: Instant) -> Step {
        let id = &event.container;
        let known = self.containers.get(id);
        let running = known.is_some_and(|container| container.state != ReplicaState::Gone);
        let inspect = || Step { inspect: Some(Arc::clone(id)), ..Step::default() };
        match event.action {
            Action::Started if self.decoder.wants(&event.attributes) => inspect(),
            Action::Started => {
                self.forget(id);
                Step::default()
            }
            // Networks are connected before a start: the start is looked at.
            Action::Moved if running => inspect(),
            Action::Altered if known.is_some() => inspect(),
            Action::Signalled(signal) if running => self.signalled(id, signal, event.at, now),
            // It was started again since, and that is known already.
            Action::Ended if self.is_younger(id, event.at) => Step::default(),
            Action::Ended if running => {
                self.removed.ended(id, now);
                self.became(id, ReplicaState::Gone)
            }
            Action::Became(state) if running => self.became(id, state),
            Action::Removed => {
                self.remove(id, now);
                Step {
                    replica: running.then(|| (Arc::clone(id), ReplicaState::Gone)),
                    ..Step::default()
                }
            }
            Action::Moved
            | Action::Altered
            | Action::Signalled(_)
            | Action::Ended
            | Action::Became(_) => Step::default(),
        }
    }

    /// Applies an event that may be older than the last list: what it says of a state is looked
    /// at.
    pub(super) fn on_early(&mut self, event: &Event, now: Instant) -> Step {
        match event.action {
            Action::Ended | Action::Became(_) => {
                let is_known = self.containers.contains_key(&event.container);
                let inspect = is_known.then(|| Arc::clone(&event.container));
                Step { inspect, ..Step::default() }
            }
            Action::Started
            | Action::Signalled(_)
            | Action::Removed
            | Action::Moved
            | Action::Altered => self.on_event(event, now),
        }
    }

    /// Whether the container as it is known was started after that.
    fn is_younger(&self, id: &str, at: Option<SystemTime>) -> bool {
        let started = self.containers.get(id).and_then(|container| container.started);
        started.zip(at).is_some_and(|(started, at)| started > at)
    }

    fn signalled(
        &mut self,
        id: &Arc<str>,
        signal: i32,
        at: Option<SystemTime>,
        now: Instant,
    ) -> Step {
        if self.is_younger(id, at) {
            return Step::default();
        }
        let own = self.containers.get(id).and_then(|container| container.stop_signal);
        if event::ENDING.contains(&signal) || own == Some(signal) {
            self.told.insert(Arc::clone(id), Told { heard: now, at });
            return self.became(id, ReplicaState::Stopping);
        }
        // A list does not tell the stop signal; nginx's QUIT is common, httpd's WINCH rare.
        let inspect = own.is_none().then(|| Arc::clone(id));
        Step { inspect, ..Step::default() }
    }

    /// The same of a signal that came before the container had been looked at.
    pub(super) fn was_signalled(&mut self, id: &Arc<str>, signal: &Signal, now: Instant) -> Step {
        let runs = self.containers.get(id).is_some_and(|c| c.state != ReplicaState::Gone);
        if runs { self.signalled(id, signal.number, signal.at, now) } else { Step::default() }
    }

    fn became(&mut self, id: &Arc<str>, state: ReplicaState) -> Step {
        let Some(container) = self.containers.get_mut(id) else { return Step::default() };
        if container.state == state {
            return Step::default();
        }
        // A health check that ends after the stop signal says nothing new.
        let ends = matches!(state, ReplicaState::Gone | ReplicaState::Stopping);
        if container.state == ReplicaState::Stopping && !ends {
            return Step::default();
        }
        if state == ReplicaState::Gone {
            // What it was told has come true; its next life is another.
            self.told.remove(id);
        }
        Arc::make_mut(container).state = state;
        self.dirty |= self.decoder.update(container);
        Step { replica: Some((Arc::clone(id), state)), ..Step::default() }
    }

    /// The engine knows it no more.
    fn remove(&mut self, id: &Arc<str>, now: Instant) {
        let runs =
            self.containers.get(id).is_some_and(|container| container.state != ReplicaState::Gone);
        if runs {
            self.removed.ended(id, now);
        }
        if !self.decoder.is_last(id) || !self.removed.keep(id, now) {
            self.forget(id);
        } else if runs {
            self.became(id, ReplicaState::Gone);
        }
    }

    /// When the next one that ended is to be forgotten, or its claims are to rest.
    pub(super) fn next_sweep(&self) -> Option<Instant> {
        self.removed.next()
    }

    /// Forgets those that were removed and are no longer of use; lets the claims of those rest
    /// that ended long ago.
    pub(super) fn sweep(&mut self, now: Instant) {
        for id in self.removed.rested(now) {
            self.dirty |= self.decoder.rest(&id);
        }
        for id in self.removed.over(now, |id| self.decoder.is_last(id)) {
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &Arc<str>) {
        self.told.remove(id);
        self.removed.forget(id);
        if self.containers.remove(id).is_some() {
            self.dirty |= self.decoder.remove(id);
        }
    }

    /// Takes what an inspect found; `None`: the engine knows it no more.
    pub(super) fn on_inspect(
        &mut self,
        id: &Arc<str>,
        found: Option<Container>,
        now: Instant,
    ) -> Step {
        let Some(mut found) = found else {
            let runs = self.containers.get(id).is_some_and(|c| c.state != ReplicaState::Gone);
            self.remove(id, now);
            let gone = (Arc::clone(id), ReplicaState::Gone);
            return Step { replica: runs.then_some(gone), ..Step::default() };
        };
        let before = self.containers.get(id);
        if let Some(before) = before {
            keep_address(before, &mut found);
            if before.state == ReplicaState::Stopping
                && found.state != ReplicaState::Gone
                && self.was_told(before, &found)
            {
                found.state = ReplicaState::Stopping;
            }
        }
        if before.is_some_and(|before| **before == found) {
            return Step::default();
        }
        if found.state != ReplicaState::Stopping {
            self.told.remove(id);
        }
        let state = found.state;
        let changed = before.is_some_and(|before| before.state != state);
        if changed && state == ReplicaState::Gone {
            self.removed.ended(id, now);
        }
        let from = before.map_or_else(Vec::new, |before| left(before, &found));
        let found = Arc::new(found);
        self.dirty |= self.decoder.update(&found);
        self.containers.insert(Arc::clone(id), found);
        // It may be the successor of one that was removed.
        self.sweep(now);
        Step {
            inspect: None,
            replica: changed.then(|| (Arc::clone(id), state)),
            moved: (!from.is_empty()).then(|| (Arc::clone(id), from)),
        }
    }

    /// Whether the container that was told to stop is the one that runs now, and not its next
    /// life.
    fn was_told(&self, before: &Container, now: &Container) -> bool {
        let told = self.told.get(&now.container.id).and_then(|told| told.at);
        match told.zip(now.started) {
            Some((told, started)) => started <= told,
            None => before.started == now.started,
        }
    }

    /// Compares a fresh list with what is known, but for the containers in `touched`, of
    /// which something newer is known. Returns what has to be looked at, and how many
    /// differences there were.
    pub(super) fn on_list(
        &mut self,
        listed: Vec<Container>,
        touched: &HashSet<Arc<str>>,
        now: Instant,
    ) -> (Vec<Arc<str>>, usize) {
        let mut differences = 0;
        let mut inspect = Vec::new();
        let there: HashSet<_> =
            listed.iter().map(|found| Arc::clone(&found.container.id)).collect();
        let gone: Vec<_> = self
            .containers
            .keys()
            .filter(|id| !there.contains(*id) && !touched.contains(*id))
            .filter(|id| !self.removed.is_kept(id))
            .map(Arc::clone)
            .collect();
        for id in gone {
            differences += 1;
            self.remove(&id, now);
        }
        for mut found in listed {
            let id = Arc::clone(&found.container.id);
            if touched.contains(&id) {
                continue;
            }
            // It stops, or was started again while nobody saw it: a list does not tell.
            if found.state != ReplicaState::Gone && self.told.contains_key(&id) {
                inspect.push(Arc::clone(&id));
            }
            if !self.differs(&mut found, now) {
                continue;
            }
            differences += 1;
            if lacks_detail(&found) && self.decoder.wants(&found.labels) {
                inspect.push(Arc::clone(&id));
            }
            if found.state != ReplicaState::Stopping {
                self.told.remove(&id);
            }
            let found = Arc::new(found);
            self.dirty |= self.decoder.update(&found);
            self.containers.insert(id, found);
        }
        (inspect, differences)
    }

    /// Whether a list says something new; what a list does not tell is taken from before.
    fn differs(&self, found: &mut Container, now: Instant) -> bool {
        let id = &Arc::clone(&found.container.id);
        let Some(before) = self.containers.get(id) else { return true };
        keep_address(before, found);
        found.created = before.created;
        found.stop_signal = found.stop_signal.or(before.stop_signal);
        if before.state != ReplicaState::Gone || found.state == ReplicaState::Gone {
            found.started = before.started;
        }
        if matches!(found.state, ReplicaState::Gone | ReplicaState::Paused) {
            found.has_health_check = before.has_health_check;
        }
        let told = self.told.get(id);
        let told = told.is_some_and(|told| now.duration_since(told.heard) < SURVIVES);
        if told && found.state != ReplicaState::Gone {
            found.state = ReplicaState::Stopping;
        }
        **before != *found
    }

    /// Containers whose network others use, and whose addresses are not known.
    pub(super) fn unknown_hosts(&self, container: &Container) -> Option<Arc<str>> {
        let id = container.network_mode.strip_prefix("container:")?;
        (!self.containers.contains_key(id)).then(|| id.into())
    }
}

/// A stopped container has no address: the last one is kept, so that its server stays named.
fn keep_address(before: &Container, found: &mut Container) {
    if found.state == ReplicaState::Gone {
        found.networks.clone_from(&before.networks);
        found.exposed.clone_from(&before.exposed);
        found.bindings.clone_from(&before.bindings);
    }
}

/// The addresses that a container had and no longer has, while it runs on.
fn left(before: &Container, found: &Container) -> Vec<IpAddr> {
    if [before.state, found.state].contains(&ReplicaState::Gone) {
        return Vec::new();
    }
    let addresses = |container: &Container| -> Vec<IpAddr> {
        container
            .networks
            .values()
            .flat_map(|network| [network.ipv4, network.ipv6])
            .flatten()
            .collect()
    };
    let now = addresses(found);
    addresses(before).into_iter().filter(|address| !now.contains(address)).collect()
}

/// Whether a list tells too little to find the container's server.
fn lacks_detail(found: &Container) -> bool {
    found.state != ReplicaState::Gone && found.exposed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Network;
    use crate::settings;

    const KEPT: Duration = Duration::from_secs(10);

    fn known(containers: &[Container]) -> Known {
        let mut known = Known::new(
            Decoder::new(&settings::Docker::default(), &settings::Wharf::default()),
            KEPT,
        );
        known.on_list(containers.to_vec(), &HashSet::new(), Instant::now());
        known.dirty = false;
        known
    }

    fn running(id: &str) -> Container {
        Container {
            state: ReplicaState::Running,
            exposed: vec![(80, "tcp".to_owned())],
            ..Container::named(id, id)
        }
    }

    fn address() -> crate::labels::Network {
        crate::labels::Network { ipv4: Some([10, 0, 0, 1].into()), ..Default::default() }
    }

    fn event(id: &str, action: Action) -> Event {
        Event::new(id, action)
    }

    #[test]
    fn a_running_container_that_is_taken_out_of_a_network_has_left_its_address() {
        use ReplicaState::{Gone, Running, Stopping};
        let there = |addresses: &[&str], state| {
            let place = |text: &&str| Network { ipv4: text.parse().ok(), ..Network::default() };
            let networks = addresses.iter().map(|text| ((*text).to_owned(), place(text)));
            Container { state, networks: networks.collect(), ..running("a") }
        };
        for (before, after, state, left) in [
            (&["10.0.0.2"][..], &[][..], Running, &["10.0.0.2"][..]),
            (&["10.0.0.2"], &["10.0.0.3"], Running, &["10.0.0.2"]),
            (&["10.0.0.2", "10.1.0.2"], &["10.1.0.2"], Stopping, &["10.0.0.2"]),
            (&["10.0.0.2"], &["10.0.0.2", "10.1.0.2"], Running, &[]),
            // Its process ended: connections end with it, and what it said last may be read.
            (&["10.0.0.2"], &[], Gone, &[]),
        ] {
            let mut known = known(&[there(before, Running)]);

            let step = known.on_inspect(&"a".into(), Some(there(after, state)), Instant::now());

            let left: Vec<IpAddr> = left.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(
                step.moved.map_or(Vec::new(), |(_, from)| from),
                left,
                "{before:?} {after:?}"
            );
        }
    }

    #[test]
    fn a_start_asks_for_one_inspect_and_a_connect_before_it_for_none() {
        let mut known = known(&[]);

        let connect = known.on_event(&event("a", Action::Moved), Instant::now());
        let start = known.on_event(&event("a", Action::Started), Instant::now());

        assert_eq!(connect, Step::default());
        assert_eq!(start, Step { inspect: Some("a".into()), ..Step::default() });
    }

    #[test]
    fn a_container_that_is_switched_off_is_not_looked_at() {
        let mut known = known(&[]);
        let attributes = BTreeMap::from([("traefik.enable".to_owned(), "false".to_owned())]);
        let start = Event { attributes, ..event("a", Action::Started) };

        assert_eq!(known.on_event(&start, Instant::now()), Step::default());
    }

    #[test]
    fn only_a_signal_that_ends_it_makes_a_replica_stop() {
        for (signal, own, expected) in [
            (15, Some(15), Some(ReplicaState::Stopping)),
            (9, Some(15), Some(ReplicaState::Stopping)),
            (28, Some(28), Some(ReplicaState::Stopping)),
            (28, Some(15), None),
            (1, Some(15), None),
        ] {
            let mut known = known(&[Container { stop_signal: own, ..running("a") }]);

            let step = known.on_event(&event("a", Action::Signalled(signal)), Instant::now());

            assert_eq!(step.replica.map(|(_, state)| state), expected, "{signal} {own:?}");
        }
    }

    #[test]
    fn a_stopping_replica_does_not_come_back_by_its_health_check() {
        let mut known = known(&[running("a")]);
        known.on_event(&event("a", Action::Signalled(15)), Instant::now());

        let health =
            known.on_event(&event("a", Action::Became(ReplicaState::Running)), Instant::now());
        let died = known.on_event(&event("a", Action::Ended), Instant::now());

        assert_eq!(health, Step::default());
        assert_eq!(died.replica, Some(("a".into(), ReplicaState::Gone)));
    }

    #[test]
    fn what_was_before_a_container_was_started_again_is_of_its_former_life() {
        let second = |n| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(n));
        for (action, at, expected) in [
            (Action::Ended, second(9), None),
            (Action::Ended, second(11), Some(ReplicaState::Gone)),
            (Action::Ended, None, Some(ReplicaState::Gone)),
            (Action::Signalled(15), second(9), None),
            (Action::Signalled(15), second(11), Some(ReplicaState::Stopping)),
        ] {
            let mut known = known(&[]);
            let started = Container { started: second(10), ..running("a") };
            known.on_inspect(&"a".into(), Some(started), Instant::now());

            let step = known.on_event(&Event { at, ..event("a", action) }, Instant::now());

            assert_eq!(step.replica.map(|(_, state)| state), expected, "{action:?} {at:?}");
        }
    }

    #[test]
    fn the_audit_brings_back_a_replica_that_outlived_its_signal() {
        let mut known = known(&[running("a")]);
        let told = Instant::now();
        known.on_event(&event("a", Action::Signalled(15)), told);

        known.on_list(vec![running("a")], &HashSet::new(), told + Duration::from_secs(5));
        assert_eq!(known.containers.get("a").unwrap().state, ReplicaState::Stopping);

        known.on_list(vec![running("a")], &HashSet::new(), told + Duration::from_secs(60));
        assert_eq!(known.containers.get("a").unwrap().state, ReplicaState::Running);
    }

    #[test]
    fn a_list_that_says_nothing_new_changes_nothing() {
        let mut known = known(&[running("a"), running("b")]);

        let (inspect, differences) =
            known.on_list(vec![running("b"), running("a")], &HashSet::new(), Instant::now());

        assert_eq!((inspect.len(), differences, known.dirty), (0, 0, false));
    }

    #[test]
    fn a_container_missing_from_a_list_is_forgotten() {
        let mut known = known(&[running("a"), running("b")]);

        known.on_list(vec![running("b")], &HashSet::new(), Instant::now());
        assert!(known.dirty && known.len() == 1);
        known.sweep(Instant::now() + KEPT);

        assert!(!known.containers.contains_key("a"));
    }

    #[test]
    fn the_last_of_its_kind_is_kept_until_its_successor_runs_or_its_time_is_over() {
        let labels = || {
            [
                ("traefik.http.routers.web.rule", "Host(`a`)"),
                ("traefik.http.services.web.loadbalancer.server.port", "80"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        let replica = |id: &str| Container {
            labels: labels().into(),
            networks: [("net".to_owned(), address())].into(),
            ..running(id)
        };
        let mut one = known(&[replica("a")]);
        let step = one.on_event(&event("a", Action::Removed), Instant::now());
        assert_eq!(step.replica, Some(("a".into(), ReplicaState::Gone)));
        assert_eq!(one.containers.get("a").unwrap().state, ReplicaState::Gone);
        assert_eq!((one.len(), one.decoder.desired().routers.len()), (0, 1));
        // A list does not know it, which is no news.
        assert_eq!(one.on_list(Vec::new(), &HashSet::new(), Instant::now()).1, 0);
        one.sweep(Instant::now() + KEPT);
        assert_eq!(one.decoder.desired().routers.len(), 0);

        let mut twice = known(&[replica("a"), replica("b")]);
        twice.on_event(&event("a", Action::Removed), Instant::now());
        assert!(!twice.containers.contains_key("a"), "another one serves the same");

        let mut known = known(&[replica("a")]);
        let now = Instant::now();
        known.on_event(&event("a", Action::Ended), now);
        known.on_event(&event("a", Action::Removed), now + KEPT / 2);
        assert_eq!(known.next_sweep(), Some(now + KEPT));
        known.on_inspect(&"b".into(), Some(replica("b")), now + KEPT / 2);
        assert!(!known.containers.contains_key("a"));
        assert_eq!(known.next_sweep(), None);

        known.on_event(&event("b", Action::Ended), now);
        known.on_event(&event("b", Action::Removed), now + KEPT * 2);
        assert!(!known.containers.contains_key("b"), "it ended long ago");
    }

    #[test]
    fn a_stopped_container_keeps_its_last_address() {
        let mut known = known(&[running("a")]);
        let stopped = Container { state: ReplicaState::Gone, exposed: Vec::new(), ..running("a") };

        known.on_inspect(&"a".into(), Some(stopped), Instant::now());

        let after = known.containers.get("a").unwrap();
        assert_eq!((after.state, after.exposed.len()), (ReplicaState::Gone, 1));
    }
}
