//! Words of a rule: Go's tokens, as far as rules use them.

use std::ops::Range;

use super::RuleError;

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) span: Range<usize>,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Word(&'a str),
    Text(String),
    And,
    Or,
    Not,
    Open,
    Close,
    Comma,
    /// An operator of Go's that rules do not have.
    Other(&'a str),
    End,
}

/// Reads one token after another.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next token; [`Kind::End`] again and again at the end.
    pub(super) fn next(&mut self) -> Result<Token<'a>, RuleError> {
        self.skip_blanks()?;
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token { kind: Kind::End, span: start..start });
        };
        let (kind, length) = match first {
            '`' => self.raw_text()?,
            '"' => self.quoted_text()?,
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            ',' => (Kind::Comma, 1),
            '&' if rest.starts_with("&&") => (Kind::And, 2),
            '|' if rest.starts_with("||") => (Kind::Or, 2),
            '!' if !rest.starts_with("!=") => (Kind::Not, 1),
            '\'' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => {
                return Err(self.quote(first));
            }
            first if first == '_' || first.is_alphanumeric() => {
                let length = rest
                    .find(|next: char| next != '_' && next != '.' && !next.is_alphanumeric())
                    .unwrap_or(rest.len());
                (Kind::Word(rest.get(..length).unwrap_or_default()), length)
            }
            first => self.operator(first)?,
        };
        self.at = start + length;
        Ok(Token { kind, span: start..self.at })
    }

    /// Blanks, line ends and Go's comments. Unlike Go, a line may end anywhere: a rule
    /// broken over lines before `&&` means what it says.
    fn skip_blanks(&mut self) -> Result<(), RuleError> {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += blanks;
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(end) = rest.find("*/") else {
                    return Err(self.error(self.at..self.text.len(), "comment not terminated"));
                };
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn raw_text(&self) -> Result<(Kind<'a>, usize), RuleError> {
        let inner = self.rest().get(1..).unwrap_or_default();
        let Some(end) = inner.find('`') else {
            let all = self.at..self.text.len();
            return Err(self
                .error(all, "raw string literal not terminated")
                .mend("close the argument with a back-tick"));
        };
        // As Go: carriage returns are no part of a raw string.
        let text = inner.get(..end).unwrap_or_default().replace('\r', "");
        Ok((Kind::Text(text), end + 2))
    }

    fn quoted_text(&self) -> Result<(Kind<'a>, usize), RuleError> {
        let body = self.rest();
        let mut bytes = Vec::new();
        let mut at = 1;
        loop {
            let rest = body.get(at..).unwrap_or_default();
            match rest.chars().next() {
                None | Some('\n') => {
                    let all = self.at..self.at + at;
                    return Err(self
                        .error(all, "string literal not terminated")
                        .mend("close the argument with a double quote"));
                }
                Some('"') => break,
                Some('\\') => at += self.escape(at, rest, &mut bytes)?,
                Some(plain) => {
                    bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
                    at += plain.len_utf8();
                }
            }
        }
        let all = self.at..self.at + at + 1;
        match String::from_utf8(bytes) {
            Ok(text) => Ok((Kind::Text(text), at + 1)),
            Err(_) => Err(self.error(all, "illegal UTF-8 encoding")),
        }
    }

    /// One escape of Go's at the start of `rest`; returns its length.
    fn escape(&self, at: usize, rest: &str, into: &mut Vec<u8>) -> Result<usize, RuleError> {
        let letter = rest.chars().nth(1);
        let unknown = |text: &str| {
            let place = self.at + at + 1;
            self.error(place..place + letter.map_or(0, char::len_utf8), text)
                .mend("use back-ticks around arguments with backslashes")
        };
        let plain = match letter {
            Some('a') => Some(0x07),
            Some('b') => Some(0x08),
            Some('f') => Some(0x0c),
            Some('n') => Some(b'\n'),
            Some('r') => Some(b'\r'),
            Some('t') => Some(b'\t'),
            Some('v') => Some(0x0b),
            Some('\\') => Some(b'\\'),
            Some('"') => Some(b'"'),
            _ => None,
        };
        if let Some(byte) = plain {
            into.push(byte);
            return Ok(2);
        }
        let (skip, digits, radix) = match letter {
            Some('x') => (2, 2, 16),
            Some('u') => (2, 4, 16),
            Some('U') => (2, 8, 16),
            Some('0'..='7') => (1, 3, 8),
            _ => return Err(unknown("unknown escape sequence")),
        };
        let value = rest
            .get(skip..skip + digits)
            .filter(|text| text.chars().all(|digit| digit.is_digit(radix)))
            .and_then(|text| u32::from_str_radix(text, radix).ok())
            .ok_or_else(|| unknown("illegal character in escape sequence"))?;
        if digits > 3 {
            let letter = char::from_u32(value)
                .ok_or_else(|| unknown("escape sequence is invalid Unicode code point"))?;
            into.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            let byte = u8::try_from(value)
                .map_err(|_| unknown("escape sequence is invalid Unicode code point"))?;
            into.push(byte);
        }
        Ok(skip + digits)
    }

    fn quote(&self, quote: char) -> RuleError {
        let mend = "put arguments in back-ticks: Host(`example.org`)";
        if quote != '\'' {
            let text = format!("curly quotation mark '{quote}' (use neutral '\"')");
            return self.error(self.at..self.at + quote.len_utf8(), &text).mend(mend);
        }
        let inner = self.rest().get(1..).unwrap_or_default();
        let (text, length) = match inner.find('\'') {
            None => ("rune literal not terminated", inner.len() + 1),
            Some(end) => ("illegal rune literal", end + 2),
        };
        self.error(self.at..self.at + length, text).mend(mend)
    }

    fn operator(&self, first: char) -> Result<(Kind<'a>, usize), RuleError> {
        const OPERATORS: [&str; 26] = [
            "==", "!=", "<=", ">=", "...", "|", "&", "+", "-", "*", "/", "%", "^", "=", "<", ">",
            ";", ":", ".", "[", "]", "{", "}", "~", "?", "@",
        ];
        let rest = self.rest();
        match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
            Some(operator) if !matches!(*operator, "?" | "@") => {
                Ok((Kind::Other(operator), operator.len()))
            }
            _ => {
                let text = format!("illegal character U+{:04X} '{first}'", u32::from(first));
                Err(self.error(self.at..self.at + first.len_utf8(), &text))
            }
        }
    }

    /// An error with its line and column in front, as Go's scanner writes it.
    pub(super) fn error(&self, span: Range<usize>, text: &str) -> RuleError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
        RuleError::parsing(span, format!("{line}:{column}: {text}"))
    }
}
