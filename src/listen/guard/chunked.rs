//! The strict reading of chunk framing (RFC 9112 section 7.1, `security.md` H6, H7).

use memchr::memchr;

use super::request_line::is_token;

/// Chunk extensions and trailers of one message, each.
const EXTRA_LIMIT: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a size, with so many digits read.
    Size {
        digits: u8,
        value: u64,
    },
    Extension {
        last: u64,
    },
    SizeEnd {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a trailer line or of the end.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Where a chunked body stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extra: usize,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All taken; more must come.
    More,
    /// The body ended after so many bytes.
    End(usize),
    /// The byte at this place breaks the framing.
    Bad(usize),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self { state: State::Size { digits: 0, value: 0 }, extra: 0 }
    }

    /// Reads on.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if let State::Data { left } = self.state {
                let here = u64::try_from(bytes.len() - at).unwrap_or(u64::MAX).min(left);
                at += usize::try_from(here).unwrap_or(usize::MAX);
                let left = left - here;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            if self.state == State::TrailerValue || matches!(self.state, State::Extension { .. }) {
                let rest = bytes.get(at..).unwrap_or_default();
                let text = memchr(b'\r', rest).unwrap_or(rest.len());
                let run = rest.get(..text).unwrap_or_default();
                self.extra += text;
                if self.extra > EXTRA_LIMIT || run.iter().any(|byte| is_control(*byte)) {
                    return Step::Bad(at);
                }
                at += text;
                if text < rest.len() {
                    self.state = if let State::Extension { last } = self.state {
                        State::SizeEnd { value: last }
                    } else {
                        State::TrailerLf
                    };
                    at += 1;
                }
                continue;
            }
            match self.next(*byte) {
                None => return Step::Bad(at),
                Some(State::Done) => {
                    self.state = State::Done;
                    return Step::End(at + 1);
                }
                Some(state) => self.state = state,
            }
            at += 1;
        }
        Step::More
    }

    fn next(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (State::Size { digits: 1.., value }, b';') => State::Extension { last: value },
            (State::Size { digits: 1.., value }, b'\r') => State::SizeEnd { value },
            (State::Size { digits, value }, byte) if digits < 16 => {
                let digit = char::from(byte).to_digit(16)?;
                let value = value.checked_mul(16)?.checked_add(u64::from(digit))?;
                i64::try_from(value).ok()?;
                State::Size { digits: digits + 1, value }
            }
            (State::SizeEnd { value: 0 } | State::TrailerLf, b'\n') => State::TrailerStart,
            (State::SizeEnd { value }, b'\n') => State::Data { left: value },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, value: 0 },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => {
                self.extra += 1;
                if self.extra > EXTRA_LIMIT {
                    return None;
                }
                State::TrailerName
            }
            (State::TrailerName, b':') => State::TrailerValue,
            (State::EndLf, b'\n') => State::Done,
            _ => return None,
        })
    }
}

const fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 127
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Step {
        Chunked::new().advance(text.as_bytes())
    }

    #[test]
    fn chunks_end_where_they_say() {
        for (text, expected) in [
            ("0\r\n\r\n", Step::End(5)),
            ("3\r\nabc\r\n0\r\n\r\nGET", Step::End(13)),
            ("3;a=b\r\nabc\r\n0\r\n\r\n", Step::End(17)),
            ("0\r\nX-T: 1\r\n\r\n", Step::End(13)),
            ("3\r\nab", Step::More),
            ("\r\n", Step::Bad(0)),
            (";\r\n", Step::Bad(0)),
            ("-1\r\n", Step::Bad(0)),
            ("0x3\r\n", Step::Bad(1)),
            (" 3\r\n", Step::Bad(0)),
            ("3 \r\n", Step::Bad(1)),
            ("3\n", Step::Bad(1)),
            ("3\r\nabcd\r\n", Step::Bad(6)),
            ("3\r\nabc\n", Step::Bad(6)),
            ("3;a\nb\r\n", Step::Bad(2)),
            ("fffffffffffffffff\r\n", Step::Bad(15)),
            ("0\r\nX T: 1\r\n\r\n", Step::Bad(4)),
            ("0\r\n X: 1\r\n\r\n", Step::Bad(3)),
            ("0\r\nX: 1\n\r\n", Step::Bad(5)),
        ] {
            assert_eq!(whole(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let text = b"5;x=\"y\"\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
        let mut chunked = Chunked::new();
        for (at, byte) in text.iter().enumerate() {
            let expected = if at + 1 == text.len() { Step::End(1) } else { Step::More };
            assert_eq!(chunked.advance(&[*byte]), expected, "{at}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        assert!(matches!(whole(&format!("1;{}", "a".repeat(20_000))), Step::Bad(_)));
        assert!(matches!(whole(&format!("0\r\nX: {}", "a".repeat(20_000))), Step::Bad(_)));
        assert!(matches!(whole(&format!("0\r\n{}", "a".repeat(20_000))), Step::Bad(_)));
    }
}
