//! How a server is doing: what the engine says, what probes say and what requests met come
//! together here and nowhere else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::settings::{PassiveSettings, ServerSettings};
use super::state::{Change, Changes, EngineState, ReplicaState};

/// A container without HEALTHCHECK that nothing answers on counts as ready after this:
/// better a 502 with a cause than silence.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What closes its listener at its stop signal has done so by then. Until it is known whether it
/// has, nothing goes there that must not be sent twice: what waits in the backlog of a listener
/// that closes is lost.
pub(super) const CLOSING: Duration = Duration::from_secs(1);

/// Connect failures within [`TROUBLE_WINDOW`] that take a server out until a probe connects.
const TROUBLE_LIMIT: usize = 3;
const TROUBLE_WINDOW: Duration = Duration::from_secs(10);

/// Being taken out by failed connects so soon after the last time counts as the same trouble.
const AGAIN: Duration = Duration::from_secs(60);

/// All that is known of a replica's health.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    engine: EngineState,
    /// What the settings said last; only a change of it counts, since events are faster.
    declared: EngineState,
    /// Something answered a connect.
    accepts: bool,
    /// Waited for since then, while it does not accept.
    waited_since: Instant,
    /// Why the active check fails.
    unhealthy: Option<Arc<str>>,
    out: Out,
    failures: VecDeque<Instant>,
    /// How often failed connects took it out of late, and when last.
    trips: u32,
    tripped: Option<Instant>,
    /// It refused a connect while draining.
    refuses: bool,
    /// When it was told to stop, if it is stopping.
    told: Option<Instant>,
    /// It still accepts some time after that.
    goes_on: bool,
    /// An active check is set up for it.
    is_checked: bool,
    /// It was started of late, and no active check has passed since.
    is_unproven: bool,
    /// It is no member of its service any more.
    has_left: bool,
    ejection: Option<Ejection>,
    /// When it became ready; `None` if it was so from the beginning.
    pub(super) ready_since: Option<Instant>,
    pub(super) since: SystemTime,
    pub(super) reason: Arc<str>,
    pub(super) changes: Changes,
}

/// Taken out because it fails where the others do not.
#[derive(Clone, Debug)]
struct Ejection {
    until: Instant,
    why: Arc<str>,
}

/// Taken out by failed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    No,
    /// Until a probe connects.
    UntilProbe,
    /// As `passiveHealthCheck` says.
    Until(Instant),
}

impl Inputs {
    /// The state, and why.
    pub(super) fn judge(&self, has_health_check: bool, now: Instant) -> (ReplicaState, Arc<str>) {
        if self.has_left {
            return (ReplicaState::Gone, "it is no longer in the service".into());
        }
        let silent = !self.accepts && now.duration_since(self.waited_since) >= PATIENCE;
        let waits = match self.engine {
            EngineState::Gone => return (ReplicaState::Gone, "its container does not run".into()),
            EngineState::Paused => return (ReplicaState::Paused, "its container is paused".into()),
            EngineState::Stopping => {
                return (ReplicaState::Draining, "its container was told to stop".into());
            }
            EngineState::Unhealthy => {
                return (ReplicaState::Unhealthy, "the container's HEALTHCHECK failed".into());
            }
            EngineState::Starting if has_health_check => {
                let why = "waiting for the container's HEALTHCHECK";
                return (ReplicaState::Starting, why.into());
            }
            EngineState::Starting | EngineState::Running => !self.accepts && !silent,
        };
        if waits {
            return (ReplicaState::Starting, "nothing answers on its port yet".into());
        }
        if self.awaits_check() {
            return (ReplicaState::Starting, "waiting for its health check".into());
        }
        if let Some(why) = &self.unhealthy {
            return (ReplicaState::Unhealthy, Arc::clone(why));
        }
        let ejection = self.ejection.as_ref().filter(|ejection| ejection.until > now);
        match (self.out, ejection) {
            (Out::UntilProbe, _) => {
                let why = "three connects failed within 10 s; probing until one is answered";
                (ReplicaState::Unhealthy, why.into())
            }
            (Out::Until(until), _) if until > now => {
                (ReplicaState::Unhealthy, "requests failed (passiveHealthCheck)".into())
            }
            (Out::Until(_) | Out::No, Some(ejection)) => {
                (ReplicaState::Ejected, Arc::clone(&ejection.why))
            }
            (Out::Until(_) | Out::No, None) if silent => {
                let why =
                    "nothing has answered on its port for 30 s; counted as ready all the same";
                (ReplicaState::Ready, why.into())
            }
            (Out::Until(_) | Out::No, None) => (ReplicaState::Ready, "".into()),
        }
    }

