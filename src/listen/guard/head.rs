//! The strict reading of a request head, in front of hyper's own: what it says about
//! framing must leave no room for two opinions (`security.md` H1 to H13).

use memchr::{memchr, memchr_iter};

use super::answer::Answer;
use super::request_line::{LINE_LIMIT, RequestLine, Span, is_token, request_line};
use crate::message::host;

/// Most fields in a head.
const FIELD_LIMIT: usize = 512;
/// Empty lines before a request line, in bytes; a robust reader passes over one or two.
const LEAD_LIMIT: usize = 64;
/// Traefik's slack above `maxHeaderBytes`.
const SLACK: usize = 4096;

/// How the body behind a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// A head that may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its bytes, with the empty line.
    pub(super) len: usize,
    /// Its body.
    pub(super) framing: Framing,
    /// It asks to change the protocol.
    pub(super) upgrade: bool,
    /// It has more fields than hyper takes without an allocation.
    pub(super) heavy: bool,
    /// Where its target is, when hyper takes it only with some bytes escaped.
    pub(super) odd_target: Option<Span>,
}

/// Looks for whole heads in bytes that come in pieces; remembers how far it looked.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    seen: usize,
    line_checked: bool,
}

impl Scanner {
    /// The head at the start of `bytes`; `None` while it is not whole.
    pub(super) fn scan(&mut self, bytes: &[u8], limit: usize) -> Result<Option<Head>, Answer> {
        let start = leading_line_ends(bytes);
        if start > LEAD_LIMIT {
            // They are held while they come: without an end they would fill the memory.
            return Err(Answer::BadRequest);
        }
        let Some(end) = self.find_end(bytes, start) else {
            self.check_part(bytes.get(start..).unwrap_or_default(), limit)?;
            return Ok(None);
        };
        *self = Self::default();
        let head = check(bytes.get(start..end).unwrap_or_default(), limit)?;
        let odd_target = head.odd_target.map(|span| span.moved(start));
        Ok(Some(Head { len: end, odd_target, ..head }))
    }

    fn find_end(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let from = self.seen.max(start);
        for at in memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
            let next = from + at + 1;
            match bytes.get(next..) {
                Some([b'\n', ..]) => return Some(next + 1),
                Some([b'\r', b'\n', ..]) => return Some(next + 2),
                _ => {}
            }
        }
        // An end may be cut in two: look at the last three bytes again.
        self.seen = bytes.len().saturating_sub(3);
        None
    }

    /// What can be said of a head before it is whole.
    fn check_part(&mut self, part: &[u8], limit: usize) -> Result<(), Answer> {
        if part.first().is_some_and(|byte| !is_token(*byte)) {
            return Err(Answer::BadRequest);
        }
        if !self.line_checked {
            match memchr(b'\n', part) {
                Some(end) => {
                    self.line_checked = true;
                    request_line(trim_line(part.get(..end).unwrap_or_default())?)?;
                }
                None if part.len() > LINE_LIMIT => return Err(Answer::TargetTooLong),
                None => {}
            }
        }
        if part.len() > limit + SLACK { Err(Answer::FieldsTooLarge) } else { Ok(()) }
    }
}

/// Empty lines before a request line are passed over (RFC 9112 section 2.2).
fn leading_line_ends(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            // Half of one: nothing to judge yet.
            [b'\r'] => &[],
            _ => return bytes.len() - rest.len(),
        };
    }
}

#[derive(Default)]
struct Fields {
    count: usize,
    hosts: usize,
    length: Option<u64>,
    codings: usize,
    connection_upgrade: bool,
    upgrade: bool,
}

fn check(head: &[u8], limit: usize) -> Result<Head, Answer> {
    // Everything but text, tabs and line ends, in one pass that vectorises.
    let is_odd = |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')) || byte == 127;
    let odd = head.iter().fold(false, |odd, byte| odd | is_odd(*byte));
    let mut lines = Lines { rest: head };
    let line = lines.next().unwrap_or(Ok(b""))?;
    let request = request_line(line)?;
    if odd {
        return Err(Answer::BadRequest);
    }
    if head.len() > limit + SLACK {
        return Err(Answer::FieldsTooLarge);
    }
    let mut fields = Fields::default();
    for line in lines {
        let line = line?;
        if !line.is_empty() {
            field(line, &mut fields)?;
        }
    }
    conclude(&request, &fields)
}

fn conclude(request: &RequestLine, fields: &Fields) -> Result<Head, Answer> {
    if fields.hosts == 0 && !request.http_10 {
        return Err(Answer::MissingHost);
    }
    let framing = match (fields.codings, fields.length) {
        (0, None | Some(0)) => Framing::Empty,
        (0, Some(length)) => Framing::Length(length),
        // Both, or chunks where the version has none: never to be guessed at.
        (1, None) if !request.http_10 => Framing::Chunked,
        _ => return Err(Answer::BadRequest),
    };
    let upgrade = fields.upgrade && fields.connection_upgrade && !request.http_10;
    let heavy = fields.count > super::LIGHT_FIELDS;
    Ok(Head { len: 0, framing, upgrade, heavy, odd_target: request.odd_target })
}

/// Lines without their ends; a CR anywhere else is an error.
struct Lines<'h> {
    rest: &'h [u8],
}

impl<'h> Iterator for Lines<'h> {
    type Item = Result<&'h [u8], Answer>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        Some(trim_line(line))
    }
}

fn trim_line(line: &[u8]) -> Result<&[u8], Answer> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if memchr(b'\r', line).is_some() { Err(Answer::BadRequest) } else { Ok(line) }
}

