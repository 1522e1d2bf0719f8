//! The functions of templates: Go's own and those of Sprig that names and rules need.

use std::fmt::Write;

use super::{Error, Value};
use crate::labels::name::normalize;

/// A function by name: how many arguments it takes (the least, the most), and what it does.
type Row = (&'static str, usize, usize, fn(&[Value]) -> Result<Value, Error>);

const ANY: usize = usize::MAX;

const TABLE: &[Row] = &[
    ("and", 1, ANY, |a| Ok(first_where(a, |v| !v.is_true()))),
    ("or", 1, ANY, |a| Ok(first_where(a, Value::is_true))),
    ("not", 1, 1, |a| Ok(Value::Bool(!at(a, 0).is_true()))),
    ("eq", 2, ANY, |a| Ok(Value::Bool(a.iter().skip(1).any(|v| v == at(a, 0))))),
    ("ne", 2, 2, |a| Ok(Value::Bool(at(a, 0) != at(a, 1)))),
    ("lt", 2, 2, |a| compare(a, std::cmp::Ordering::is_lt)),
    ("le", 2, 2, |a| compare(a, std::cmp::Ordering::is_le)),
    ("gt", 2, 2, |a| compare(a, std::cmp::Ordering::is_gt)),
    ("ge", 2, 2, |a| compare(a, std::cmp::Ordering::is_ge)),
    ("len", 1, 1, |a| length(at(a, 0))),
    ("index", 2, ANY, index),
    ("print", 0, ANY, |a| Ok(join(a, ""))),
    ("printf", 1, ANY, printf),
    ("normalize", 1, 1, |a| Ok(text(a, |s| normalize(&s)))),
    ("lower", 1, 1, |a| Ok(text(a, |s| s.to_lowercase()))),
    ("upper", 1, 1, |a| Ok(text(a, |s| s.to_uppercase()))),
    ("title", 1, 1, |a| Ok(text(a, |s| title(&s)))),
    ("trim", 1, 1, |a| Ok(text(a, |s| s.trim().to_owned()))),
    ("nospace", 1, 1, |a| Ok(text(a, |s| s.split_whitespace().collect()))),
    ("quote", 0, ANY, |a| Ok(join_with(a, |s| format!("{s:?}")))),
    ("squote", 0, ANY, |a| Ok(join_with(a, |s| format!("'{s}'")))),
    ("toString", 1, 1, |a| Ok(text(a, |s| s))),
    ("trimPrefix", 2, 2, |a| Ok(two(a, |p, s| s.strip_prefix(p).unwrap_or(s).to_owned()))),
    ("trimSuffix", 2, 2, |a| Ok(two(a, |p, s| s.strip_suffix(p).unwrap_or(s).to_owned()))),
    ("trimAll", 2, 2, |a| Ok(two(a, |set, s| s.trim_matches(|c| set.contains(c)).to_owned()))),
    ("hasPrefix", 2, 2, |a| Ok(test(a, |p, s| s.starts_with(p)))),
    ("hasSuffix", 2, 2, |a| Ok(test(a, |p, s| s.ends_with(p)))),
    ("contains", 2, 2, |a| Ok(test(a, |p, s| s.contains(p)))),
    ("replace", 3, 3, |a| {
        let (from, to) = (string(at(a, 0)), string(at(a, 1)));
        Ok(Value::Text(string(at(a, 2)).replace(&from, &to)))
    }),
    ("repeat", 2, 2, |a| {
        let count = usize::try_from(int(at(a, 0))?).unwrap_or(0).min(1024);
        Ok(Value::Text(string(at(a, 1)).repeat(count)))
    }),
    ("substr", 3, 3, |a| {
        let from = usize::try_from(int(at(a, 0))?).unwrap_or(0);
        let to = usize::try_from(int(at(a, 1))?).unwrap_or(usize::MAX);
        let cut = string(at(a, 2)).chars().take(to).skip(from).collect();
        Ok(Value::Text(cut))
    }),
    ("trunc", 2, 2, |a| {
        let (count, whole) = (int(at(a, 0))?, string(at(a, 1)));
        let most = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let skip = if count < 0 { whole.chars().count().saturating_sub(most) } else { 0 };
        Ok(Value::Text(whole.chars().skip(skip).take(most).collect()))
    }),
    ("default", 2, 2, |a| Ok(at(a, usize::from(at(a, 1).is_true())).clone())),
    ("coalesce", 1, ANY, |a| Ok(first_where(a, Value::is_true))),
    ("empty", 1, 1, |a| Ok(Value::Bool(!at(a, 0).is_true()))),
    ("ternary", 3, 3, |a| Ok(at(a, usize::from(!at(a, 2).is_true())).clone())),
    ("splitList", 2, 2, |a| {
        let (separator, whole) = (string(at(a, 0)), string(at(a, 1)));
        Ok(Value::List(whole.split(&separator).map(|s| Value::Text(s.to_owned())).collect()))
    }),
    ("join", 2, 2, |a| Ok(join(&list(at(a, 1)), &string(at(a, 0))))),
    ("list", 0, ANY, |a| Ok(Value::List(a.to_vec()))),
    ("first", 1, 1, |a| Ok(list(at(a, 0)).into_iter().next().unwrap_or(Value::Nil))),
    ("last", 1, 1, |a| Ok(list(at(a, 0)).pop().unwrap_or(Value::Nil))),
    ("rest", 1, 1, |a| Ok(Value::List(list(at(a, 0)).into_iter().skip(1).collect()))),
    ("initial", 1, 1, |a| {
        let mut items = list(at(a, 0));
        items.pop();
        Ok(Value::List(items))
    }),
    ("has", 2, 2, |a| Ok(Value::Bool(list(at(a, 1)).contains(at(a, 0))))),
    ("get", 2, 2, |a| index(a).map(|value| if value == Value::Nil { empty() } else { value })),
    ("hasKey", 2, 2, |a| {
        let Value::Map(map) = at(a, 0) else {
            return Error::new(format!("hasKey needs a map, not {}", at(a, 0).to_text()));
        };
        Ok(Value::Bool(map.contains_key(&string(at(a, 1)))))
    }),
    ("regexMatch", 2, 2, |a| Ok(Value::Bool(regex(at(a, 0))?.is_match(&string(at(a, 1)))))),
    ("regexFind", 2, 2, |a| {
        let whole = string(at(a, 1));
        let found = regex(at(a, 0))?.find(&whole).map_or("", |found| found.as_str()).to_owned();
        Ok(Value::Text(found))
    }),
    ("regexReplaceAll", 3, 3, |a| {
        let (whole, with) = (string(at(a, 1)), string(at(a, 2)));
        Ok(Value::Text(regex(at(a, 0))?.replace_all(&whole, with.as_str()).into_owned()))
    }),
    ("int", 1, 1, |a| int(at(a, 0)).map(Value::Int)),
    ("add", 1, ANY, |a| {
        a.iter().try_fold(0, |sum: i64, v| Ok(sum.wrapping_add(int(v)?))).map(Value::Int)
    }),
    ("sub", 2, 2, |a| Ok(Value::Int(int(at(a, 0))?.wrapping_sub(int(at(a, 1))?)))),
    ("env", 1, 1, |a| Ok(Value::Text(std::env::var(string(at(a, 0))).unwrap_or_default()))),
];

/// Whether there is a function of that name.
pub(super) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// All functions' names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.0)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let Some((_, least, most, run)) = TABLE.iter().find(|row| row.0 == name) else {
        return Error::new(format!("function {name:?} is not defined"));
    };
    if arguments.len() < *least || arguments.len() > *most {
        let given = arguments.len();
        let least_text = if least == most { String::new() } else { "at least ".to_owned() };
        return Error::new(format!("{name} takes {least_text}{least} arguments, not {given}"));
    }
    run(arguments)
}