    /// Notes that the state changed, and says why.
    pub(super) fn turned(
        &mut self,
        from: ReplicaState,
        to: ReplicaState,
        now: Instant,
    ) -> Arc<str> {
        self.since = SystemTime::now();
        if to == ReplicaState::Ready {
            self.ready_since = Some(now);
        }
        let reason = if self.reason.is_empty() {
            why_ready(from, self.is_checked).into()
        } else {
            Arc::clone(&self.reason)
        };
        self.changes.push(Change { at: self.since, from, to, reason: Arc::clone(&reason) });
        reason
    }

    pub(super) fn new(settings: &ServerSettings) -> Self {
        let container = settings.container.as_ref();
        let engine = container.map_or(EngineState::Running, |container| container.state);
        // A container that has run for a while accepts; one that was just started may be
        // listed as running before it does.
        let is_young = container.and_then(|container| container.started).is_some_and(|started| {
            SystemTime::now().duration_since(started).unwrap_or_default() < PATIENCE
        });
        let is_unproven = container.is_some() && (engine != EngineState::Running || is_young);
        let is_probed =
            is_unproven && container.is_some_and(|container| !container.has_health_check);
        let mut new = Self {
            engine,
            declared: engine,
            accepts: !is_probed,
            waited_since: Instant::now(),
            unhealthy: None,
            out: Out::No,
            failures: VecDeque::new(),
            trips: 0,
            tripped: None,
            refuses: false,
            told: (engine == EngineState::Stopping).then(Instant::now),
            goes_on: false,
            is_checked: false,
            is_unproven,
            has_left: false,
            ejection: None,
            ready_since: None,
            since: SystemTime::now(),
            reason: "".into(),
            changes: Changes::default(),
        };
        let has_health_check = container.is_some_and(|container| container.has_health_check);
        new.reason = new.judge(has_health_check, Instant::now()).1;
        new
    }

    /// The engine says so.
    pub(super) fn set_engine(&mut self, state: EngineState) {
        let before = std::mem::replace(&mut self.engine, state);
        let had_stopped = matches!(before, EngineState::Stopping | EngineState::Gone);
        let runs = matches!(state, EngineState::Starting | EngineState::Running);
        if state != before {
            self.told = (state == EngineState::Stopping).then(Instant::now);
            self.goes_on = false;
        }
        if runs && had_stopped {
            // Started anew, or it outlived its stop signal: a probe tells.
            self.accepts = false;
            self.is_unproven = true;
            self.waited_since = Instant::now();
            self.out = Out::No;
            self.ejection = None;
            self.trips = 0;
            self.failures.clear();
            self.refuses = false;
        } else if before == EngineState::Starting && state == EngineState::Running {
            // Its own HEALTHCHECK took its time; the active check is waited for from now on.
            self.waited_since = Instant::now();
        }
        if matches!(state, EngineState::Gone) {
            self.unhealthy = None;
        }
    }

    /// New settings say so. True if they said something else before: only that counts, since
    /// the engine's events come sooner.
    pub(super) fn declare(&mut self, state: EngineState) -> bool {
        std::mem::replace(&mut self.declared, state) != state
    }

    /// Whether an active check is set up for it.
    pub(super) fn set_checked(&mut self, is_checked: bool) {
        self.is_checked = is_checked;
        if !is_checked {
            self.unhealthy = None;
        }
    }

    /// It was started of late, and is not ready before its active check has passed.
    pub(super) fn awaits_check(&self) -> bool {
        self.is_checked && self.is_unproven
    }

    /// An active check's verdict: why it failed, or that it did not. While it starts, failing
    /// is no news for a time.
    pub(super) fn set_unhealthy(&mut self, why: Option<Arc<str>>) {
        if why.is_none() {
            self.accepts = true;
        } else if self.awaits_check() && self.waited_since.elapsed() < PATIENCE {
            return;
        }
        self.is_unproven = false;
        self.unhealthy = why;
    }

