//! How a server is doing: what the engine says, what probes say and what requests met come
//! together here and nowhere else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::settings::{PassiveSettings, ServerSettings};

/// A container without HEALTHCHECK that nothing answers on counts as ready after this:
/// better a 502 with a cause than silence.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Connect failures within [`TROUBLE_WINDOW`] that take a server out until a probe connects.
const TROUBLE_LIMIT: usize = 3;
const TROUBLE_WINDOW: Duration = Duration::from_secs(10);

/// What the engine says of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Running; its HEALTHCHECK has not answered yet, or nothing shows yet that it accepts.
    Starting,
    /// Running, and healthy if it has a HEALTHCHECK.
    Running,
    /// Its HEALTHCHECK failed.
    Unhealthy,
    /// Paused.
    Paused,
    /// It was sent its stop signal.
    Stopping,
    /// Not running.
    Gone,
}

/// How a server is doing, from all that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplicaState {
    /// Not yet known to accept.
    Starting,
    /// Takes requests.
    Ready,
    /// Takes no new requests unless nobody else can.
    Draining,
    /// Failed its checks.
    Unhealthy,
    /// Its container is paused.
    Paused,
    /// Its container does not run.
    Gone,
}

impl ReplicaState {
    const ALL: [Self; 6] =
        [Self::Starting, Self::Ready, Self::Draining, Self::Unhealthy, Self::Paused, Self::Gone];

    /// As shown: `ready`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
            Self::Paused => "paused",
            Self::Gone => "gone",
        }
    }

    pub(super) fn from_byte(byte: u8) -> Self {
        Self::ALL.into_iter().find(|state| *state as u8 == byte).unwrap_or(Self::Gone)
    }
}

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
    /// It refused a connect while draining.
    refuses: bool,
    pub(super) since: SystemTime,
    pub(super) reason: Arc<str>,
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
        if let Some(why) = &self.unhealthy {
            return (ReplicaState::Unhealthy, Arc::clone(why));
        }
        match self.out {
            Out::UntilProbe => {
                let why = "three connects failed within 10 s; probing until one is answered";
                (ReplicaState::Unhealthy, why.into())
            }
            Out::Until(until) if until > now => {
                (ReplicaState::Unhealthy, "requests failed (passiveHealthCheck)".into())
            }
            Out::Until(_) | Out::No if silent => {
                let why =
                    "nothing has answered on its port for 30 s; counted as ready all the same";
                (ReplicaState::Ready, why.into())
            }
            Out::Until(_) | Out::No => (ReplicaState::Ready, "".into()),
        }
    }

    pub(super) fn new(settings: &ServerSettings) -> Self {
        let container = settings.container.as_ref();
        let engine = container.map_or(EngineState::Running, |container| container.state);
        // A container that has run for a while accepts; one that was just started may be
        // listed as running before it does.
        let is_young = container.and_then(|container| container.started).is_some_and(|started| {
            SystemTime::now().duration_since(started).unwrap_or_default() < PATIENCE
        });
        let is_probed = container.is_some_and(|container| !container.has_health_check)
            && (engine != EngineState::Running || is_young);
        let mut new = Self {
            engine,
            declared: engine,
            accepts: !is_probed,
            waited_since: Instant::now(),
            unhealthy: None,
            out: Out::No,
            failures: VecDeque::new(),
            refuses: false,
            since: SystemTime::now(),
            reason: "".into(),
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
        if runs && had_stopped {
            // Started anew, or it outlived its stop signal: a probe tells.
            self.accepts = false;
            self.waited_since = Instant::now();
            self.out = Out::No;
            self.failures.clear();
            self.refuses = false;
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

    /// An active check's verdict: why it failed, or that it did not.
    pub(super) fn set_unhealthy(&mut self, why: Option<Arc<str>>) {
        self.unhealthy = why;
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
            | ReplicaState::Paused
            | ReplicaState::Gone => false,
        }
    }

    /// Whether a connect probe is wanted, and since when.
    pub(super) fn wants_connect(&self, has_health_check: bool) -> Option<Instant> {
        let may_run = match self.engine {
            EngineState::Starting => !has_health_check,
            EngineState::Running => true,
            EngineState::Unhealthy
            | EngineState::Paused
            | EngineState::Stopping
            | EngineState::Gone => false,
        };
        let is_wanted = !self.accepts || self.out == Out::UntilProbe;
        (may_run && is_wanted).then_some(self.waited_since)
    }

    /// When time alone brings it back.
    pub(super) fn review_at(&self) -> Option<Instant> {
        match self.out {
            Out::Until(until) => Some(until),
            Out::No | Out::UntilProbe => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.engine, EngineState::Starting | EngineState::Running)
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