/// The arguments' number was checked by [`call`].
fn at(arguments: &[Value], index: usize) -> &Value {
    arguments.get(index).unwrap_or(&Value::Nil)
}

fn empty() -> Value {
    Value::Text(String::new())
}

fn string(value: &Value) -> String {
    if *value == Value::Nil { String::new() } else { value.to_text() }
}

fn int(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(*number),
        // As Sprig: what is no number counts as 0.
        Value::Text(text) => Ok(text.trim().parse().unwrap_or(0)),
        Value::Bool(value) => Ok(i64::from(*value)),
        Value::Nil => Ok(0),
        Value::List(_) | Value::Map(_) => Error::new(format!("{} is no number", value.to_text())),
    }
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::List(items) => items.clone(),
        Value::Nil => Vec::new(),
        Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::Map(_) => vec![value.clone()],
    }
}

fn text(arguments: &[Value], change: impl Fn(String) -> String) -> Value {
    Value::Text(change(string(at(arguments, 0))))
}

fn two(arguments: &[Value], change: impl Fn(&str, &str) -> String) -> Value {
    Value::Text(change(&string(at(arguments, 0)), &string(at(arguments, 1))))
}

fn test(arguments: &[Value], holds: impl Fn(&str, &str) -> bool) -> Value {
    Value::Bool(holds(&string(at(arguments, 0)), &string(at(arguments, 1))))
}