fn field(line: &[u8], fields: &mut Fields) -> Result<(), Answer> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        // A folded line.
        return Err(Answer::BadRequest);
    }
    let colon = memchr(b':', line).ok_or(Answer::BadRequest)?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Answer::InvalidName);
    }
    fields.count += 1;
    if fields.count > FIELD_LIMIT {
        return Err(Answer::FieldsTooLarge);
    }
    let value = value.get(1..).unwrap_or_default();
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => {
            fields.hosts += 1;
            if fields.hosts > 1 {
                return Err(Answer::BadRequest);
            }
            if !host::is_valid(value.trim_ascii()) {
                return Err(Answer::MalformedHost);
            }
        }
        7 if name.eq_ignore_ascii_case(b"upgrade") => fields.upgrade = true,
        10 if name.eq_ignore_ascii_case(b"connection") => {
            fields.connection_upgrade |= value
                .split(|byte| *byte == b',')
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
        }
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            let length = length(value.trim_ascii())?;
            if fields.length.replace(length).is_some_and(|first| first != length) {
                return Err(Answer::BadRequest);
            }
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            fields.codings += 1;
            coding(value)?;
        }
        _ => {}
    }
    Ok(())
}

/// Digits only, below 2^63.
fn length(value: &[u8]) -> Result<u64, Answer> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Answer::BadRequest);
    }
    let length = value.iter().try_fold(0_u64, |length, digit| {
        length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    length.filter(|length| i64::try_from(*length).is_ok()).ok_or(Answer::BadRequest)
}

/// Exactly `chunked`, once.
fn coding(value: &[u8]) -> Result<(), Answer> {
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let first = codings.next().unwrap_or_default();
    match (is_chunked(first), codings.next()) {
        (true, None) => Ok(()),
        (true, Some(_)) => Err(Answer::BadRequest),
        (false, _) if first.is_empty() => Err(Answer::BadRequest),
        (false, _) => Err(Answer::UnknownCoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<Option<Head>, Answer> {
        Scanner::default().scan(text.as_bytes(), 1 << 20)
    }

    fn framing(fields: &str) -> Result<Framing, Answer> {
        scan(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .map(|head| head.unwrap().framing)
    }

    #[test]
    fn framing_leaves_no_room_for_two_opinions() {
        for (fields, expected) in [
            ("", Ok(Framing::Empty)),
            ("Content-Length: 5\r\n", Ok(Framing::Length(5))),
            ("Content-Length: 5\r\ncontent-length: 5\r\n", Ok(Framing::Length(5))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(Answer::BadRequest)),
            ("Content-Length: 5, 5\r\n", Err(Answer::BadRequest)),
            ("Content-Length: +5\r\n", Err(Answer::BadRequest)),
            ("Content-Length: 0x5\r\n", Err(Answer::BadRequest)),
            ("Content-Length: 5 5\r\n", Err(Answer::BadRequest)),
            ("Content-Length:\r\n", Err(Answer::BadRequest)),
            ("Content-Length: 9223372036854775808\r\n", Err(Answer::BadRequest)),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(Answer::BadRequest)),
            ("Transfer-Encoding: chunked, identity\r\n", Err(Answer::BadRequest)),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(Answer::UnknownCoding)),
            ("Transfer-Encoding: xchunked\r\n", Err(Answer::UnknownCoding)),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(Answer::BadRequest),
            ),
            ("Transfer-Encoding : chunked\r\n", Err(Answer::InvalidName)),
            ("X: a\r\n b\r\n", Err(Answer::BadRequest)),
            ("X: a\rb\r\n", Err(Answer::BadRequest)),
            ("X: a\0b\r\n", Err(Answer::BadRequest)),
            (": a\r\n", Err(Answer::InvalidName)),
            ("X\r\n", Err(Answer::BadRequest)),
            ("Host: b\r\n", Err(Answer::BadRequest)),
        ] {
            assert_eq!(framing(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn hosts_are_needed_once_and_must_be_hosts() {
        assert_eq!(scan("GET / HTTP/1.1\r\n\r\n"), Err(Answer::MissingHost));
        assert!(scan("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
        assert!(scan("GET / HTTP/1.1\r\nHost:\r\n\r\n").unwrap().is_some());
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), Err(Answer::MalformedHost));
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let text = "\r\nPOST /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: \
                    websocket\r\n\r\nrest";
        let whole = scan(text).unwrap().unwrap();
        assert!(whole.upgrade);
        let mut scanner = Scanner::default();
        for end in 0..whole.len {
            assert_eq!(scanner.scan(&text.as_bytes()[..end], 1 << 20), Ok(None), "{end}");
        }
        assert_eq!(scanner.scan(&text.as_bytes()[..whole.len], 1 << 20), Ok(Some(whole)));
    }

    #[test]
    fn sec_h12_empty_lines_before_a_request_are_bounded() {
        let (few, many) = ("\r\n".repeat(4), "\r\n".repeat(100));
        assert!(scan(&format!("{few}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).is_ok());
        assert_eq!(scan(&many), Err(Answer::BadRequest));
        assert_eq!(scan(&"\n".repeat(100)), Err(Answer::BadRequest));
    }

    #[test]
    fn what_is_too_long_is_said_before_it_is_whole() {
        let line = format!("GET /{}", "a".repeat(70_000));
        assert_eq!(scan(&line), Err(Answer::TargetTooLong));
        let field = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(9000));
        let scanned = Scanner::default().scan(field.as_bytes(), 4096);
        assert_eq!(scanned, Err(Answer::FieldsTooLarge));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(512));
        assert_eq!(scan(&many), Err(Answer::FieldsTooLarge));
        assert_eq!(scan("\x16\x03\x01"), Err(Answer::BadRequest));
        assert_eq!(scan("GET /\r\n"), Err(Answer::BadRequest));
    }
}
