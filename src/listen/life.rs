//! What is known of a connection while it lives: what is in flight, since when it waits
//! for what, and who is to be woken. One per connection, read by its worker's sweep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::guard::Answer;
use super::record::Record;
use super::rest::Rest;
use crate::settings;

/// No byte for so long, where `readTimeout` is unset.
const STALL: Duration = Duration::from_secs(60);
/// Longest time for a head.
const HEAD: Duration = Duration::from_secs(30);

/// Longest time between two requests for which hyper's state is kept.
const REST: Duration = Duration::from_secs(1);
/// Bytes of the heads of one HTTP/2 connection's requests in flight (`security.md` T1).
const HEADS: usize = 4 << 20;

/// An entry point's time limits.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    head: Duration,
    idle: Option<Duration>,
    /// The whole request.
    read: Option<Duration>,
    /// The whole response.
    write: Option<Duration>,
    /// Between two bytes of a body.
    stall: Option<Duration>,
}

impl Limits {
    pub(super) fn new(timeouts: &settings::RespondingTimeouts) -> Self {
        let read = timeouts.read_timeout.and_then(settings::GoDuration::positive);
        Self {
            head: read.map_or(HEAD, |read| read.min(HEAD)),
            idle: timeouts.idle_timeout.positive(),
            read,
            write: timeouts.write_timeout.positive(),
            stall: timeouts.read_timeout.is_none().then_some(STALL),
        }
    }

    /// Between two bytes of a body.
    pub(super) fn stall(&self) -> Option<Duration> {
        self.stall
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was accepted, or its TLS handshake runs.
    Fresh,
    /// Waiting for a request.
    Idle,
    /// Part of a head came.
    Head,
    /// HTTP/1 requests are in flight.
    Busy,
    /// HTTP/2.
    Streams,
    /// It is no longer HTTP.
    Tunnel,
}

/// A limit that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Close without a word.
    Close,
    /// Say why, if nothing was said yet.
    Say(Answer),
}

/// What was decided on a request for an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing yet.
    Open,
    /// The server switches protocols.
    Agreed,
    /// It does not.
    Refused,
}

/// A connection's state.
pub(super) struct Life {
    limits: Rc<Limits>,
    clock: Rc<Cell<Instant>>,
    waker: RefCell<Option<Waker>>,
    phase: Cell<Phase>,
    /// Since when it is in this phase; for `Busy`, since the last head was whole.
    since: Cell<Instant>,
    /// When it was accepted.
    pub(super) accepted: Instant,
    delivered: Cell<u64>,
    finished: Cell<u64>,
    /// Something was written and not flushed.
    pub(super) unflushed: Cell<bool>,
    /// The last read found nothing.
    pub(super) read_pending: Cell<bool>,
    /// No message is being read.
    pub(super) between: Cell<bool>,
    /// Requests follow each other closely: hyper's state is kept between them.
    pub(super) brisk: Cell<bool>,
    /// It rested long enough: hyper's state is to go.
    pub(super) rested: Cell<bool>,
    /// A byte of the present response went out.
    pub(super) answering: Cell<bool>,
    /// Since when a server waits for the client's body.
    body_since: Cell<Option<Instant>>,
    /// Since when the client takes nothing.
    write_since: Cell<Option<Instant>>,
    /// What the next message in line gets.
    pub(super) refused: Cell<Option<Answer>>,
    /// The next head in line needs a connection that takes many fields.
    pub(super) heavy: Cell<bool>,
    pub(super) verdict: Cell<Verdict>,
    pub(super) expired: Cell<Option<Expiry>>,
    /// The status to log for a request that is cut.
    pub(super) cut_status: Cell<Option<u16>>,
    pub(super) draining: Cell<bool>,
    /// The next answer is the last: another process serves from now on.
    pub(super) leaving: Cell<bool>,
    /// A WebSocket is to be told goodbye.
    pub(super) goodbye: Cell<bool>,
    /// Bytes written since the tunnel began, and read.
    pub(super) tunnel_bytes: Cell<(u64, u64)>,
    /// The tunnel is a WebSocket.
    pub(super) websocket: Cell<bool>,
    /// The framing of the present body broke.
    pub(super) broken: Cell<bool>,
    /// What is left of a body that nobody wants.
    rest: Cell<Option<Rest>>,
    /// Bytes of the heads of HTTP/2 requests in flight.
    heads: Cell<usize>,
    /// What is recorded when the tunnel ends.
    pub(super) tunnel: RefCell<Option<Box<Record>>>,
}

