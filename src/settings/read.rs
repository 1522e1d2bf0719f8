//! Chooses the one source of the static configuration, as Traefik does: a file, else flags,
//! else the environment. Where Traefik is silent about the others, Wharf warns.

use std::path::{Path, PathBuf};

use super::known::{flag_kind, options, refuse, unknown};
use super::{Settings, check};
use crate::problem::{Code, Origin, Problem, Severity};
use crate::tree::known::Schema;
use crate::tree::{self, FlagKind, Node};

/// What the process was started with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Arguments without the program and the command.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub variables: Vec<(String, String)>,
    /// Where files are looked for: the folder, and the name without its ending.
    pub candidates: Vec<PathBuf>,
}

impl Start {
    /// These arguments, with the process's own environment and the usual places.
    pub fn with_arguments(arguments: &[String]) -> Self {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let candidates = candidates(&variables);
        Self { arguments: arguments.to_vec(), variables, candidates }
    }
}

/// The static configuration and what was noticed while it was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// It.
    pub settings: Settings,
    /// Where from: a file's path, `flags`, `environment variables` or `defaults`.
    pub source: String,
    /// The file, if it is from one.
    pub file: Option<PathBuf>,
    /// Warnings only.
    pub warnings: Vec<Problem>,
}

/// Parts flags with their values from other words, which may stand between them.
pub fn part(arguments: &[String]) -> (Vec<String>, Vec<String>) {
    let schema = Schema::new(options());
    let (mut flags, mut others) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let Some(flag) = argument.strip_prefix('-') else {
            others.push(argument.clone());
            continue;
        };
        flags.push(argument.clone());
        let name = flag.strip_prefix('-').unwrap_or(flag);
        let takes_next = !name.contains('=') && flag_kind(&schema, name) != FlagKind::Switch;
        flags.extend(rest.next_if(|next| takes_next && !next.starts_with("--")).cloned());
    }
    (flags, others)
}

/// Reads the static configuration; every mistake in it is in the error.
pub fn read(start: &Start) -> Result<Read, Vec<Problem>> {
    let schema = Schema::new(options());
    let mut problems = Vec::new();
    let (mut node, source, file) = choose(start, &schema, &mut problems);
    refuse(&schema, &mut node, &mut problems);
    let settings = tree::decode::<Settings>(&node, &mut problems);
    let settings = settings.map(|mut settings| {
        check::complete(&mut settings, &node, &mut problems);
        settings
    });
    let (errors, warnings): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    match settings {
        Some(settings) if errors.is_empty() => Ok(Read { settings, source, file, warnings }),
        Some(_) | None => Err(errors),
    }
}

fn choose(
    start: &Start,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) -> (Node, String, Option<PathBuf>) {
    let mut flag_problems = Vec::new();
    let (mut flags, rest) =
        tree::flags(&start.arguments, |name| flag_kind(schema, name), &mut flag_problems);
    if let [argument, ..] = rest {
        let origin = Origin::Flag(argument.as_str().into());
        let problem = Problem::error(Code::UnknownKey, origin, "is no flag");
        flag_problems.push(problem.mend("flags are written `--name=value`; see --help"));
    }
    let variables = start.variables.iter().map(|(name, value)| (&**name, &**value));
    let mut variable_problems = Vec::new();
    let mut variables =
        tree::environment(variables, &["TRAEFIK_", "WHARF_"], &mut variable_problems);
    ignore_foreign(&mut variables, schema, problems);

    let asked =
        flags.take("configFile").and_then(|node| node.value).map(|path| PathBuf::from(&*path));
    let found = match asked {
        Some(path) => Some(path),
        None => find(&start.candidates, problems),
    };
    if let Some(path) = found {
        warn_unused(&flags, &format!("the file {}", path.display()), problems);
        warn_unused(&variables, &format!("the file {}", path.display()), problems);
        let node = file(&path).unwrap_or_else(|problem| {
            problems.push(problem);
            Node::new(Origin::file(&path))
        });
        return (node, path.display().to_string(), Some(path));
    }
    if !flags.is_empty() || !flag_problems.is_empty() {
        problems.append(&mut flag_problems);
        warn_unused(&variables, "flags", problems);
        return (flags, "flags".to_owned(), None);
    }
    problems.append(&mut variable_problems);
    let source = if variables.is_empty() { "defaults" } else { "environment variables" };
    (variables, source.to_owned(), None)
}

/// As Traefik: a variable whose first word is no option is someone else's. Traefik says nothing.
fn ignore_foreign(variables: &mut Node, schema: &Schema, problems: &mut Vec<Problem>) {
    variables.children.retain(|key, node| {
        if schema.child(&key.0).is_some() {
            return true;
        }
        let Problem { origin, text, mend, .. } =
            unknown(schema, &key.0, &key.0, first_leaf(node).origin.clone());
        let problem = Problem::warning(Code::UnknownKey, origin, text);
        problems.push(problem.mend(mend.unwrap_or_default()));
        false
    });
}

fn first_leaf(node: &Node) -> &Node {
    node.children.values().next().map_or(node, first_leaf)
}

fn warn_unused(node: &Node, used: &str, problems: &mut Vec<Problem>) {
    if node.value.is_some() {
        let text = format!("is not used: the static configuration comes from {used}");
        let problem = Problem::warning(Code::Notice, node.origin.clone(), text);
        problems.push(problem.mend("one source is read: a file, else flags, else the environment"));
    }
    for child in node.children.values() {
        warn_unused(child, used, problems);
    }
}

fn candidates(variables: &[(String, String)]) -> Vec<PathBuf> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let folders = [
        Some(PathBuf::from("/etc/wharf")),
        Some(PathBuf::from("/etc/traefik")),
        variable("XDG_CONFIG_HOME"),
        variable("HOME").map(|home| home.join(".config")),
        Some(PathBuf::from(".")),
    ];
    let folders: Vec<PathBuf> = folders.into_iter().flatten().collect();
    let own = folders.iter().map(|folder| folder.join("wharf"));
    // /etc/wharf is no place of Traefik's.
    let traefik = folders.iter().skip(1).map(|folder| folder.join("traefik"));
    own.chain(traefik).collect()
}

/// The first file that is there; the others are warned about.
fn find(candidates: &[PathBuf], problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let files = candidates.iter().flat_map(|path| {
        ["toml", "yaml", "yml"].map(|ending| {
            let mut name = path.clone().into_os_string();
            name.push(".");
            name.push(ending);
            PathBuf::from(name)
        })
    });
    let mut found = files.filter(|path| path.is_file());
    let first = found.next()?;
    for other in found {
        let text = format!("is not used: {} comes first", first.display());
        let problem = Problem::warning(Code::Notice, Origin::file(other), text);
        problems.push(problem.mend("remove one of the two, or choose with --configFile"));
    }
    Some(first)
}

fn file(path: &Path) -> Result<Node, Problem> {
    // Where Traefik passes over a missing --configFile in silence and starts with defaults.
    let text = std::fs::read_to_string(path).map_err(|error| {
        let text = format!("can't be read: {error}");
        Problem::error(Code::File, Origin::file(path), text)
            .mend("check the path and that the file may be read by this user")
    })?;
    let node = tree::file::by_name(path, &text)?;
    if node.is_empty() {
        // As Traefik's words.
        let text = format!("no configuration found in file: {}", path.display());
        return Err(Problem::error(Code::File, Origin::file(path), text)
            .mend("write options into it, or remove it"));
    }
    Ok(node)
}