    /// It is no member of its service any more.
    pub(super) fn leave(&mut self) {
        self.has_left = true;
    }

    /// Takes it out until then; `None` brings it back.
    pub(super) fn eject(&mut self, until: Option<(Instant, Arc<str>)>) {
        self.ejection = until.map(|(until, why)| Ejection { until, why });
        self.trips = 0;
    }

    /// When its time out is over.
    pub(super) fn ejected_until(&self) -> Option<Instant> {
        self.ejection.as_ref().map(|ejection| ejection.until)
    }

    /// How often failed connects took it out of late, though probes brought it back.
    pub(super) fn trips(&self) -> u32 {
        let is_recent = self.tripped.is_some_and(|at| at.elapsed() < AGAIN);
        if is_recent { self.trips } else { 0 }
    }

    /// Time went by: what waits for a moment may have reached it.
    pub(super) fn review(&mut self) {
        let is_closing = |told: Instant| told.elapsed() < CLOSING;
        self.goes_on = !self.refuses && self.told.is_some_and(|told| !is_closing(told));
    }

    /// A connect probe was answered.
    pub(super) fn connected(&mut self) {
        self.accepts = true;
        self.failures.clear();
        if self.out == Out::UntilProbe {
            self.out = Out::No;
        }
    }

    /// A request failed: a connect (true), or an answer that `passiveHealthCheck` counts.
    pub(super) fn failed(&mut self, is_connect: bool, passive: Option<&PassiveSettings>) {
        let (limit, window) = passive.map_or((TROUBLE_LIMIT, TROUBLE_WINDOW), |passive| {
            let limit = usize::try_from(passive.max_failed_attempts).unwrap_or(0).max(1);
            (limit, passive.failure_window)
        });
        let now = Instant::now();
        self.refuses |= is_connect && self.engine == EngineState::Stopping;
        self.failures.retain(|then| now.duration_since(*then) < window);
        self.failures.push_back(now);
        if self.failures.len() >= limit {
            self.failures.clear();
            if passive.is_none() && self.out != Out::UntilProbe {
                self.trips = self.trips() + 1;
                self.tripped = Some(now);
            }
            self.out = if passive.is_some() { Out::Until(now + window) } else { Out::UntilProbe };
        }
    }

    /// Earlier failures are forgotten.
    pub(super) fn forgive(&mut self) {
        self.failures.clear();
    }

    pub(super) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    pub(super) fn is_up(&self) -> bool {
        self.unhealthy.is_none()
    }

    pub(super) fn refuses(&self) -> bool {
        self.refuses
    }

    /// It was told to stop, and accepts all the same.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// It was told to stop, and may be about to close its listener.
    fn is_closing(&self) -> bool {
        self.engine == EngineState::Stopping && !self.refuses && !self.goes_on
    }

    /// It accepted connections and no longer does, though the engine says that it runs.
    pub(super) fn is_dark(&self) -> bool {
        self.accepts && self.engine == EngineState::Running && self.out == Out::UntilProbe
    }

    /// Worth asking when nobody is ready: draining and not refusing yet, or out by connect
    /// failures, where a 502 tells more than a 503.
    pub(super) fn is_last_resort(&self, state: ReplicaState) -> bool {
        match state {
            ReplicaState::Draining => !self.refuses,
            ReplicaState::Unhealthy => {
                self.engine == EngineState::Running
                    && self.unhealthy.is_none()
                    && self.out == Out::UntilProbe
            }
            ReplicaState::Starting
            | ReplicaState::Ready
            | ReplicaState::Ejected
            | ReplicaState::Paused
            | ReplicaState::Gone => false,
        }
    }

    /// Whether a connect probe is wanted, and since when.
    pub(super) fn wants_connect(&self, has_health_check: bool) -> Option<Instant> {
        let may_run = match self.engine {
            EngineState::Starting => !has_health_check,
            EngineState::Running => true,
            EngineState::Stopping => return self.told.filter(|_| self.is_closing()),
            EngineState::Unhealthy | EngineState::Paused | EngineState::Gone => false,
        };
        let is_wanted = !self.accepts || self.out == Out::UntilProbe;
        (may_run && is_wanted).then_some(self.waited_since)
    }

