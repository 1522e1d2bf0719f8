//! The watching itself: connect, subscribe, list, follow events, and again when it breaks.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::stream::{FuturesUnordered, StreamExt};
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio::time::{self, Instant};

use super::early::Early;
use super::endpoint::Endpoint;
use super::engine::{Engine, Error};
use super::event::{Action, Event};
use super::inspect;
use super::known::{Known, Step};
use super::session::{Session, Worth};
use crate::labels::{Container, Decoder};
use crate::model::Provider;
use crate::problem::{Code, Origin, Problem};
use crate::provider::{Change, EngineState};
use crate::settings::{self, Settings};

/// How long a change may wait for others that are already being looked at.
const GATHER: Duration = Duration::from_millis(20);
/// The least time between two desired states, and how many times as long as the last took to
/// make: of many containers it takes its time.
const REST: Duration = Duration::from_millis(30);
const RESTS: u32 = 4;
/// How often a full list is compared with what is known; and while more happens than can be
/// looked at one by one.
const AUDIT: Duration = Duration::from_secs(60);
const AUDIT_SWAMPED: Duration = Duration::from_secs(5);
/// Limit of a call when none is set.
const CALL: Duration = Duration::from_secs(10);
/// Waits between attempts to connect.
const BACK_OFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(5);

/// The watcher.
pub(super) struct Watch {
    endpoint: Endpoint,
    changes: mpsc::Sender<Change>,
    settings: watch::Receiver<Arc<Settings>>,
    docker: settings::Docker,
    known: Known,
    state: EngineState,
    calls: Arc<AtomicU64>,
    /// Why there is no engine.
    lost: Option<Problem>,
    /// Before when no other desired state is sent, and since when there is news.
    rested: Option<Instant>,
    news: Option<Instant>,
}

/// How a session ended without an error.
enum Finished {
    /// Events are not to be followed.
    Listed,
    /// The way to the engine is another one now.
    Elsewhere,
    /// There is nothing to do any more.
    Over,
}

/// What a change of the settings asks for.
enum Turn {
    /// To look at these containers, and at the list.
    Look(Vec<Arc<str>>),
    /// To connect anew.
    Connect,
    /// Nothing any more: the provider is off.
    End,
}

impl Watch {
    pub(super) fn new(
        endpoint: Endpoint,
        docker: &settings::Docker,
        wharf: &settings::Wharf,
        changes: mpsc::Sender<Change>,
        settings: watch::Receiver<Arc<Settings>>,
    ) -> Self {
        let state =
            EngineState { endpoint: endpoint.address.to_string(), ..EngineState::default() };
        Self {
            endpoint,
            changes,
            settings,
            docker: docker.clone(),
            known: Known::new(Decoder::new(docker, wharf), keeps_removed(wharf)),
            state,
            calls: Arc::default(),
            lost: None,
            rested: None,
            news: None,
        }
    }

