//! Template text to pieces.

use std::iter::Peekable;
use std::str::CharIndices;

use super::functions;
use super::{Error, Operand, Piece, Pipeline, Value};

/// How deep blocks and brackets may be nested: templates come from the operator, but a typing
/// error must not end the process.
const MAX_DEPTH: usize = 64;

enum Raw<'t> {
    Text(&'t str),
    Action(&'t str),
}

pub(super) fn parse(text: &str) -> Result<Vec<Piece>, Error> {
    let raws = split(text)?;
    let mut raws = raws.into_iter();
    let (pieces, end) = block(&mut raws, 0)?;
    match end {
        None => Ok(pieces),
        Some(end) => Error::new(format!("unexpected {{{{ {end} }}}}")),
    }
}

/// Cuts at `{{` and `}}`; `{{-` and `-}}` trim the text beside them.
fn split(text: &str) -> Result<Vec<Raw<'_>>, Error> {
    let mut raws = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let before = if trim { before.trim_start() } else { before };
        let (before, after) = match after.strip_prefix("- ") {
            Some(after) => (before.trim_end(), after),
            None => (before, after),
        };
        raws.push(Raw::Text(before));
        let end = closing(after)?;
        let (action, after) = after.split_at(end);
        rest = after.get(2..).unwrap_or_default();
        let (action, trims) = match action.strip_suffix(" -") {
            Some(action) => (action, true),
            None => (action, false),
        };
        trim = trims;
        raws.push(Raw::Action(action.trim()));
    }
    raws.push(Raw::Text(if trim { rest.trim_start() } else { rest }));
    Ok(raws)
}

/// Where the action ends: a `}}` within quotes does not count.
fn closing(action: &str) -> Result<usize, Error> {
    if let Some(comment) = action.trim_start().strip_prefix("/*") {
        let skipped = action.len() - comment.len();
        let end = comment.find("*/").and_then(|at| comment.get(at..)?.find("}}").map(|to| at + to));
        return end
            .map_or_else(|| Error::new("no closing }} after a comment"), |at| Ok(skipped + at));
    }
    let mut quote = None;
    let mut chars = action.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, '"' | '`') => quote = Some(c),
            (Some('"'), '\\') => drop(chars.next()),
            (Some(open), _) if open == c => quote = None,
            (None, '}') if action.get(at..).is_some_and(|rest| rest.starts_with("}}")) => {
                return Ok(at);
            }
            _ => {}
        }
    }
    match quote {
        Some(_) => Error::new("unterminated quoted string"),
        None => Error::new("no closing }} after {{"),
    }
}

/// Pieces up to `end` or `else`, which is returned with what follows it.
fn block<'t>(
    raws: &mut impl Iterator<Item = Raw<'t>>,
    depth: usize,
) -> Result<(Vec<Piece>, Option<String>), Error> {
    if depth > MAX_DEPTH {
        return Error::new("too many blocks within blocks");
    }
    let mut pieces = Vec::new();
    while let Some(raw) = raws.next() {
        let action = match raw {
            Raw::Text("") => continue,
            Raw::Text(text) => {
                pieces.push(Piece::Text(text.to_owned()));
                continue;
            }
            Raw::Action(action) => action,
        };
        let (word, rest) = match action.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (action, ""),
        };
        match word {
            "end" | "else" => return Ok((pieces, Some(action.to_owned()))),
            "if" => pieces.push(conditional(rest, raws, depth)?),
            "with" => {
                let (body, otherwise) = bodies(raws, depth)?;
                pieces.push(Piece::With { over: pipeline(rest)?, body, otherwise });
            }
            "range" => pieces.push(range(rest, raws, depth)?),
            "template" | "define" | "block" | "break" | "continue" => {
                return Error::new(format!("`{word}` is not built in default rules"));
            }
            _ if action.is_empty() => return Error::new("missing value for command: {{ }}"),
            _ if action.starts_with("/*") => {}
            _ => pieces.push(Piece::Print(pipeline(action)?)),
        }
    }
    Ok((pieces, None))
}

fn conditional<'t>(
    condition: &str,
    raws: &mut impl Iterator<Item = Raw<'t>>,
    depth: usize,
) -> Result<Piece, Error> {
    let mut branches = Vec::new();
    let mut condition = condition.to_owned();
    loop {
        let test = pipeline(&condition)?;
        let (body, end) = block(raws, depth + 1)?;
        branches.push((test, body));
        let end = end.ok_or_else(|| Error("no {{ end }} after {{ if }}".to_owned()))?;
        if end == "end" {
            return Ok(Piece::If { branches, otherwise: Vec::new() });
        }
        match end.strip_prefix("else").map(str::trim) {
            Some("") => {
                let otherwise = last(raws, depth)?;
                return Ok(Piece::If { branches, otherwise });
            }
            Some(next) => match next.strip_prefix("if ") {
                Some(next) => next.clone_into(&mut condition),
                None => return Error::new(format!("unexpected {{{{ {end} }}}}")),
            },
            None => return Error::new(format!("unexpected {{{{ {end} }}}}")),
        }
    }
}

fn range<'t>(
    head: &str,
    raws: &mut impl Iterator<Item = Raw<'t>>,
    depth: usize,
) -> Result<Piece, Error> {
    let (names, over) = match head.split_once(":=") {
        Some((names, over)) if names.trim_start().starts_with('$') => {
            (names.split(',').map(|name| name.trim().to_owned()).collect(), over)
        }
        _ => (Vec::new(), head),
    };
    let (body, otherwise) = bodies(raws, depth)?;
    Ok(Piece::Range { over: pipeline(over)?, names, body, otherwise })
}

