//! Command line flags into a tree.

use super::Node;
use crate::problem::{Code, Origin, Problem};

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// Alone it means true; a value needs `=`.
    Switch,
    /// `--flag=value` or `--flag value`; the last one counts.
    Value,
    /// As `Value`, but each further one adds to the list.
    List,
}

/// Reads `--a.b=c`, `--a.b c` and `--a` (true), as Traefik does; one dash is as good as two.
/// Reading ends at the first argument that is no flag; the rest is given back.
pub fn flags<'a>(
    arguments: &'a [String],
    kind: impl Fn(&str) -> FlagKind,
    problems: &mut Vec<Problem>,
) -> (Node, &'a [String]) {
    let mut root = Node::new(Origin::Internal);
    let mut rest = arguments;
    while let [argument, tail @ ..] = rest {
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            break;
        };
        rest = tail;
        if flag.is_empty() {
            break;
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let kind = kind(name);
        let origin = Origin::Flag(format!("--{name}").into());
        let value = match (value, kind, rest) {
            (Some(value), _, _) => value,
            (None, FlagKind::Switch, _) => "true",
            (None, _, [next, tail @ ..]) if !next.starts_with("--") => {
                rest = tail;
                next
            }
            (None, _, _) => {
                problems.push(needs_value(&origin));
                continue;
            }
        };
        if let Err(problem) = put(&mut root, name, value, kind, origin) {
            problems.push(problem);
        }
    }
    (root, rest)
}

fn put(
    root: &mut Node,
    name: &str,
    value: &str,
    kind: FlagKind,
    origin: Origin,
) -> Result<(), Problem> {
    let path = name.replace('[', ".[");
    match root.get_mut(&path).map(|node| &mut node.value) {
        Some(Some(there)) if kind == FlagKind::List => {
            *there = format!("{there},{value}").into();
            Ok(())
        }
        Some(there @ Some(_)) => {
            *there = Some(value.into());
            Ok(())
        }
        Some(None) | None => root.insert(name, value, origin),
    }
}

impl Node {
    fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        path.split('.').try_fold(self, |node, key| node.children.get_mut(&super::Key(key.into())))
    }
}

fn needs_value(origin: &Origin) -> Problem {
    Problem::error(Code::BadValue, origin.clone(), "the flag needs a value")
        .mend(format!("write `{}=...`", super::insert::written(origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> FlagKind {
        match name {
            "api" | "api.insecure" => FlagKind::Switch,
            "list" => FlagKind::List,
            _ => FlagKind::Value,
        }
    }

    fn read(arguments: &[&str]) -> (Node, Vec<String>, Vec<Problem>) {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        let mut problems = Vec::new();
        let (node, rest) = flags(&arguments, kind, &mut problems);
        (node, rest.to_vec(), problems)
    }

    #[test]
    fn values_follow_an_equals_sign_or_a_blank_and_switches_stand_alone() {
        let (node, rest, problems) = read(&[
            "--api",
            "--api.insecure=false",
            "-log.level",
            "INFO",
            "--list=a",
            "--list=b",
            "x",
        ]);

        assert_eq!(problems, []);
        assert_eq!(rest, ["x"]);
        for (path, value) in
            [("api", "true"), ("api.insecure", "false"), ("log.level", "INFO"), ("list", "a,b")]
        {
            assert_eq!(node.get(path).unwrap().value.as_deref(), Some(value), "{path}");
        }
        assert_eq!(node.get("log.level").unwrap().origin, Origin::Flag("--log.level".into()));
    }

    #[test]
    fn a_flag_without_its_value_is_a_problem() {
        let (_, _, problems) = read(&["--log.level", "--api"]);

        assert_eq!(
            problems[0].to_string(),
            "flag --log.level: the flag needs a value; write `--log.level=...`"
        );
    }
}
