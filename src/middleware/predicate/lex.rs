//! Words of an expression: Go's tokens, as far as expressions use them.

use super::Value;

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) at: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A name, also one with dots.
    Name(&'a str),
    /// A constant as written, and what it is.
    Constant(&'a str, Value),
    /// `(`, `&&`, `<=` and so on; also operators of Go's that expressions do not have.
    Symbol(&'static str),
    End,
}

/// Longer ones first: `<=` is not `<` and `=`.
const SYMBOLS: [&str; 32] = [
    "&&", "||", "<=", ">=", "==", "!=", "<<", ">>", ":=", "++", "--", "!", "<", ">", "(", ")", ",",
    "=", "+", "-", "*", "/", "%", "&", "|", "^", "[", "]", "{", "}", ";", ":",
];

/// Reads one token after another.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token; [`Kind::End`] again and again at the end. Unlike in Go, a line may
    /// end anywhere.
    pub(super) fn next(&mut self) -> Result<Token<'a>, String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
        let at = self.at;
        let (kind, length) = self.token(trimmed)?;
        self.at += length;
        Ok(Token { kind, at })
    }

    fn token(&self, rest: &'a str) -> Result<(Kind<'a>, usize), String> {
        let mut letters = rest.chars();
        let Some(first) = letters.next() else { return Ok((Kind::End, 0)) };
        let second = letters.next();
        match first {
            '"' => self.quoted(rest),
            '`' => self.raw(rest),
            '\'' => Err("unsupported function argument type: 'CHAR' (write texts in double \
                         quotes)"
                .to_owned()),
            '.' | '0'..='9' if first != '.' || second.is_some_and(|c| c.is_ascii_digit()) => {
                number(rest)
            }
            first if first == '_' || first.is_alphabetic() => {
                let other = |c: char| c != '_' && c != '.' && !c.is_alphanumeric();
                let name = rest.get(..rest.find(other).unwrap_or(rest.len())).unwrap_or_default();
                Ok((Kind::Name(name), name.len()))
            }
            first => {
                if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                    return Ok((Kind::Symbol(symbol), symbol.len()));
                }
                let code = u32::from(first);
                Err(self.error(self.at, &format!("illegal character U+{code:04X} '{first}'")))
            }
        }
    }

    fn raw(&self, rest: &'a str) -> Result<(Kind<'a>, usize), String> {
        let end = rest.get(1..).and_then(|inner| inner.find('`'));
        let Some(end) = end else {
            return Err(self.error(self.at, "raw string literal not terminated"));
        };
        let text = rest.get(1..=end).unwrap_or_default().to_owned();
        let written = rest.get(..end + 2).unwrap_or_default();
        Ok((Kind::Constant(written, Value::Text(text)), written.len()))
    }

    /// A text in double quotes. The only texts that are asked for are methods, so escapes
    /// are none of ours.
    fn quoted(&self, rest: &'a str) -> Result<(Kind<'a>, usize), String> {
        let inner = rest.get(1..).unwrap_or_default();
        match inner.find(['"', '\\', '\n']) {
            Some(end) if inner.as_bytes().get(end) == Some(&b'"') => {
                let text = inner.get(..end).unwrap_or_default().to_owned();
                let written = rest.get(..end + 2).unwrap_or_default();
                Ok((Kind::Constant(written, Value::Text(text)), written.len()))
            }
            Some(end) if inner.as_bytes().get(end) == Some(&b'\\') => {
                let text = "escapes are not supported in a text (use back-ticks)";
                Err(self.error(self.at + 1 + end, text))
            }
            Some(_) | None => Err(self.error(self.at, "string literal not terminated")),
        }
    }

    /// An error with its line and column in front, as Go's scanner writes it.
    pub(super) fn error(&self, at: usize, text: &str) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
        format!("{line}:{column}: {text}")
    }
}

/// A whole number, or one with a fraction or an exponent; decimal, as Go's `Atoi` and
/// `ParseFloat` take them.
fn number(rest: &str) -> Result<(Kind<'_>, usize), String> {
    let mut length = 0;
    let mut before = ' ';
    for letter in rest.chars() {
        let is_sign = matches!(letter, '+' | '-') && matches!(before, 'e' | 'E');
        if !(is_sign || letter == '.' || letter == '_' || letter.is_alphanumeric()) {
            break;
        }
        length += letter.len_utf8();
        before = letter;
    }
    let written = rest.get(..length).unwrap_or_default();
    let wrong = |error: &str| format!("failed to parse argument: {written}, error: {error}");
    if written.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = written.parse().map_err(|_| wrong("value out of range"))?;
        return Ok((Kind::Constant(written, Value::Int(value)), length));
    }
    if !written.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return Err(wrong("invalid syntax"));
    }
    let value: f64 = written.parse().map_err(|_| wrong("invalid syntax"))?;
    if value.is_infinite() {
        return Err(wrong("value out of range"));
    }
    Ok((Kind::Constant(written, Value::Float(value)), length))
}
