//! What differs between two static configurations, option by option, and which of it can be
//! taken over by a running process.

use std::borrow::Cow;

use serde_json::Value;

use super::Settings;
use crate::problem::Origin;
use crate::tree::{self, Node};

/// What a changed option needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: a running process takes it over.
    Nothing,
    /// A new process.
    Upgrade,
}

impl Needs {
    /// As the documents print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Upgrade => "upgrade",
        }
    }
}

/// One option that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name: `entryPoints.web.address`.
    pub option: String,
    /// What it needs.
    pub needs: Needs,
    /// Its value before, for people; secrets are left out.
    pub before: String,
    /// Its value now.
    pub now: String,
}

/// Two configurations beside each other.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The wanted one, but for what needs an upgrade, which is as before.
    pub adopted: Settings,
    /// In the order of the options.
    pub differences: Vec<Difference>,
}

/// What the table says.
#[derive(Clone, Copy)]
enum Row {
    Always(Needs),
    /// Names entry points, their ports or resolvers: an upgrade where one of these waits for it,
    /// or requests would be sent to where nobody listens yet.
    WithNamed,
}

impl Row {
    fn needs(self, do_named_wait: bool) -> Needs {
        match self {
            Self::Always(needs) => needs,
            Self::WithNamed if do_named_wait => Needs::Upgrade,
            Self::WithNamed => Needs::Nothing,
        }
    }
}

/// The rows of the table: a path, and what everything below it needs unless a longer one says
/// otherwise.
fn rules() -> impl Iterator<Item = (&'static str, Row)> {
    include_str!("change.tsv").lines().skip(1).filter_map(|line| {
        let (path, rest) = line.split_once('\t')?;
        let row = match rest.split('\t').next()? {
            "hot" => Row::Always(Needs::Nothing),
            "with" => Row::WithNamed,
            _ => Row::Always(Needs::Upgrade),
        };
        Some((path, row))
    })
}

/// What a change of this option alone needs; `None` where the table has nothing to say of it.
pub fn needs(option: &str) -> Option<Needs> {
    let path: Vec<&str> = option.split('.').collect();
    row_of(&path).map(|row| row.needs(false))
}

fn row_of(path: &[impl AsRef<str>]) -> Option<Row> {
    let covers = |rule: &str| {
        let mut rest = path.iter();
        rule.split('.').all(|part| {
            let given = rest.next().map(AsRef::as_ref);
            given.is_some_and(|given| part.starts_with('<') || part.eq_ignore_ascii_case(given))
        })
    };
    let found = rules().filter(|(rule, _)| covers(rule));
    found.max_by_key(|(rule, _)| rule.split('.').count()).map(|(_, row)| row)
}

/// Whether entry points come, go or move, or resolvers come or go.
fn do_named_wait(running: &Settings, wanted: &Settings) -> bool {
    let points = |of: &Settings| -> Vec<(String, String)> {
        of.entry_points.iter().map(|(name, on)| (name.clone(), on.address.clone())).collect()
    };
    let resolvers =
        |of: &Settings| -> Vec<String> { of.certificates_resolvers.keys().cloned().collect() };
    points(running) != points(wanted) || resolvers(running) != resolvers(wanted)
}

/// Compares the configuration that is in force with one that is wanted.
///
/// # Errors
/// The wanted one can't be brought into one form with the other; a defect of ours.
pub fn compare(running: &Settings, wanted: &Settings) -> Result<Compared, serde_json::Error> {
    let before = serde_json::to_value(running)?;
    let mut now = serde_json::to_value(wanted)?;
    let do_named_wait = do_named_wait(running, wanted);
    let mut walk = Walk { path: Vec::new(), do_named_wait, differences: Vec::new() };
    walk.look(&before, &mut now);
    Ok(Compared { adopted: serde_json::from_value(now)?, differences: walk.differences })
}

struct Walk {
    path: Vec<String>,
    do_named_wait: bool,
    differences: Vec<Difference>,
}

impl Walk {
    /// Notes what differs here and below, and puts back what can't be taken over.
    fn look(&mut self, before: &Value, now: &mut Value) {
        if before == now {
            return;
        }
        let is_upgrade = self.needs() == Needs::Upgrade;
        match (before, &mut *now) {
            (Value::Object(_), Value::Object(_)) => self.below(before, now),
            // Switched on: what is below differs from what it is when nothing is said.
            (Value::Null, Value::Object(_)) if !is_upgrade => {
                self.note(before, now);
                if let Some(usual) = self.usual() {
                    self.below(&usual, now);
                }
            }
            _ => {
                self.note(before, now);
                if is_upgrade {
                    *now = before.clone();
                }
            }
        }
    }

    fn below(&mut self, before: &Value, now: &mut Value) {
        let (Value::Object(before), Value::Object(now)) = (before, now) else { return };
        let gone = before.keys().filter(|key| !now.contains_key(*key));
        let keys: Vec<String> = now.keys().chain(gone).cloned().collect();
        for key in keys {
            let mut value = now.get(&key).cloned().unwrap_or(Value::Null);
            self.path.push(key.clone());
            self.look(before.get(&key).unwrap_or(&Value::Null), &mut value);
            self.path.pop();
            if value.is_null() {
                now.remove(&key);
            } else {
                now.insert(key, value);
            }
        }
    }

    /// What stands here where only the section is switched on.
    fn usual(&self) -> Option<Value> {
        let mut node = Node::new(Origin::Internal);
        node.insert(&self.path.join("."), "true", Origin::Internal).ok()?;
        let settings = tree::decode::<Settings>(&node, &mut Vec::new())?;
        let mut value = serde_json::to_value(settings).ok()?;
        for key in &self.path {
            value = value.get_mut(key)?.take();
        }
        value.is_object().then_some(value)
    }

    fn needs(&self) -> Needs {
        row_of(&self.path).map_or(Needs::Upgrade, |row| row.needs(self.do_named_wait))
    }

    fn note(&mut self, before: &Value, now: &Value) {
        self.differences.push(Difference {
            option: self.path.join("."),
            needs: self.needs(),
            before: self.shown(before),
            now: self.shown(now),
        });
    }

    fn shown(&self, value: &Value) -> String {
        match value {
            Value::Null => "not set".to_owned(),
            Value::Object(_) => "set".to_owned(),
            _ if self.is_secret() => "(not shown)".to_owned(),
            Value::Array(items) if items.is_empty() => "none".to_owned(),
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
            Value::String(text) if text.is_empty() => "not set".to_owned(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => text(value).into_owned(),
        }
    }

    /// Passwords, keys, and fields that are sent to collectors.
    fn is_secret(&self) -> bool {
        let mut path = self.path.iter().rev().map(String::as_str);
        let (last, above) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        // The names of attributes are chosen by people.
        let last = last.to_ascii_lowercase();
        let is_one = |word: &str| last.contains(word);
        above == "headers" || ["password", "key", "hmac", "token", "secret"].into_iter().any(is_one)
    }
}

/// A value as people read it. A PEM text is no value to read, and an address may have a password
/// in it.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) if text.contains("-----BEGIN") || text.contains('\n') => {
            "(not shown)".into()
        }
        Value::String(text) => match text.split_once("://") {
            Some((_, rest)) if rest.contains('@') => "(not shown)".into(),
            _ => text.into(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string().into()
        }
    }
}

#[cfg(test)]
mod tests;
