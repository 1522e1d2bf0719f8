//! Requests between the newest generation of a service and the older ones. Made when readiness
//! changes, read by requests; a service without rules of a deploy has none.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderValue};

use super::deploy::DeployRules;
use super::replica::Replica;
use super::rotation::Rotation;
use super::sticky::{self, Mark};

/// Whether the newest generation gets requests while an older one could have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Too few of its servers are ready.
    Waiting,
    /// Too many of its requests failed.
    BackedOff,
    Open,
}

/// Servers of one generation, or of all older ones, that requests may be sent to.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) rotation: Rotation,
    /// Counts turns. Sides that shared one would not get every turn.
    turn: Arc<AtomicUsize>,
}

impl Side {
    pub(super) fn new(rotation: Rotation, turn: Arc<AtomicUsize>) -> Self {
        Self { rotation, turn }
    }

    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Relaxed)
    }

    fn is_ready(&self) -> bool {
        !self.rotation.ready.is_empty()
    }

    fn has(&self, replica: &Arc<Replica>) -> bool {
        self.rotation.ready.iter().any(|(one, _)| Arc::ptr_eq(one, replica))
    }
}

/// What pins are made with. Who could work them out could choose a generation that is not open
/// to all; so they are of this process alone.
static SECRET: LazyLock<String> = LazyLock::new(|| format!("{:032x}", rand::random::<u128>()));

/// What a pin to a generation says.
pub(super) fn mark(service: &str, generation: &str) -> Mark {
    sticky::mark(&["wharf generation", &SECRET, service, generation])
}

/// A generation that clients stay with.
#[derive(Debug)]
pub(super) struct Pinned {
    mark: Mark,
    side: Side,
    is_newest: bool,
    /// The field that sets the cookie, without and with `Secure`.
    set: [HeaderValue; 2],
}

impl Pinned {
    pub(super) fn new(service: &str, generation: &str, side: Side, is_newest: bool) -> Self {
        let mark = mark(service, generation);
        let (name, value) = (cookie_name(service), str::from_utf8(&mark).unwrap_or_default());
        let field = |secure: &str| {
            let text = format!("{name}={value}; Path=/; HttpOnly{secure}; SameSite=Lax");
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
        };
        Self { mark, side, is_newest, set: [field(""), field("; Secure")] }
    }
}

/// The name of the cookie that pins clients of a service to a generation.
pub(super) fn cookie_name(service: &str) -> String {
    let digits = sticky::mark(&["wharf generations", service]);
    format!("_wharf_{}", str::from_utf8(&digits).unwrap_or_default().get(..8).unwrap_or_default())
}

/// The newest generation and the older ones.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) rules: Arc<DeployRules>,
    pub(super) gate: Gate,
    pub(super) newest: Side,
    pub(super) older: Side,
    /// Each generation by itself, where clients are pinned.
    pub(super) pinned: Box<[Pinned]>,
    /// Empty where clients are not pinned.
    pub(super) cookie: Box<str>,
}

/// What a request says of where it wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Newest,
    Older,
}

impl Split {
    /// The side that a request is for; `None`: either. `drawn` keeps what was drawn for it,
    /// `count` says how many were drawn so far.
    pub(super) fn side(
        &self,
        headers: &HeaderMap,
        drawn: &mut Option<bool>,
        count: &AtomicUsize,
    ) -> Option<&Side> {
        if !self.older.is_ready() {
            return None;
        }
        match self.wish(headers) {
            Some(Wish::Newest) if self.may_be_asked_for() => return Some(&self.newest),
            Some(Wish::Newest | Wish::Older) => return Some(&self.older),
            None => {}
        }
        if let Some(pinned) = self.claimed(headers) {
            return Some(&pinned.side);
        }
        if self.gate != Gate::Open {
            return Some(&self.older);
        }
        let percent = self.rules.share()?;
        let is_newest = *drawn.get_or_insert_with(|| is_due(count.fetch_add(1, Relaxed), percent));
        Some(if is_newest { &self.newest } else { &self.older })
    }

    /// Whether a session may stay with its server, which is ready. A client leaves its
    /// generation only where it asks for the other one, or its own was found to fail.
    pub(super) fn keeps(&self, replica: &Arc<Replica>, headers: &HeaderMap) -> bool {
        if !self.older.is_ready() {
            return true;
        }
        let is_newest = self.is_newest(replica);
        match self.wish(headers) {
            Some(Wish::Newest) if self.may_be_asked_for() => is_newest,
            Some(Wish::Newest | Wish::Older) => !is_newest,
            None => !is_newest || self.gate != Gate::BackedOff,
        }
    }