type Bodies = (Vec<Piece>, Vec<Piece>);

fn bodies<'t>(raws: &mut impl Iterator<Item = Raw<'t>>, depth: usize) -> Result<Bodies, Error> {
    let (body, end) = block(raws, depth + 1)?;
    match end.as_deref() {
        Some("end") => Ok((body, Vec::new())),
        Some("else") => Ok((body, last(raws, depth)?)),
        Some(other) => Error::new(format!("unexpected {{{{ {other} }}}}")),
        None => Error::new("no {{ end }}"),
    }
}

fn last<'t>(raws: &mut impl Iterator<Item = Raw<'t>>, depth: usize) -> Result<Vec<Piece>, Error> {
    let (body, end) = block(raws, depth + 1)?;
    match end.as_deref() {
        Some("end") => Ok(body),
        Some(other) => Error::new(format!("unexpected {{{{ {other} }}}}")),
        None => Error::new("no {{ end }} after {{ else }}"),
    }
}

fn pipeline(text: &str) -> Result<Pipeline, Error> {
    let (set, text) = match text.split_once(":=") {
        Some((name, rest)) if name.trim_start().starts_with('$') => {
            (Some(name.trim().to_owned()), rest)
        }
        _ => (None, text),
    };
    let mut reader = Reader { text, chars: text.char_indices().peekable() };
    let found = reader.pipeline(0)?;
    match reader.chars.next() {
        None => Ok(Pipeline { set, ..found }),
        Some((_, c)) => Error::new(format!("unexpected `{c}` in `{}`", text.trim())),
    }
}

struct Reader<'t> {
    text: &'t str,
    chars: Peekable<CharIndices<'t>>,
}

impl Reader<'_> {
    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, Error> {
        if depth > MAX_DEPTH {
            return Error::new("too many brackets within brackets");
        }
        let mut commands = vec![Vec::new()];
        loop {
            while self.chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            match self.chars.peek() {
                None | Some((_, ')')) => break,
                Some((_, '|')) => {
                    self.chars.next();
                    commands.push(Vec::new());
                }
                Some(_) => {
                    let operand = self.operand(depth)?;
                    if let Some(command) = commands.last_mut() {
                        command.push(operand);
                    }
                }
            }
        }
        if commands.iter().any(Vec::is_empty) {
            return Error::new(format!("missing value for command in `{}`", self.text.trim()));
        }
        Ok(Pipeline { set: None, commands })
    }

    fn operand(&mut self, depth: usize) -> Result<Operand, Error> {
        let Some((_, first)) = self.chars.peek().copied() else {
            return Error::new("missing value");
        };
        match first {
            '"' | '`' => self.quoted().map(|text| Operand::Value(Value::Text(text))),
            '(' => {
                self.chars.next();
                let inner = self.pipeline(depth + 1)?;
                if self.chars.next_if(|(_, c)| *c == ')').is_none() {
                    return Error::new(format!("unclosed ( in `{}`", self.text.trim()));
                }
                Ok(Operand::Group(inner, self.fields()))
            }
            '.' => Ok(Operand::Dot(self.fields())),
            '$' => {
                self.chars.next();
                let name = format!("${}", self.word());
                Ok(Operand::Variable(name, self.fields()))
            }
            c if c.is_ascii_digit() || c == '-' => {
                self.chars.next();
                let number = format!("{c}{}", self.word());
                match number.parse() {
                    Ok(number) => Ok(Operand::Value(Value::Int(number))),
                    Err(_) => Error::new(format!("`{number}` is no whole number")),
                }
            }
            c if c.is_alphabetic() => named(self.word()),
            c => Error::new(format!("unexpected `{c}` in `{}`", self.text.trim())),
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some((_, c)) = self.chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_') {
            word.push(c);
        }
        word
    }

    /// `.a.b`, and `.` alone.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while self.chars.next_if(|(_, c)| *c == '.').is_some() {
            let word = self.word();
            if !word.is_empty() {
                fields.push(word);
            }
        }
        fields
    }

    fn quoted(&mut self) -> Result<String, Error> {
        let quote = self.chars.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((_, c)) = self.chars.next() {
            if Some(c) == quote {
                return Ok(text);
            }
            if c != '\\' || quote == Some('`') {
                text.push(c);
                continue;
            }
            match self.chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, c @ ('"' | '\\' | '\''))) => text.push(c),
                other => {
                    let c = other.map_or(' ', |(_, c)| c);
                    return Error::new(format!("unknown escape \\{c} in a string"));
                }
            }
        }
        Error::new("unterminated quoted string")
    }
}

fn named(word: String) -> Result<Operand, Error> {
    match word.as_str() {
        "true" => Ok(Operand::Value(Value::Bool(true))),
        "false" => Ok(Operand::Value(Value::Bool(false))),
        "nil" => Ok(Operand::Value(Value::Nil)),
        name if functions::is_known(name) => Ok(Operand::Function(word)),
        name => {
            let near = crate::tree::suggest::nearest(name, functions::names());
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Error::new(format!("function {name:?} is not defined{hint}"))
        }
    }
}
