//! Where one message ends and the next begins, over the life of a connection.

use super::answer::Answer;
use super::chunked::{Chunked, Step};
use super::head::{Framing, Scanner};
use super::request_line::Span;

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Box<Chunked>),
    /// Behind a request for an upgrade, until the answer is known.
    Verdict,
    /// Whatever comes passes.
    Tunnel,
    Bad {
        answer: Answer,
        in_body: bool,
    },
}

/// Why bytes are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing is.
    Nothing,
    /// A head is not whole yet.
    Partial,
    /// The answer to an upgrade is not known yet.
    Verdict,
    /// A head with many fields, which the connection as it is built does not take.
    Heavy,
    /// A head that gets this answer once all before it are answered.
    Refused(Answer),
    /// A body whose framing broke.
    Broken(Answer),
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// So many from the front may pass.
    pub(super) pass: usize,
    /// Heads among them.
    pub(super) heads: u64,
    /// One of these heads has many fields.
    pub(super) heavy: bool,
    /// Why the rest may not.
    pub(super) hold: Hold,
    /// The target of the last of these heads, when it must be escaped.
    pub(super) odd_target: Option<Span>,
}

/// Follows the framing of a connection's requests.
#[derive(Debug)]
pub(super) struct Framer {
    state: State,
    scanner: Scanner,
    limit: usize,
    /// The message now read asks for an upgrade.
    upgrade: bool,
}

impl Framer {
    /// For heads of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { state: State::Head, scanner: Scanner::default(), limit, upgrade: false }
    }

    /// Lets everything pass from now on.
    pub(super) fn open(&mut self) {
        self.state = State::Tunnel;
    }

    /// The head that is read gets this answer.
    pub(super) fn refuse(&mut self, answer: Answer) {
        self.state = State::Bad { answer, in_body: false };
    }

    /// The upgrade was not agreed to: what follows are requests again.
    pub(super) fn refuse_upgrade(&mut self) {
        self.upgrade = false;
        if matches!(self.state, State::Verdict) {
            self.state = State::Head;
        }
    }

    /// No message is being read.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Head | State::Verdict | State::Bad { in_body: false, .. })
    }

    /// Reads on. Only the bytes that pass are taken; the others come again.
    pub(super) fn advance(&mut self, bytes: &[u8], takes_heavy: bool) -> Progress {
        let hold = Hold::Nothing;
        let mut progress = Progress { pass: 0, heads: 0, heavy: false, hold, odd_target: None };
        // What is behind an odd target is looked at when that is mended.
        while progress.hold == Hold::Nothing && progress.odd_target.is_none() {
            let rest = bytes.get(progress.pass..).unwrap_or_default();
            if rest.is_empty() && !matches!(self.state, State::Bad { .. }) {
                break;
            }
            self.step(rest, takes_heavy, &mut progress);
        }
        progress
    }

    fn step(&mut self, rest: &[u8], takes_heavy: bool, progress: &mut Progress) {
        match &mut self.state {
            State::Head => self.head(rest, takes_heavy, progress),
            State::Length(left) => {
                let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(*left);
                *left -= here;
                progress.pass += usize::try_from(here).unwrap_or(usize::MAX);
                if *left == 0 {
                    self.end();
                }
            }
            State::Chunked(chunked) => match chunked.advance(rest) {
                Step::More => progress.pass += rest.len(),
                Step::End(taken) => {
                    progress.pass += taken;
                    self.end();
                }
                Step::Bad(at) => {
                    progress.pass += at;
                    self.state = State::Bad { answer: Answer::BadRequest, in_body: true };
                }
            },
            State::Verdict => progress.hold = Hold::Verdict,
            State::Tunnel => progress.pass += rest.len(),
            State::Bad { answer, in_body: true } => progress.hold = Hold::Broken(*answer),
            State::Bad { answer, in_body: false } => progress.hold = Hold::Refused(*answer),
        }
    }

    fn head(&mut self, rest: &[u8], takes_heavy: bool, progress: &mut Progress) {
        match self.scanner.scan(rest, self.limit) {
            Ok(None) => progress.hold = Hold::Partial,
            Ok(Some(head)) if head.heavy && !takes_heavy => progress.hold = Hold::Heavy,
            Ok(Some(head)) => {
                progress.odd_target = head.odd_target.map(|span| span.moved(progress.pass));
                progress.pass += head.len;
                progress.heads += 1;
                progress.heavy |= head.heavy;
                self.upgrade = head.upgrade;
                match head.framing {
                    Framing::Empty => self.end(),
                    Framing::Length(length) => self.state = State::Length(length),
                    Framing::Chunked => self.state = State::Chunked(Box::new(Chunked::new())),
                }
            }
            Err(answer) => self.state = State::Bad { answer, in_body: false },
        }
    }

    fn end(&mut self) {
        self.state = if self.upgrade { State::Verdict } else { State::Head };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn advance(framer: &mut Framer, text: &str) -> (usize, u64, Hold) {
        let progress = framer.advance(text.as_bytes(), false);
        (progress.pass, progress.heads, progress.hold)
    }

    #[test]
    fn a_bad_head_is_held_back_behind_good_ones() {
        let mut framer = Framer::new(1 << 20);
        let text = format!("{GET}{GET}BAD\r\n\r\n");

        let hold = Hold::Refused(Answer::BadRequest);
        assert_eq!(advance(&mut framer, &text), (GET.len() * 2, 2, hold));
        assert!(framer.is_between());
    }

    #[test]
    fn a_head_passes_only_whole() {
        let mut framer = Framer::new(1 << 20);
        assert_eq!(advance(&mut framer, &GET[..10]), (0, 0, Hold::Partial));
        assert_eq!(advance(&mut framer, GET), (GET.len(), 1, Hold::Nothing));
    }

    #[test]
    fn bodies_are_followed_to_their_end() {
        let mut framer = Framer::new(1 << 20);
        let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = format!("{post}3\r\nab");
        assert_eq!(advance(&mut framer, &text), (text.len(), 1, Hold::Nothing));
        assert!(!framer.is_between());
        let rest = format!("c\r\n0\r\n\r\n{GET}");
        assert_eq!(advance(&mut framer, &rest), (rest.len(), 1, Hold::Nothing));
        assert!(framer.is_between());
        let text = format!("{post}3\r\nabcX");
        let hold = Hold::Broken(Answer::BadRequest);
        assert_eq!(advance(&mut framer, &text), (text.len() - 1, 1, hold));
    }

    #[test]
    fn nothing_passes_behind_an_upgrade_until_it_is_agreed() {
        let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        let text = format!("{ask}bytes");
        let mut framer = Framer::new(1 << 20);
        assert_eq!(advance(&mut framer, &text), (ask.len(), 1, Hold::Verdict));
        framer.open();
        assert_eq!(advance(&mut framer, "bytes"), (5, 0, Hold::Nothing));

        let mut framer = Framer::new(1 << 20);
        assert_eq!(advance(&mut framer, ask), (ask.len(), 1, Hold::Nothing));
        framer.refuse_upgrade();
        assert_eq!(advance(&mut framer, GET), (GET.len(), 1, Hold::Nothing));
    }

    #[test]
    fn heads_with_many_fields_wait_for_a_connection_that_takes_them() {
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(200));
        let mut framer = Framer::new(1 << 20);
        assert_eq!(advance(&mut framer, &many), (0, 0, Hold::Heavy));
        assert!(framer.advance(many.as_bytes(), true).heavy);
    }
}
