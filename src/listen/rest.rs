//! How far a client's body came, and the rest of one that nobody wants: read within bounds, so
//! that the connection can go on with the next request (RFC 9112 section 9.3).

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Sleep;

/// Read at most of a body that nobody wants, as Go's `net/http`.
const MOST: u64 = 256 << 10;

/// How long that may take, as nginx's `lingering_time`.
const LIMIT: Duration = Duration::from_secs(30);

/// Looks at what has come of a body of unknown length, before an answer says that it is the
/// last: its end may be there already.
const LOOKS: usize = 8;

/// How far a client's body came.
#[derive(Debug, Default)]
pub(super) struct Intake {
    bytes: Cell<u64>,
    /// As its head says.
    length: Cell<Option<u64>>,
    /// Its end was not read.
    is_open: Cell<bool>,
    /// The client waits for a 100 before it sends anything.
    awaits_word: Cell<bool>,
    /// The answer said that it is the last on its connection.
    is_last: Cell<bool>,
}

impl Intake {
    /// There is a body, so long if that is known.
    pub(super) fn open(&self, length: Option<u64>, awaits_word: bool) {
        self.length.set(length);
        self.is_open.set(true);
        self.awaits_word.set(awaits_word);
    }

    /// Somebody wants it: hyper says so to a client that waits.
    pub(super) fn asked(&self) {
        self.awaits_word.set(false);
    }

    pub(super) fn took(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    /// Nothing more comes.
    pub(super) fn ended(&self) {
        self.is_open.set(false);
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.get()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// For what was no body.
    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    /// The answer says that it is the last on its connection.
    pub(super) fn say_last(&self) {
        self.is_last.set(true);
    }

    /// Nothing comes of it but by a 100, which must not follow an answer.
    fn is_unasked(&self) -> bool {
        self.awaits_word.get()
    }

    /// What is left of it is known, and little.
    pub(super) fn ends_in_reach(&self) -> bool {
        let left = self.length.get().map(|length| length.saturating_sub(self.bytes.get()));
        !self.is_unasked() && left.is_some_and(|left| left <= MOST)
    }

    /// Its length is not known, and its end may be there.
    pub(super) fn may_have_ended(&self) -> bool {
        !self.is_unasked() && self.length.get().is_none()
    }

    /// It may turn out to be short.
    fn is_worth_reading(&self) -> bool {
        self.is_open() && !self.is_last.get() && (self.ends_in_reach() || self.may_have_ended())
    }

    /// Gives the connection's task the turns that it needs to read what has come.
    pub(super) async fn look(&self) {
        for _ in 0..LOOKS {
            if !self.is_open() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The rest of a body that nobody wants.
pub(super) struct Rest {
    incoming: Incoming,
    intake: Rc<Intake>,
    left: u64,
    limit: Pin<Box<Sleep>>,
}

impl Rest {
    /// The rest, if it is worth reading.
    pub(super) fn of(incoming: Incoming, intake: &Rc<Intake>) -> Option<Self> {
        intake.is_worth_reading().then(|| Self {
            incoming,
            intake: Rc::clone(intake),
            left: MOST,
            limit: Box::pin(tokio::time::sleep(LIMIT)),
        })
    }

    /// Reads on; ready at the end, or when that is not worth the while. Dropped before its
    /// end, it ends the connection after the answer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.intake.is_last.get() {
            if self.limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(Ok(frame)) = ready!(Pin::new(&mut self.incoming).poll_frame(cx)) else {
                self.intake.ended();
                return Poll::Ready(());
            };
            let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
            self.intake.took(bytes);
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let Some(left) = self.left.checked_sub(bytes) else { return Poll::Ready(()) };
            self.left = left;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(length: Option<u64>, awaits_word: bool, came: usize) -> Intake {
        let intake = Intake::default();
        intake.open(length, awaits_word);
        intake.took(came);
        intake
    }

    #[test]
    fn only_a_short_rest_keeps_a_connection() {
        for (length, awaits_word, came, is_in_reach, is_worth) in [
            (Some(MOST), false, 0, true, true),
            (Some(MOST + 1), false, 0, false, false),
            (Some(MOST + 1), false, 1, true, true),
            (Some(1), true, 0, false, false),
            (None, false, 0, false, true),
            (None, true, 0, false, false),
        ] {
            let intake = intake(length, awaits_word, came);

            assert_eq!(intake.ends_in_reach(), is_in_reach, "{intake:?}");
            assert_eq!(intake.is_worth_reading(), is_worth, "{intake:?}");
        }
    }

    #[test]
    fn what_ended_or_was_given_up_is_not_read() {
        let intake = intake(Some(5), false, 5);
        intake.ended();
        assert!(!intake.is_worth_reading());

        let intake = self::intake(Some(5), true, 0);
        intake.asked();
        assert!(intake.is_worth_reading());
        intake.say_last();
        assert!(!intake.is_worth_reading());
    }
}
