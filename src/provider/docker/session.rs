//! What is asked of the engine over one connection, and how often.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::rate::{Paid, Rate};

/// Calls to the engine at once.
const INSPECTS: usize = 16;

/// Looks at one container: so many as they come, then one in each such time. One that crashes
/// at once and again is looked at when it is started, and that is all there is to know.
const EACH: Rate = Rate { burst: 4, rest: Duration::from_millis(250) };

/// The same for all together, after those of a start of everything.
const ALL: Rate = Rate { burst: 512, rest: Duration::from_millis(10) };

/// With more than so many to look at, one list says which of them still exist.
const MANY: usize = 512;

/// One connection's bookkeeping.
#[derive(Default)]
pub(super) struct Session {
    /// To be looked at, in this order, and those among them that still are to be.
    waiting: VecDeque<Arc<str>>,
    queued: HashSet<Arc<str>>,
    /// Those of `queued` that were looked at often enough just now, by when they may be again.
    resting: BTreeSet<(Instant, Arc<str>)>,
    running: HashMap<Arc<str>, Look>,
    /// Whose last answer came too late.
    late: HashSet<Arc<str>>,
    each: HashMap<Arc<str>, Paid>,
    all: Paid,
    /// What was heard of since the running list was asked for.
    touched: Option<HashSet<Arc<str>>>,
    /// Signals that were sent to containers which are looked at.
    signals: Vec<Signal>,
}

/// A signal that the engine sent, and when, by its own clock.
pub(super) struct Signal {
    container: Arc<str>,
    pub(super) number: i32,
    pub(super) at: Option<SystemTime>,
}

/// A container that is being looked at.
#[derive(Clone, Copy, Default)]
struct Look {
    /// Something has happened to it since.
    has_news: bool,
    /// The last answer was passed over for that.
    is_second: bool,
    /// It was removed.
    is_over: bool,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It says how things are.
    Current,
    /// Something happened since it was asked for. Unless the container was removed, it is looked
    /// at again.
    Older,
}

impl Session {
    /// Asks for an inspect, once.
    pub(super) fn ask(&mut self, id: Arc<str>, now: Instant) {
        if !self.queued.insert(Arc::clone(&id)) {
            return;
        }
        match self.each.get(&id).and_then(|paid| paid.due(EACH)) {
            Some(due) if due > now => {
                self.resting.insert((due, id));
            }
            _ => self.waiting.push_back(id),
        }
    }

    /// It was removed: there is nothing to look at.
    pub(super) fn forget(&mut self, id: &str) {
        self.queued.remove(id);
        self.late.remove(id);
        self.signals.retain(|signal| *signal.container != *id);
        if let Some(look) = self.running.get_mut(id) {
            look.is_over = true;
        }
    }

    /// Something happened to it: an answer that is on its way may be of before.
    pub(super) fn heard(&mut self, id: &Arc<str>) {
        if let Some(touched) = &mut self.touched {
            touched.insert(Arc::clone(id));
        }
        if let Some(look) = self.running.get_mut(id) {
            look.has_news = true;
        }
    }

    /// Whether it is looked at or going to be.
    pub(super) fn asks(&self, id: &str) -> bool {
        self.queued.contains(id) || self.running.contains_key(id)
    }

    /// The next to look at. One that is being looked at waits: its answer may be of before.
    pub(super) fn next(&mut self, now: Instant) -> Option<Arc<str>> {
        while let Some((due, _)) = self.resting.first()
            && *due <= now
        {
            self.waiting.extend(self.resting.pop_first().map(|(_, id)| id));
        }
        if self.running.len() >= INSPECTS || self.all.due(ALL).is_some_and(|due| due > now) {
            return None;
        }
        let id = self.take_waiting()?;
        self.all.pay(ALL, now);
        self.pay(&id, now);
        Some(id)
    }

    /// The same without a look at how often, for what a list left open.
    pub(super) fn next_of_list(&mut self) -> Option<Arc<str>> {
        if self.running.len() >= INSPECTS { None } else { self.take_waiting() }
    }