impl Life {
    pub(super) fn new(limits: Rc<Limits>, clock: Rc<Cell<Instant>>) -> Self {
        let now = Instant::now();
        Self {
            limits,
            clock,
            waker: RefCell::new(None),
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now),
            accepted: now,
            delivered: Cell::new(0),
            finished: Cell::new(0),
            unflushed: Cell::new(false),
            read_pending: Cell::new(false),
            between: Cell::new(true),
            brisk: Cell::new(false),
            rested: Cell::new(false),
            answering: Cell::new(false),
            body_since: Cell::new(None),
            write_since: Cell::new(None),
            refused: Cell::new(None),
            heavy: Cell::new(false),
            verdict: Cell::new(Verdict::Open),
            expired: Cell::new(None),
            cut_status: Cell::new(None),
            draining: Cell::new(false),
            leaving: Cell::new(false),
            goodbye: Cell::new(false),
            tunnel_bytes: Cell::new((0, 0)),
            websocket: Cell::new(false),
            broken: Cell::new(false),
            rest: Cell::new(None),
            heads: Cell::new(0),
            tunnel: RefCell::new(None),
        }
    }

    /// For a socket whose worker has let go of it.
    pub(super) fn orphan() -> Rc<Self> {
        let limits = Limits::new(&settings::RespondingTimeouts::default());
        Rc::new(Self::new(Rc::new(limits), Rc::new(Cell::new(Instant::now()))))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.clock.get());
    }

    /// Has this task woken by [`Life::wake`].
    pub(super) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|held| held.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        // Taken out first: waking may run code that registers again.
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Heads went on to hyper, or a stream began.
    pub(super) fn deliver(&self, heads: u64) {
        if heads > 0 {
            self.delivered.set(self.delivered.get().wrapping_add(heads));
            self.since.set(self.clock.get());
        }
    }

    /// A response ended, whole or not.
    pub(super) fn finish(&self) {
        self.finished.set(self.finished.get().wrapping_add(1));
        self.body_since.set(None);
        self.since.set(self.clock.get());
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.delivered.get().wrapping_sub(self.finished.get())
    }

    /// Takes in the head of an HTTP/2 request; false when those in flight are too large
    /// together: a byte on the wire can stand for a whole field.
    pub(super) fn take_head(&self, bytes: usize) -> bool {
        let before = self.heads.get();
        let fits = before == 0 || before.saturating_add(bytes) <= HEADS;
        if fits {
            self.heads.set(before.saturating_add(bytes));
        }
        fits
    }

    /// That request is over.
    pub(super) fn drop_head(&self, bytes: usize) {
        self.heads.set(self.heads.get().saturating_sub(bytes));
    }

    /// Nobody wants the rest of the present request's body.
    pub(super) fn leave(&self, rest: Rest) {
        self.rest.set(Some(rest));
        self.wake();
    }

    /// Reads on what nobody wants, if there is such a thing.
    pub(super) fn poll_rest(&self, cx: &mut Context<'_>) {
        if let Some(mut rest) = self.rest.take()
            && rest.poll(cx).is_pending()
        {
            self.rest.set(Some(rest));
        }
    }

    /// Reads no more of it.
    pub(super) fn drop_rest(&self) {
        drop(self.rest.take());
    }

    /// Nothing is in flight, everything is flushed, and nothing more was there to read:
    /// hyper's state can go.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight() == 0
            && self.read_pending.get()
            && !self.unflushed.get()
            && self.between.get()
    }

    /// hyper's state is to go now. Building it costs a fifth of a small request's time, so
    /// it outlives a short rest between requests; a client that only keeps its connection
    /// open, or a message that needs another connection or a refusal, does not wait.
    pub(super) fn parks(&self) -> bool {
        self.is_idle()
            && (!self.brisk.get()
                || self.rested.take()
                || self.heavy.get()
                || self.refused.get().is_some())
    }

    /// Whether the last answer ended a moment ago.
    pub(super) fn is_recent(&self) -> bool {
        self.delivered.get() > 0
            && self.clock.get().saturating_duration_since(self.since.get()) < REST
    }

    /// Whether hyper's state was kept over a rest that has lasted long enough.
    pub(super) fn has_rested(&self, now: Instant) -> bool {
        self.phase.get() == Phase::Busy
            && self.is_idle()
            && now.saturating_duration_since(self.since.get()) >= REST
    }

    /// A server began or ceased to wait for the client's body.
    pub(super) fn body_waits(&self, waits: bool) {
        note(&self.body_since, waits, &self.clock);
    }

    /// The client began or ceased to take nothing.
    pub(super) fn write_waits(&self, waits: bool) {
        note(&self.write_since, waits, &self.clock);
    }

    /// Which limit has ended, if any.
    pub(super) fn check(&self, now: Instant) -> Option<Expiry> {
        let limits = &*self.limits;
        let over = |since: Instant, limit: Option<Duration>| {
            limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
        };
        let stalled = |since: &Cell<Option<Instant>>| {
            since.get().is_some_and(|since| over(since, limits.stall))
        };
        let since = self.since.get();
        match self.phase.get() {
            Phase::Fresh => over(since, Some(limits.head)).then_some(Expiry::Close),
            Phase::Idle => over(since, limits.idle).then_some(Expiry::Close),
            Phase::Head => {
                over(since, Some(limits.head)).then_some(Expiry::Say(Answer::HeadTimeout))
            }
            Phase::Busy if self.is_idle() => None,
            Phase::Busy if stalled(&self.body_since) => Some(Expiry::Say(Answer::BodyStalled)),
            Phase::Busy if !self.between.get() && over(since, limits.read) => {
                Some(Expiry::Say(Answer::ReadTimeout))
            }
            Phase::Busy if stalled(&self.write_since) || over(since, limits.write) => {
                Some(Expiry::Close)
            }
            Phase::Streams if stalled(&self.write_since) => Some(Expiry::Close),
            Phase::Streams if self.in_flight() == 0 && over(since, limits.idle) => {
                Some(Expiry::Close)
            }
            Phase::Busy | Phase::Streams | Phase::Tunnel => None,
        }
    }
}