    /// Watches, or lists once when events are not to be followed, until the provider is switched
    /// off.
    pub(super) async fn run(mut self) {
        let mut wait = *BACK_OFF.start();
        loop {
            match self.session().await {
                Ok(Finished::Over) => return,
                Ok(Finished::Elsewhere) => {}
                Ok(Finished::Listed) => {
                    if self.settings.changed().await.is_err() || matches!(self.turn(), Turn::End) {
                        return;
                    }
                }
                Err(error) => {
                    if self.state.connected {
                        wait = *BACK_OFF.start();
                    }
                    self.lose(&error).await;
                    let jittered = wait.mul_f64(rand::rng().random_range(0.5..1.0));
                    wait = (wait * 2).min(*BACK_OFF.end());
                    tokio::select! {
                        () = time::sleep(jittered) => {}
                        Ok(()) = self.settings.changed() => {
                            wait = *BACK_OFF.start();
                            if matches!(self.turn(), Turn::End) {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Goes on by the settings that there are now. What is known stays known.
    fn turn(&mut self) -> Turn {
        let settings = Arc::clone(&self.settings.borrow_and_update());
        let Some(docker) = &settings.providers.docker else { return Turn::End };
        let before = std::mem::replace(&mut self.docker, docker.clone());
        let keeps = keeps_removed(&settings.wharf);
        let of_interest = self.known.change(docker, &settings.wharf, keeps);
        if way(&before) == way(docker) {
            return Turn::Look(of_interest);
        }
        let Ok(endpoint) = super::endpoint(docker) else { return Turn::End };
        self.state.endpoint = endpoint.address.to_string();
        self.endpoint = endpoint;
        Turn::Connect
    }

    /// Says that the engine is gone. What was known stays served.
    async fn lose(&mut self, error: &Error) {
        let text = format!("the Docker engine can't be followed: {error}");
        let problem = Problem::error(
            Code::Engine,
            Origin::Engine(self.endpoint.address.clone()),
            if self.known.len() == 0 {
                text
            } else {
                format!("{text}; what was last known is still served")
            },
        )
        .mend(error.mend(&self.endpoint));
        let is_news = self.lost.as_ref() != Some(&problem);
        if is_news {
            tracing::warn!("{problem}");
        }
        if self.state.connected || self.state.since.is_none() {
            self.state.since = Some(SystemTime::now());
        }
        self.state.connected = false;
        self.state.error = Some(error.to_string());
        self.lost = Some(problem);
        self.tell_engine().await;
        if is_news {
            self.publish().await;
        }
    }

    async fn session(&mut self) -> Result<Finished, Error> {
        let timeout = self.docker.http_client_timeout.positive().unwrap_or(CALL);
        let engine = Engine::open(&self.endpoint, timeout, Arc::clone(&self.calls)).await?;
        let mut session = Session::default();
        if !self.docker.watch {
            let listed = engine.list().await?;
            self.apply_list(&engine, listed, &mut session);
            self.inspect_all(&engine, &mut session).await;
            self.connect(&engine).await;
            return Ok(Finished::Listed);
        }
        // The engine may be slow to list; what happens meanwhile waits in the stream. The
        // stream is lazy: it must be polled for the subscription to be sent.
        let mut events = pin!(engine.events());
        let mut early = Early::default();
        {
            let mut list = pin!(async {
                engine.subscribed().await?;
                engine.list().await
            });
            let listed = loop {
                tokio::select! {
                    listed = &mut list => break listed?,
                    event = events.next() => early.extend(next_event(event)?),
                }
            };
            self.apply_list(&engine, listed, &mut session);
        }
        self.inspect_all(&engine, &mut session).await;
        self.connect(&engine).await;
        for event in early {
            let step = self.known.on_early(&event, Instant::now());
            self.take(step, &mut session).await;
        }
        self.follow(&engine, events, session).await
    }

    async fn follow(
        &mut self,
        engine: &Engine,
        mut events: impl futures_util::Stream<Item = Result<bollard::models::EventMessage, Error>>
        + Unpin,
        mut session: Session,
    ) -> Result<Finished, Error> {
        let mut inspects = FuturesUnordered::new();
        let mut lists = FuturesUnordered::new();
        let (mut audited, mut is_list_due) = (Instant::now(), false);
        loop {
            while let Some(id) = session.next(Instant::now()) {
                inspects.push(engine.look(id));
            }
            let due = self.due(session.is_idle());
            let look = session.due();
            let over = self.known.next_sweep();
            let pause = match is_list_due {
                true => Duration::ZERO,
                false if session.is_swamped() => AUDIT_SWAMPED,
                false => AUDIT,
            };
            tokio::select! {
                biased;
                event = events.next() => {
                    if let Some(event) = next_event(event)? {
                        self.on_event(&event, &mut session).await;
                    }
                }
                Some((id, found)) = inspects.next() => {
                    self.on_found(&id, found, &mut session).await;
                    // A look that found nothing new is counted all the same.
                    if session.is_idle() && !self.known.dirty {
                        self.tell_engine().await;
                    }
                }
                () = sleep_until(due), if due.is_some() => self.publish().await,
                () = sleep_until(look), if look.is_some() => {}
                () = sleep_until(over), if over.is_some() => self.known.sweep(Instant::now()),
                Some(listed) = lists.next() => {
                    self.audited(engine, listed?, &mut session).await;
                    audited = Instant::now();
                }
                () = time::sleep_until(audited + pause), if lists.is_empty() => {
                    is_list_due = false;
                    session.begin_list();
                    lists.push(engine.list());
                }
                Ok(()) = self.settings.changed() => match self.turned(&mut session) {
                    Some(finished) => return Ok(finished),
                    None => is_list_due = true,
                },
                () = self.changes.closed() => return Ok(Finished::Over),
            }
        }
    }

    /// Goes on by the settings that there are now, if it can within this session.
    fn turned(&mut self, session: &mut Session) -> Option<Finished> {
        match self.turn() {
            Turn::Look(containers) => {
                for id in containers {
                    session.ask(id, Instant::now());
                }
                None
            }
            Turn::Connect => Some(Finished::Elsewhere),
            Turn::End => Some(Finished::Over),
        }
    }

    /// When the desired state has to go out: at once, unless more is being looked at or one
    /// went out just now.
    fn due(&mut self, idle: bool) -> Option<Instant> {
        if !self.known.dirty {
            self.news = None;
            return None;
        }
        let now = Instant::now();
        let news = *self.news.get_or_insert(now);
        let gathered = if idle { news } else { news + GATHER };
        Some(self.rested.map_or(gathered, |rested| gathered.max(rested)))
    }

    async fn on_event(&mut self, event: &Event, session: &mut Session) {
        let id = &event.container;
        session.heard(id);
        if let Action::Signalled(signal) = event.action
            && session.asks(id)
        {
            session.signalled(id, signal, event.at);
        }
        if event.action == Action::Removed {
            session.forget(id);
        }
        let step = self.known.on_event(event, Instant::now());
        if let (Some(_), Action::Signalled(signal)) = (&step.inspect, event.action) {
            session.signalled(id, signal, event.at);
        }
        self.take(step, session).await;
    }

    async fn take(&mut self, step: Step, session: &mut Session) {
        if let Some((container, state)) = step.replica {
            // A closed channel is seen by `follow`.
            drop(self.changes.send(Change::Replica { container, state }).await);
        }
        if let Some((container, from)) = step.moved {
            drop(self.changes.send(Change::Moved { container, from }).await);
        }
        if let Some(id) = step.inspect {
            session.ask(id, Instant::now());
        }
    }

    async fn on_found(
        &mut self,
        id: &Arc<str>,
        found: Result<Option<Container>, Error>,
        session: &mut Session,
    ) {
        let now = Instant::now();
        let worth = session.answered(id, now);
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                // One stuck container must not hide the others; the audit tries again.
                tracing::warn!(container = %id, "inspect: {error}");
                drop(session.signals_of(id));
                return;
            }
        };
        if worth == Worth::Older {
            return;
        }
        let host = found.as_ref().and_then(|container| self.known.unknown_hosts(container));
        if let Some(host) = host {
            session.ask(host, now);
        }
        session.heard(id);
        let step = self.known.on_inspect(id, found, now);
        self.take(step, session).await;
        for signal in session.signals_of(id) {
            let step = self.known.was_signalled(id, &signal, now);
            self.take(step, session).await;
        }
    }

    async fn audited(
        &mut self,
        engine: &Engine,
        listed: Vec<bollard::models::ContainerSummary>,
        session: &mut Session,
    ) {
        let differences = self.apply_list(engine, listed, session);
        if differences > 0 {
            tracing::info!(differences, "a full list mended what the events did not tell");
        }
        self.tell_engine().await;
    }

    fn apply_list(
        &mut self,
        engine: &Engine,
        listed: Vec<bollard::models::ContainerSummary>,
        session: &mut Session,
    ) -> usize {
        let listed: Vec<_> = listed.into_iter().filter_map(inspect::from_summary).collect();
        let there: HashSet<_> =
            listed.iter().map(|found| Arc::clone(&found.container.id)).collect();
        let touched = session.end_list(|id| there.contains(id));
        let now = Instant::now();
        let (inspect, differences) = self.known.on_list(listed, &touched, now);
        let all = if engine.terse_lists { there } else { HashSet::new() };
        for id in all.into_iter().chain(inspect) {
            session.ask(id, now);
        }
        differences
    }

    /// Looks at everything that is asked for, at the start.
    async fn inspect_all(&mut self, engine: &Engine, session: &mut Session) {
        let mut inspects = FuturesUnordered::new();
        loop {
            while let Some(id) = session.next_of_list() {
                inspects.push(engine.look(id));
            }
            let Some((id, found)) = inspects.next().await else { return };
            self.on_found(&id, found, session).await;
        }
    }

    /// The engine is there and everything is known.
    async fn connect(&mut self, engine: &Engine) {
        tracing::info!(
            endpoint = %self.endpoint.address,
            version = %engine.version,
            containers = self.known.len(),
            "following the Docker engine"
        );
        self.lost = None;
        self.state.connected = true;
        self.state.error = None;
        self.state.since = Some(SystemTime::now());
        self.state.version = Some(engine.version.clone());
        self.tell_engine().await;
        self.publish().await;
    }

    async fn tell_engine(&mut self) {
        self.state.containers = self.known.len();
        self.state.calls = self.calls.load(Ordering::Relaxed);
        drop(self.changes.send(Change::Engine(self.state.clone())).await);
    }

    async fn publish(&mut self) {
        let began = Instant::now();
        let mut desired = self.known.decoder.desired();
        desired.problems.extend(self.lost.clone());
        self.known.dirty = false;
        self.news = None;
        let ended = Instant::now();
        self.rested = Some(ended + REST.max((ended - began) * RESTS));
        let calls = self.calls.load(Ordering::Relaxed);
        if self.state.containers != self.known.len() || self.state.calls != calls {
            self.tell_engine().await;
        }
        drop(self.changes.send(Change::Desired(Provider::Docker, Arc::new(desired))).await);
    }
}

/// What a connection to the engine depends on; all else is about how it is read.
fn way(docker: &settings::Docker) -> impl PartialEq {
    let settings::Docker { endpoint, username, password, tls, watch, .. } = docker.clone();
    (endpoint, username, password, tls, watch, docker.http_client_timeout)
}

/// As long as a request would wait for a successor. Traefik's way is to know nothing of it.
fn keeps_removed(wharf: &settings::Wharf) -> Duration {
    if wharf.not_found_when_down { Duration::ZERO } else { wharf.hold.or_zero() }
}

fn next_event(
    event: Option<Result<bollard::models::EventMessage, Error>>,
) -> Result<Option<Event>, Error> {
    match event {
        Some(Ok(message)) => Ok(Event::read(message)),
        Some(Err(error)) => Err(error),
        None => Err(Error::Broken {
            call: "events",
            text: "the engine closed the stream".to_owned(),
            kind: None,
        }),
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        time::sleep_until(due).await;
    }
}
