//! Pieces and a container to text.

use std::collections::BTreeMap;

use super::{Error, Operand, Piece, Pipeline, Value, functions};

/// What a default rule can name.
#[derive(Clone, Copy, Debug)]
pub(in crate::labels) struct Model<'c> {
    /// `.Name`: the service's name.
    pub(in crate::labels) name: &'c str,
    /// `.ContainerName`, without the leading slash.
    pub(in crate::labels) container: &'c str,
    /// `.Labels`.
    pub(in crate::labels) labels: &'c BTreeMap<String, String>,
}

/// Rules are bounded (16 KiB); a template's output is, too.
const MAX_OUTPUT: usize = 64 * 1024;

struct Run {
    root: Value,
    variables: Vec<(String, Value)>,
    out: Output,
}

pub(super) fn render(pieces: &[Piece], model: &Model<'_>) -> Result<String, Error> {
    let labels = model.labels.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone())));
    let fields = [
        ("Name", Value::Text(model.name.to_owned())),
        ("ContainerName", Value::Text(model.container.to_owned())),
        ("Labels", Value::Map(labels.collect())),
    ];
    let root = Value::Map(fields.map(|(key, value)| (key.to_owned(), value)).into());
    let mut run =
        Run { variables: vec![("$".to_owned(), root.clone())], root, out: Output::default() };
    let dot = run.root.clone();
    run.pieces(pieces, &dot)?;
    Ok(run.out.text)
}

impl Run {
    fn pieces(&mut self, pieces: &[Piece], dot: &Value) -> Result<(), Error> {
        for piece in pieces {
            self.piece(piece, dot)?;
        }
        Ok(())
    }

    /// Variables end with the block that they are set in.
    fn scope(&mut self, pieces: &[Piece], dot: &Value) -> Result<(), Error> {
        let mark = self.variables.len();
        self.pieces(pieces, dot)?;
        self.variables.truncate(mark);
        Ok(())
    }

    fn piece(&mut self, piece: &Piece, dot: &Value) -> Result<(), Error> {
        match piece {
            Piece::Text(text) => self.out.fixed(text),
            Piece::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.set.is_some() { Ok(()) } else { self.out.value(&value.to_text()) }
            }
            Piece::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.pipeline(test, dot)?.is_true() {
                        return self.scope(body, dot);
                    }
                }
                self.scope(otherwise, dot)
            }
            Piece::With { over, body, otherwise } => {
                let value = self.pipeline(over, dot)?;
                if value.is_true() { self.scope(body, &value) } else { self.scope(otherwise, dot) }
            }
            Piece::Range { over, names, body, otherwise } => {
                let items = items(self.pipeline(over, dot)?)?;
                if items.is_empty() {
                    return self.scope(otherwise, dot);
                }
                for (key, item) in items {
                    let mark = self.variables.len();
                    match names.as_slice() {
                        [] => {}
                        [one] => self.variables.push((one.clone(), item.clone())),
                        [first, second, ..] => {
                            self.variables.push((first.clone(), key));
                            self.variables.push((second.clone(), item.clone()));
                        }
                    }
                    self.pieces(body, &item)?;
                    self.variables.truncate(mark);
                }
                Ok(())
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last, dot)?);
        }
        let value = last.unwrap_or(Value::Nil);
        if let Some(name) = &pipeline.set {
            self.variables.push((name.clone(), value.clone()));
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, Error> {
        let Some((head, rest)) = command.split_first() else { return Ok(Value::Nil) };
        if let Operand::Function(name) = head {
            let mut arguments = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                arguments.push(self.operand(operand, dot)?);
            }
            arguments.extend(piped);
            return functions::call(name, &arguments);
        }
        if !rest.is_empty() || piped.is_some() {
            return Error::new("only a function can be given arguments");
        }
        self.operand(head, dot)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Error> {
        match operand {
            Operand::Value(value) => Ok(value.clone()),
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Dot(fields) => field(dot, fields, *dot == self.root),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => field(value, fields, name == "$"),
                    None => Error::new(format!("undefined variable `{name}`")),
                }
            }
            Operand::Group(pipeline, fields) => {
                let value = self.pipeline(pipeline, dot)?;
                field(&value, fields, false)
            }
        }
    }
}

fn field(value: &Value, fields: &[String], is_root: bool) -> Result<Value, Error> {
    let mut value = value;
    let mut is_root = is_root;
    for name in fields {
        let Value::Map(map) = value else {
            return Error::new(format!("no field `.{name}` in {}", value.to_text()));
        };
        match map.get(name) {
            Some(found) => value = found,
            None if is_root => {
                return Error::new(format!(
                    "no field `.{name}`: there are .Name, .ContainerName and .Labels"
                ));
            }
            None => return Ok(Value::Nil),
        }
        is_root = false;
    }
    Ok(value.clone())
}

fn items(value: Value) -> Result<Vec<(Value, Value)>, Error> {
    match value {
        Value::List(items) => Ok((0_i64..).map(Value::Int).zip(items).collect()),
        Value::Map(map) => Ok(map.into_iter().map(|(k, v)| (Value::Text(k), v)).collect()),
        Value::Nil => Ok(Vec::new()),
        Value::Bool(_) | Value::Int(_) | Value::Text(_) => {
            Error::new(format!("range can't iterate over {}", value.to_text()))
        }
    }
}

impl Value {
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Nil => "<no value>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::to_text).collect();
                format!("[{}]", items.join(" "))
            }
            Self::Map(map) => {
                let items: Vec<_> =
                    map.iter().map(|(key, value)| format!("{key}:{}", value.to_text())).collect();
                format!("map[{}]", items.join(" "))
            }
        }
    }
}

/// What was written so far, and the quote that is open in it.
#[derive(Default)]
struct Output {
    text: String,
    open: Option<char>,
}

impl Output {
    fn fixed(&mut self, text: &str) -> Result<(), Error> {
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (self.open, c) {
                (None, '`' | '"') => self.open = Some(c),
                (Some('"'), '\\') => drop(chars.next()),
                (Some(open), _) if open == c => self.open = None,
                _ => {}
            }
        }
        self.push(text)
    }

    /// A value must not end the literal that it is put in: container names and labels come
    /// from anybody.
    fn value(&mut self, text: &str) -> Result<(), Error> {
        let refused = match self.open {
            Some('`') => text.contains('`').then_some("a back-quote"),
            Some(_) => text.contains(['"', '\\']).then_some("a quote or backslash"),
            None => return self.fixed(text),
        };
        match refused {
            Some(what) => Error::new(format!(
                "the value {text:?} holds {what}, which would end the text that it is put in"
            )),
            None => self.push(text),
        }
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        if self.text.len() + text.len() > MAX_OUTPUT {
            return Error::new(format!("the rule is longer than {MAX_OUTPUT} bytes"));
        }
        self.text.push_str(text);
        Ok(())
    }
}