    /// The field that pins a client to the generation of the server that is to answer it,
    /// unless it is pinned so, or asked for a generation.
    pub(super) fn pin(
        &self,
        headers: &HeaderMap,
        replica: &Arc<Replica>,
        is_secure: bool,
    ) -> Option<HeaderValue> {
        let own = self.pinned.iter().find(|pinned| pinned.side.has(replica))?;
        let is_pinned = self.values(headers).any(|value| value == own.mark);
        if is_pinned || self.older.is_ready() && self.wish(headers).is_some() {
            return None;
        }
        own.set.get(usize::from(is_secure)).cloned()
    }

    /// Whether a ready server is of the newest generation.
    pub(super) fn is_newest(&self, replica: &Arc<Replica>) -> bool {
        self.newest.has(replica)
    }

    /// Whether a request asks for the newest generation by itself. Those say nothing about how
    /// it would do with all the others.
    pub(super) fn is_asked_for(&self, headers: &HeaderMap) -> bool {
        self.wish(headers) == Some(Wish::Newest)
    }

    /// One that was backed off can be looked at by those who ask for it.
    fn may_be_asked_for(&self) -> bool {
        self.newest.is_ready() && self.gate != Gate::Waiting
    }

    /// The newest gets requests that did not ask for it.
    fn is_open(&self) -> bool {
        self.gate == Gate::Open && self.rules.share() != Some(0)
    }

    /// The generation that the client is pinned to, if it can have it.
    fn claimed(&self, headers: &HeaderMap) -> Option<&Pinned> {
        if self.pinned.is_empty() {
            return None;
        }
        self.values(headers).find_map(|value| {
            self.pinned.iter().find(|pinned| {
                let may_be_had = !pinned.is_newest || self.is_open();
                value == pinned.mark && pinned.side.is_ready() && may_be_had
            })
        })
    }

    fn values<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
        sticky::values(headers, &self.cookie)
    }

    /// The field goes before the cookie.
    fn wish(&self, headers: &HeaderMap) -> Option<Wish> {
        let by_header = self.rules.header.as_ref().and_then(|rule| {
            let value = headers.get(&rule.name)?;
            meaning(value.as_bytes(), rule.value.as_deref())
        });
        by_header.or_else(|| {
            let rule = self.rules.cookie.as_ref()?;
            sticky::values(headers, &rule.name)
                .find_map(|value| meaning(value, rule.value.as_deref()))
        })
    }
}

fn meaning(value: &[u8], wanted: Option<&str>) -> Option<Wish> {
    match wanted {
        Some(wanted) => (value == wanted.as_bytes()).then_some(Wish::Newest),
        None if value == b"always" => Some(Wish::Newest),
        None if value == b"never" => Some(Wish::Older),
        None => None,
    }
}

/// Whether this draw is one of the `percent` of a hundred, spread out evenly.
fn is_due(draw: usize, percent: u8) -> bool {
    let (draw, percent) = (draw % 100, usize::from(percent));
    (draw + 1) * percent / 100 > draw * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_draws_as_many_are_due_as_it_says_wherever_they_begin() {
        for percent in 0..=100 {
            for begin in [0, 7, 99] {
                let due = (begin..begin + 100).filter(|draw| is_due(*draw, percent)).count();

                assert_eq!(due, usize::from(percent), "{percent}% from {begin}");
            }
        }
    }

    #[test]
    fn those_that_are_due_are_spread_out() {
        let due: Vec<_> = (0..100).filter(|draw| is_due(*draw, 20)).collect();

        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 5), "{due:?}");
    }

    #[test]
    fn the_words_of_a_field_have_the_meaning_that_they_have_elsewhere() {
        for (value, wanted, meant) in [
            ("always", None, Some(Wish::Newest)),
            ("never", None, Some(Wish::Older)),
            ("Always", None, None),
            ("", None, None),
            ("beta", Some("beta"), Some(Wish::Newest)),
            ("always", Some("beta"), None),
            ("never", Some("beta"), None),
        ] {
            assert_eq!(meaning(value.as_bytes(), wanted), meant, "{value} {wanted:?}");
        }
    }
}