/// The first argument of which `test` holds, else the last.
fn first_where(arguments: &[Value], test: impl Fn(&Value) -> bool) -> Value {
    let found = arguments.iter().find(|value| test(value));
    found.or(arguments.last()).cloned().unwrap_or(Value::Nil)
}

fn join(values: &[Value], separator: &str) -> Value {
    let texts: Vec<_> = values.iter().map(string).collect();
    Value::Text(texts.join(separator))
}

fn join_with(values: &[Value], change: impl Fn(&str) -> String) -> Value {
    let texts: Vec<_> = values.iter().map(|value| change(&string(value))).collect();
    Value::Text(texts.join(" "))
}

fn title(text: &str) -> String {
    let mut out = String::new();
    let mut at_start = true;
    for c in text.chars() {
        if at_start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        at_start = c.is_whitespace();
    }
    out
}

fn compare(arguments: &[Value], holds: fn(std::cmp::Ordering) -> bool) -> Result<Value, Error> {
    let order = match (at(arguments, 0), at(arguments, 1)) {
        (Value::Int(one), Value::Int(two)) => one.cmp(two),
        (Value::Text(one), Value::Text(two)) => one.cmp(two),
        _ => return Error::new("incompatible types for comparison"),
    };
    Ok(Value::Bool(holds(order)))
}

fn length(value: &Value) -> Result<Value, Error> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::Nil | Value::Bool(_) | Value::Int(_) => {
            return Error::new(format!("len of {}", value.to_text()));
        }
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(arguments: &[Value]) -> Result<Value, Error> {
    let mut value = at(arguments, 0).clone();
    for key in arguments.iter().skip(1) {
        let found = match &value {
            // As Go: what a map of texts does not have is empty.
            Value::Map(map) => map.get(&string(key)).cloned().unwrap_or_else(empty),
            Value::List(items) => {
                let at = usize::try_from(int(key)?).ok();
                let Some(item) = at.and_then(|at| items.get(at)) else {
                    return Error::new(format!("index out of range: {}", key.to_text()));
                };
                item.clone()
            }
            Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Text(_) => {
                return Error::new(format!("can't index {}", value.to_text()));
            }
        };
        value = found;
    }
    Ok(value)
}

/// `%s`, `%d`, `%v`, `%q`, `%t` and `%%`.
fn printf(arguments: &[Value]) -> Result<Value, Error> {
    let format = string(at(arguments, 0));
    let mut rest = arguments.iter().skip(1);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let verb = chars.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let Some(value) = rest.next() else {
            return Error::new(format!("printf: too few arguments for {format:?}"));
        };
        match verb {
            Some('s' | 'd' | 'v' | 't') => out.push_str(&value.to_text()),
            Some('q') => drop(write!(out, "{:?}", value.to_text())),
            other => {
                let verb = other.map(String::from).unwrap_or_default();
                return Error::new(format!("printf: the verb %{verb} is not built"));
            }
        }
    }
    Ok(Value::Text(out))
}

fn regex(source: &Value) -> Result<regex::Regex, Error> {
    crate::rule::regexp::compile(&string(source)).map_err(Error)
}