fn note(cell: &Cell<Option<Instant>>, waits: bool, clock: &Cell<Instant>) {
    match (waits, cell.get()) {
        (true, None) => cell.set(Some(clock.get())),
        (false, Some(_)) => cell.set(None),
        (true, Some(_)) | (false, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(timeouts: &settings::RespondingTimeouts) -> (Life, Rc<Cell<Instant>>) {
        let clock = Rc::new(Cell::new(Instant::now()));
        (Life::new(Rc::new(Limits::new(timeouts)), Rc::clone(&clock)), clock)
    }

    fn after(life: &Life, seconds: u64) -> Option<Expiry> {
        life.check(life.since.get() + Duration::from_secs(seconds))
    }

    #[test]
    fn each_phase_has_its_limit() {
        let (life, _) = life(&settings::RespondingTimeouts::default());
        for (phase, within, beyond, expiry) in [
            (Phase::Fresh, 29, 30, Some(Expiry::Close)),
            (Phase::Idle, 179, 180, Some(Expiry::Close)),
            (Phase::Head, 29, 30, Some(Expiry::Say(Answer::HeadTimeout))),
            (Phase::Busy, 100, 100_000, None),
            (Phase::Tunnel, 100, 100_000, None),
        ] {
            life.enter(phase);
            assert_eq!(after(&life, within), None, "{phase:?}");
            assert_eq!(after(&life, beyond), expiry, "{phase:?}");
        }
    }

    #[test]
    fn an_unset_read_timeout_limits_stalls_and_a_set_one_the_whole_request() {
        let (life, _) = self::life(&settings::RespondingTimeouts::default());
        life.enter(Phase::Busy);
        life.deliver(1);
        life.between.set(false);
        assert_eq!(after(&life, 3600), None);
        life.body_waits(true);
        assert_eq!(after(&life, 60), Some(Expiry::Say(Answer::BodyStalled)));

        let timeouts = settings::RespondingTimeouts {
            read_timeout: Some(settings::GoDuration::from_secs(5)),
            ..settings::RespondingTimeouts::default()
        };
        let (life, _) = self::life(&timeouts);
        life.enter(Phase::Busy);
        life.deliver(1);
        life.between.set(false);
        assert_eq!(after(&life, 5), Some(Expiry::Say(Answer::ReadTimeout)));
        life.between.set(true);
        assert_eq!(after(&life, 500), None);
    }

    #[test]
    fn hypers_state_is_kept_between_requests_that_follow_each_other_closely() {
        let (life, clock) = life(&settings::RespondingTimeouts::default());
        life.enter(Phase::Busy);
        life.read_pending.set(true);
        assert!(life.parks());
        life.brisk.set(true);
        assert!(!life.parks());
        assert!(!life.has_rested(clock.get()));
        assert!(life.has_rested(clock.get() + REST));
        life.rested.set(true);
        assert!(life.parks());
        assert!(!life.parks());
        life.refused.set(Some(Answer::HeadTimeout));
        assert!(life.parks());
    }

    #[test]
    fn sec_t1_heads_of_one_connection_are_bounded_together() {
        let (life, _) = life(&settings::RespondingTimeouts::default());
        assert!(life.take_head(3 << 20));
        assert!(!life.take_head(2 << 20));
        life.drop_head(3 << 20);
        assert!(life.take_head(5 << 20));
    }

    #[test]
    fn a_connection_is_idle_only_when_all_is_flushed_and_nothing_is_left_to_read() {
        let (life, _) = life(&settings::RespondingTimeouts::default());
        life.deliver(1);
        life.read_pending.set(true);
        assert!(!life.is_idle());
        // hyper does not read again when its last read, while the request was in flight,
        // found nothing: whole heads are counted, so nothing can lie in its buffer.
        life.finish();
        assert!(life.is_idle());
        life.read_pending.set(false);
        assert!(!life.is_idle());
        life.read_pending.set(true);
        life.unflushed.set(true);
        assert!(!life.is_idle());
    }
}
