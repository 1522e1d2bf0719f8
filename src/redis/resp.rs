//! The protocol of Redis, version 2: commands written, answers read with a bound on all of it.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use std::str;

/// Most bytes of one answer.
pub const LARGEST: usize = 4096;
/// Most items of a list, and deepest lists in lists.
const MOST_ITEMS: usize = 64;
const DEEPEST: usize = 3;
/// Most characters of an error that are told.
const MOST_TOLD: usize = 200;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A text: `+OK`, or bytes of a length.
    Text(Vec<u8>),
    /// An error; what could not be shown is escaped, and its end left out.
    Error(Box<str>),
    /// A whole number.
    Number(i64),
    /// A value that is not there.
    Nothing,
    /// Several answers.
    List(Vec<Reply>),
}

/// Bytes that are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first byte says what an answer is.
    #[error("it begins with none of + - : $ *")]
    Kind,
    /// A number that is none, or a length that is none.
    #[error("a number that is none")]
    Number,
    /// Something does not end where it says.
    #[error("a line or text without its end")]
    End,
    /// More than is ever asked for.
    #[error("longer than {LARGEST} bytes, or too many lists")]
    TooLong,
    /// Another answer than the command has.
    #[error("not what was asked for")]
    Unasked,
}

/// Reads the answer at the start of these bytes, and its length; `None`: there is more to come.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut left = bytes.get(..LARGEST).unwrap_or(bytes);
    match reply(&mut left, 0)? {
        Some(reply) => Ok(Some((reply, bytes.len().min(LARGEST) - left.len()))),
        None if bytes.len() >= LARGEST => Err(Malformed::TooLong),
        None => Ok(None),
    }
}

fn reply(left: &mut &[u8], depth: usize) -> Result<Option<Reply>, Malformed> {
    let Some((kind, rest)) = left.split_first() else { return Ok(None) };
    if !b"+-:$*".contains(kind) {
        return Err(Malformed::Kind);
    }
    *left = rest;
    let Some(line) = line(left)? else { return Ok(None) };
    match kind {
        b'+' => Ok(Some(Reply::Text(line.to_vec()))),
        b'-' => Ok(Some(Reply::Error(told(line)))),
        b':' => number(line).map(|number| Some(Reply::Number(number))),
        b'$' => match length(line, LARGEST)? {
            Some(length) => text(left, length),
            None => Ok(Some(Reply::Nothing)),
        },
        _ => match length(line, MOST_ITEMS)? {
            Some(_) if depth >= DEEPEST => Err(Malformed::TooLong),
            Some(length) => list(left, length, depth),
            None => Ok(Some(Reply::Nothing)),
        },
    }
}

/// What stands before the next end of a line.
fn line<'a>(left: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let Some(end) = memchr::memchr(b'\r', left) else {
        return if left.contains(&b'\n') { Err(Malformed::End) } else { Ok(None) };
    };
    let (line, rest) = left.split_at_checked(end).ok_or(Malformed::End)?;
    match rest {
        [_, b'\n', rest @ ..] if !line.contains(&b'\n') => {
            *left = rest;
            Ok(Some(line))
        }
        [_] => Ok(None),
        _ => Err(Malformed::End),
    }
}

fn text(left: &mut &[u8], length: usize) -> Result<Option<Reply>, Malformed> {
    let Some((text, rest)) = left.split_at_checked(length) else { return Ok(None) };
    match rest {
        [b'\r', b'\n', rest @ ..] => {
            *left = rest;
            Ok(Some(Reply::Text(text.to_vec())))
        }
        [] | [b'\r'] => Ok(None),
        _ => Err(Malformed::End),
    }
}

fn list(left: &mut &[u8], length: usize, depth: usize) -> Result<Option<Reply>, Malformed> {
    let mut items = Vec::new();
    for _ in 0..length {
        match reply(left, depth + 1)? {
            Some(item) => items.push(item),
            None => return Ok(None),
        }
    }
    Ok(Some(Reply::List(items)))
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Number)
}

/// A length; `None` for that of nothing.
fn length(line: &[u8], most: usize) -> Result<Option<usize>, Malformed> {
    match number(line)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            Ok(_) => Err(Malformed::TooLong),
            Err(_) => Err(Malformed::Number),
        },
    }
}

/// An error of a server's as it may stand in the log.
fn told(line: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(line);
    text.chars().flat_map(char::escape_debug).take(MOST_TOLD).collect::<String>().into()
}

/// Writes a command.
pub(super) fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    count(&mut out, parts.len());
    for part in parts {
        push(&mut out, part);
    }
    out
}

/// Writes how many parts a command has.
pub(super) fn count(out: &mut Vec<u8>, parts: usize) {
    out.extend_from_slice(format!("*{parts}\r\n").as_bytes());
}

/// Writes one part of a command.
pub(super) fn push(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Reply {
        let (reply, length) = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len());
        reply
    }

    #[test]
    fn answers_of_every_kind_are_read() {
        let text = |text: &str| Reply::Text(text.into());
        for (bytes, reply) in [
            ("+OK\r\n", text("OK")),
            ("-ERR no \u{7}such\r\n", Reply::Error("ERR no \\u{7}such".into())),
            (":-42\r\n", Reply::Number(-42)),
            ("$5\r\na\r\nbc\r\n", text("a\r\nbc")),
            ("$0\r\n\r\n", text("")),
            ("$-1\r\n", Reply::Nothing),
            ("*-1\r\n", Reply::Nothing),
            ("*0\r\n", Reply::List(vec![])),
            (
                "*3\r\n:1\r\n*1\r\n+a\r\n$1\r\nb\r\n",
                Reply::List(vec![Reply::Number(1), Reply::List(vec![text("a")]), text("b")]),
            ),
        ] {
            assert_eq!(whole(bytes), reply, "{bytes:?}");
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes.as_bytes()[..end]), Ok(None), "{bytes:?} up to {end}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_told_at_once() {
        for (bytes, error) in [
            ("HTTP/1.1 400 Bad Request\r\n", Malformed::Kind),
            ("%1\r\n+a\r\n+b\r\n", Malformed::Kind),
            (":1x\r\n", Malformed::Number),
            (":99999999999999999999\r\n", Malformed::Number),
            ("$-2\r\n", Malformed::Number),
            ("$9999999999\r\n", Malformed::TooLong),
            ("*65\r\n", Malformed::TooLong),
            ("*1\r\n*1\r\n*1\r\n*1\r\n", Malformed::TooLong),
            ("+a\nb\r\n", Malformed::End),
            ("+a\rb", Malformed::End),
            ("$1\r\nab\r\n", Malformed::End),
        ] {
            assert_eq!(parse(bytes.as_bytes()), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_ends_at_its_bound() {
        let endless = ["+".as_bytes(), &[b'a'; LARGEST]].concat();
        assert_eq!(parse(&endless), Err(Malformed::TooLong));
        let error = whole(&format!("-{}\r\n", "e".repeat(1000)));
        assert_eq!(error, Reply::Error("e".repeat(MOST_TOLD).into()));
    }

    #[test]
    fn commands_are_lists_of_texts() {
        let parts: [&[u8]; 3] = [b"AUTH", b"", b"a\r\nb"];
        assert_eq!(command(&parts), b"*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
    }
}