    /// When time alone changes what is thought of it.
    pub(super) fn review_at(&self) -> Option<Instant> {
        let closed = self.told.filter(|_| self.is_closing()).map(|told| told + CLOSING);
        let passive = match self.out {
            Out::Until(until) => Some(until),
            Out::No | Out::UntilProbe => None,
        };
        passive.into_iter().chain(self.ejected_until()).chain(closed).min()
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.engine, EngineState::Starting | EngineState::Running)
    }
}

/// Why a server is ready, where nothing else is to be said of it.
fn why_ready(from: ReplicaState, is_checked: bool) -> &'static str {
    match from {
        ReplicaState::Starting if is_checked => "its health check passed",
        ReplicaState::Starting => "it accepts connections",
        ReplicaState::Unhealthy => "it answers again",
        ReplicaState::Ejected => "its time out is over",
        ReplicaState::Paused => "its container goes on",
        ReplicaState::Ready | ReplicaState::Draining | ReplicaState::Gone => "its container runs",
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::ContainerSettings;
    use super::*;

    fn inputs(state: EngineState, started_ago: Duration, has_health_check: bool) -> Inputs {
        let container = ContainerSettings {
            id: "a".into(),
            name: "a".into(),
            state,
            has_health_check,
            started: SystemTime::now().checked_sub(started_ago),
            deploy: None,
        };
        Inputs::new(&ServerSettings {
            url: "http://a".to_owned(),
            weight: 1,
            preserve_path: false,
            container: Some(container),
        })
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_container_is_ready_when_something_shows_that_it_accepts() {
        use EngineState as E;
        use ReplicaState as R;
        for (engine, ago, checked, state) in [
            (E::Running, LONG, false, R::Ready),
            (E::Running, Duration::ZERO, false, R::Starting),
            (E::Running, Duration::ZERO, true, R::Ready),
            (E::Starting, LONG, false, R::Starting),
            (E::Starting, LONG, true, R::Starting),
            (E::Unhealthy, LONG, true, R::Unhealthy),
            (E::Paused, LONG, false, R::Paused),
            (E::Stopping, LONG, false, R::Draining),
            (E::Gone, LONG, false, R::Gone),
        ] {
            let inputs = inputs(engine, ago, checked);

            assert_eq!(inputs.judge(checked, Instant::now()).0, state, "{engine:?} {ago:?}");
        }
    }

    #[test]
    fn silence_is_waited_for_and_then_said() {
        let mut inputs = inputs(EngineState::Starting, Duration::ZERO, false);
        let later = Instant::now() + PATIENCE;

        let (state, why) = inputs.judge(false, later);

        assert_eq!(state, ReplicaState::Ready);
        assert!(why.contains("30 s"));
        assert!(inputs.wants_connect(false).is_some());
        inputs.connected();
        assert_eq!(inputs.judge(false, later), (ReplicaState::Ready, "".into()));
        assert!(inputs.wants_connect(false).is_none());
    }

    #[test]
    fn a_restarted_container_must_show_again_that_it_accepts() {
        let mut inputs = inputs(EngineState::Running, LONG, false);
        for engine in [EngineState::Stopping, EngineState::Gone, EngineState::Running] {
            inputs.set_engine(engine);
        }

        assert_eq!(inputs.judge(false, Instant::now()).0, ReplicaState::Starting);
        inputs.connected();
        assert_eq!(inputs.judge(false, Instant::now()).0, ReplicaState::Ready);
    }

    #[test]
    fn three_refused_connects_take_it_out_until_a_probe_connects() {
        let mut inputs = inputs(EngineState::Running, LONG, false);
        for expected in [ReplicaState::Ready, ReplicaState::Ready, ReplicaState::Unhealthy] {
            inputs.failed(true, None);

            assert_eq!(inputs.judge(false, Instant::now()).0, expected);
        }
        assert!(inputs.is_up() && inputs.is_last_resort(ReplicaState::Unhealthy));
        inputs.connected();
        assert_eq!(inputs.judge(false, Instant::now()).0, ReplicaState::Ready);
    }

    #[test]
    fn a_draining_one_is_asked_until_it_refuses() {
        let mut inputs = inputs(EngineState::Stopping, LONG, false);
        assert!(inputs.is_last_resort(ReplicaState::Draining));

        inputs.failed(true, None);

        assert!(!inputs.is_last_resort(ReplicaState::Draining));
    }
}