    fn take_waiting(&mut self) -> Option<Arc<str>> {
        let (running, queued) = (&self.running, &self.queued);
        let is_free = |id: &Arc<str>| !running.contains_key(id) || !queued.contains(id);
        let free = self.waiting.iter().position(is_free)?;
        let id = self.waiting.remove(free)?;
        if !self.queued.remove(&id) {
            return self.take_waiting();
        }
        let look = Look { is_second: self.late.remove(&id), ..Look::default() };
        self.running.insert(Arc::clone(&id), look);
        Some(id)
    }

    fn pay(&mut self, id: &Arc<str>, now: Instant) {
        if self.each.len() == self.each.capacity() {
            self.each.retain(|_, paid| !paid.is_over(now));
        }
        self.each.entry(Arc::clone(id)).or_default().pay(EACH, now);
    }

    /// When there is something to look at that could not be until now.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.running.len() >= INSPECTS {
            return None;
        }
        let is_free = self.waiting.iter().any(|id| !self.running.contains_key(id));
        let waiting = if is_free { self.all.due(ALL) } else { None };
        let resting = self.resting.first().map(|(due, _)| *due);
        waiting.into_iter().chain(resting).min()
    }

    /// An answer came, or won't: says what it is worth. One of two in a row counts in any case,
    /// or nothing would be known of a container to which something happens all the time.
    pub(super) fn answered(&mut self, id: &Arc<str>, now: Instant) -> Worth {
        let look = self.running.remove(id).unwrap_or_default();
        if look.is_over {
            return Worth::Older;
        }
        if !look.has_news {
            return Worth::Current;
        }
        self.ask(Arc::clone(id), now);
        if look.is_second {
            return Worth::Current;
        }
        self.late.insert(Arc::clone(id));
        Worth::Older
    }

    /// Whether nothing is being looked at.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Whether a list would say more than what is asked for.
    pub(super) fn is_swamped(&self) -> bool {
        self.queued.len() > MANY
    }

    /// A list is asked for; what is heard from now on is newer.
    pub(super) fn begin_list(&mut self) {
        self.touched = Some(HashSet::new());
    }

    /// The list came: what was heard of meanwhile. Of others that it does not know nothing is
    /// asked any more.
    pub(super) fn end_list(&mut self, is_there: impl Fn(&str) -> bool) -> HashSet<Arc<str>> {
        let touched = self.touched.take().unwrap_or_default();
        let is_asked = |id: &Arc<str>| is_there(id) || touched.contains(id);
        self.queued.retain(&is_asked);
        self.waiting.retain(&is_asked);
        self.resting.retain(|(_, id)| is_asked(id));
        self.late.retain(&is_asked);
        self.signals.retain(|signal| is_asked(&signal.container));
        touched
    }

    /// Keeps a signal until the container has been looked at.
    pub(super) fn signalled(&mut self, container: &Arc<str>, number: i32, at: Option<SystemTime>) {
        self.signals.retain(|old| old.container != *container || old.number != number);
        self.signals.push(Signal { container: Arc::clone(container), number, at });
    }

    /// The signals that were kept for it.
    pub(super) fn signals_of(&mut self, id: &Arc<str>) -> Vec<Signal> {
        self.signals.extract_if(.., |signal| signal.container == *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Looks at all that may be looked at, at once.
    fn look_at_all(session: &mut Session, now: Instant) -> usize {
        let mut count = 0;
        while let Some(id) = session.next(now) {
            session.answered(&id, now);
            count += 1;
        }
        count
    }

    #[test]
    fn one_container_is_looked_at_a_few_times_at_once_then_four_times_a_second() {
        let (mut session, start) = (Session::default(), Instant::now());
        let mut count = 0;
        for turn in 0..1000 {
            let now = start + ms(turn * 10);
            session.ask("a".into(), now);
            count += look_at_all(&mut session, now);
        }

        assert_eq!(count, 4 + 39);
        assert_eq!(session.due(), Some(start + ms(10_000)), "what was heard last is looked at");
        assert_eq!(look_at_all(&mut session, start + ms(10_000)), 1);
        assert_eq!((session.is_idle(), session.due()), (true, None));
    }

    #[test]
    fn all_together_are_looked_at_a_hundred_times_a_second_after_those_of_a_start() {
        let (mut session, start) = (Session::default(), Instant::now());
        for number in 0..2000 {
            session.ask(number.to_string().into(), start);
        }
        assert!(session.is_swamped());

        assert_eq!(look_at_all(&mut session, start), 512);
        let due = session.due().unwrap();
        assert_eq!(look_at_all(&mut session, due), 1);
        assert_eq!(look_at_all(&mut session, start + Duration::from_secs(1)), 99);
    }

    #[test]
    fn of_calls_at_once_there_are_sixteen_and_one_for_each_container() {
        let (mut session, now) = (Session::default(), Instant::now());
        for number in 0..20 {
            session.ask(number.to_string().into(), now);
        }
        let first = session.next(now).unwrap();
        session.ask(Arc::clone(&first), now);

        let others: Vec<_> = std::iter::from_fn(|| session.next(now)).collect();

        assert_eq!((others.len(), others.contains(&first)), (15, false));
        assert_eq!(session.due(), None, "the next answer is waited for");
    }

    #[test]
    fn an_answer_that_something_overtook_is_passed_over_once() {
        let (mut session, now) = (Session::default(), Instant::now());
        let id: Arc<str> = "a".into();
        let mut worth = Vec::new();
        session.ask(Arc::clone(&id), now);
        for has_news in [true, true, false] {
            session.next(now).unwrap();
            if has_news {
                session.heard(&id);
            }
            worth.push(session.answered(&id, now));
        }

        assert_eq!(worth, [Worth::Older, Worth::Current, Worth::Current]);
        assert!(session.is_idle());
    }

    #[test]
    fn what_was_removed_is_not_looked_at_again() {
        let (mut session, now) = (Session::default(), Instant::now());
        let id: Arc<str> = "a".into();
        session.ask(Arc::clone(&id), now);
        session.forget(&id);
        assert_eq!(session.next(now), None);

        session.ask(Arc::clone(&id), now);
        session.next(now).unwrap();
        session.heard(&id);
        session.forget(&id);
        assert_eq!(session.answered(&id, now), Worth::Older);
        assert_eq!(session.next(now), None);
    }

    #[test]
    fn signals_of_what_is_gone_are_not_kept() {
        let mut session = Session::default();
        for id in ["removed", "not there", "there"] {
            session.signalled(&id.into(), 15, None);
        }

        session.forget("removed");
        assert_eq!(session.signals.len(), 2);
        session.begin_list();
        session.end_list(|id| id == "there");
        assert_eq!(session.signals.len(), 1);
        assert_eq!(session.signals_of(&"there".into()).len(), 1);
    }

    #[test]
    fn after_a_list_only_what_it_knows_or_what_came_since_is_asked_for() {
        let (mut session, now) = (Session::default(), Instant::now());
        for id in ["there", "not there"] {
            session.ask(id.into(), now);
        }
        session.begin_list();
        session.heard(&"new".into());
        session.ask("new".into(), now);

        let touched = session.end_list(|id| id == "there");

        assert_eq!(touched, HashSet::from(["new".into()]));
        let left: Vec<_> = std::iter::from_fn(|| session.next(now)).collect();
        assert_eq!(left, ["there".into(), "new".into()]);
    }

    #[test]
    fn a_signal_is_kept_once_and_given_to_its_container() {
        let mut session = Session::default();
        for (id, number) in [("a", 3), ("b", 3), ("a", 28), ("a", 3)] {
            session.signalled(&id.into(), number, None);
        }

        for (id, expected) in [("a", &[28, 3][..]), ("a", &[]), ("b", &[3])] {
            let signals = session.signals_of(&id.into());
            let numbers: Vec<_> = signals.into_iter().map(|signal| signal.number).collect();
            assert_eq!(numbers, expected, "{id}");
        }
    }
}
