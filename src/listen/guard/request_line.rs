//! The first line of a request: method, target and version, taken literally.

use memchr::memchr;

use super::answer::Answer;
use crate::message::host;

/// Longest request line.
pub(super) const LINE_LIMIT: usize = 64 * 1024;

/// A part of some bytes, by its start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// The same part with `by` more bytes in front.
    pub(super) fn moved(self, by: usize) -> Self {
        Self { start: self.start + by, end: self.end + by }
    }
}

/// What a request line says.
pub(super) struct RequestLine {
    pub(super) http_10: bool,
    /// See [`Head::odd_target`](super::head::Head).
    pub(super) odd_target: Option<Span>,
}

/// Reads a line without its end.
pub(super) fn request_line(line: &[u8]) -> Result<RequestLine, Answer> {
    if line.len() > LINE_LIMIT {
        return Err(Answer::TargetTooLong);
    }
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Answer::BadRequest);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Answer::BadRequest);
    }
    let http_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Answer::Version);
        }
        _ => return Err(Answer::BadRequest),
    };
    if method == b"CONNECT" {
        return Err(Answer::Connect);
    }
    check_target(method, target)?;
    let start = method.len() + 1;
    let odd_target = is_odd(target).then_some(Span { start, end: start + target.len() });
    Ok(RequestLine { http_10, odd_target })
}

/// Whether hyper refuses the target as it is. Browsers and tools send such bytes, as in
/// `?filter={"a":1}`, and Go takes them.
fn is_odd(target: &[u8]) -> bool {
    let mut high = false;
    for byte in target {
        if matches!(byte, b'"' | b'<' | b'>' | b'`') {
            return true;
        }
        high |= *byte >= 0x80;
    }
    high && std::str::from_utf8(target).is_err()
}

/// The target with those bytes escaped.
pub(super) fn escaped(target: &[u8]) -> Vec<u8> {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let is_text = std::str::from_utf8(target).is_ok();
    let mut escaped = Vec::with_capacity(target.len() + 16);
    for byte in target {
        if matches!(byte, b'"' | b'<' | b'>' | b'`') || (*byte >= 0x80 && !is_text) {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            escaped.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        } else {
            escaped.push(*byte);
        }
    }
    escaped
}

fn check_target(method: &[u8], target: &[u8]) -> Result<(), Answer> {
    if target.iter().any(|byte| *byte <= b' ' || *byte == 127) {
        return Err(Answer::BadRequest);
    }
    if memchr(b'#', target).is_some() {
        return Err(Answer::BadTarget);
    }
    match target {
        [b'/', ..] => Ok(()),
        b"*" if method == b"OPTIONS" => Ok(()),
        target => {
            let lower = target.get(..8).unwrap_or(target).to_ascii_lowercase();
            let rest = if lower.starts_with(b"http://") {
                target.get(7..)
            } else if lower.starts_with(b"https://") {
                target.get(8..)
            } else {
                None
            };
            let authority = rest
                .and_then(|rest| rest.split(|byte| matches!(byte, b'/' | b'?')).next())
                .filter(|authority| !authority.is_empty() && host::is_valid(authority));
            if authority.is_some() { Ok(()) } else { Err(Answer::BadRequest) }
        }
    }
}

/// RFC 9110 section 5.6.2.
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::super::head::Scanner;
    use super::*;

    #[test]
    fn request_lines_are_taken_literally() {
        for (line, expected) in [
            ("GET / HTTP/1.1", None),
            ("FOO /a?b HTTP/1.1", None),
            ("OPTIONS * HTTP/1.1", None),
            ("GET http://a.b/c HTTP/1.1", None),
            ("GET * HTTP/1.1", Some(Answer::BadRequest)),
            ("GET http://u@a/ HTTP/1.1", Some(Answer::BadRequest)),
            ("GET ftp://a/ HTTP/1.1", Some(Answer::BadRequest)),
            ("GET a HTTP/1.1", Some(Answer::BadRequest)),
            ("GET /x#y HTTP/1.1", Some(Answer::BadTarget)),
            ("GET  / HTTP/1.1", Some(Answer::BadRequest)),
            ("GET /a b HTTP/1.1", Some(Answer::BadRequest)),
            ("GET /", Some(Answer::BadRequest)),
            ("GET / HTTP/2.0", Some(Answer::Version)),
            ("GET / HTTP/1.2", Some(Answer::Version)),
            ("GET / http/1.1", Some(Answer::BadRequest)),
            ("CONNECT a:443 HTTP/1.1", Some(Answer::Connect)),
            ("G@T / HTTP/1.1", Some(Answer::BadRequest)),
        ] {
            assert_eq!(request_line(line.as_bytes()).err(), expected, "{line}");
        }
    }

    #[test]
    fn targets_that_hyper_refuses_are_found_and_escaped() {
        for (target, escaped_target) in [
            (&b"/a|b^c{d}?e='f'"[..], None),
            ("/caf\u{e9}".as_bytes(), None),
            (b"/?f={\"a\":1}", Some("/?f={%22a%22:1}")),
            (b"/<a>`", Some("/%3Ca%3E%60")),
            (b"/caf\xe9", Some("/caf%E9")),
        ] {
            let head = [b"\r\nGET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();

            let found = Scanner::default().scan(&head, 1 << 20).unwrap().unwrap().odd_target;

            let odd = found.map(|span| escaped(&head[span.start..span.end]));
            assert_eq!(odd.as_deref(), escaped_target.map(str::as_bytes), "{target:?}");
        }
    }
}
