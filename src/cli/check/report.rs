//! What `wharf check` prints: a line per problem, or JSON.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::compose::Compose;
use crate::model::{Name, Provider};
use crate::problem::{Code, ContainerRef, Origin, Problem, Severity};
use crate::table::Table;

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    errors: usize,
    warnings: usize,
    /// What was looked at.
    routers: usize,
    services: usize,
    middlewares: usize,
    problems: Vec<Line>,
    /// What is no problem, and yet good to know.
    notes: Vec<Line>,
}

/// A problem as printed. Replicas of one service say the same thing once.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Line {
    /// What is left out comes first, then file by file.
    #[serde(skip)]
    order: (Reverse<Severity>, String, u32),
    severity: Severity,
    code: Code,
    origin: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: Box<str>,
    text: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<Box<str>>,
}

impl Report {
    pub(super) fn new(problems: Vec<Problem>, compose: Option<&Compose>) -> Self {
        let lines = lines(problems, compose);
        let count = |severity| lines.iter().filter(|line| line.severity == severity).count();
        Self {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            routers: 0,
            services: 0,
            middlewares: 0,
            problems: lines,
            notes: Vec::new(),
        }
    }

    /// Adds how much was looked at.
    pub(super) fn counting(self, table: &Table) -> Self {
        let count = |names: &mut dyn Iterator<Item = &Name>| {
            names.filter(|name| name.provider() != Provider::Internal).count()
        };
        Self {
            routers: count(&mut table.desired.routers.keys()),
            services: count(&mut table.desired.services.keys()),
            middlewares: count(&mut table.desired.middlewares.keys()),
            ..self
        }
    }

    /// Adds what is good to know.
    pub(super) fn noting(self, notes: Vec<Problem>, compose: Option<&Compose>) -> Self {
        Self { notes: lines(notes, compose), ..self }
    }

    /// Whether nothing would be left out.
    pub(super) fn is_sound(&self) -> bool {
        self.errors == 0
    }

    pub(super) fn text(&self, format: Format) -> String {
        if format == Format::Json {
            // Texts and numbers always print.
            return serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        }
        let mut text = String::new();
        let problems = self.problems.iter().map(|line| match line.severity {
            Severity::Error => ("error", line),
            Severity::Warning => ("warning", line),
        });
        for (word, line) in problems.chain(self.notes.iter().map(|line| ("note", line))) {
            let Line { origin, subject, text: words, mend, .. } = line;
            let _ = write!(text, "{word}: {origin}: ");
            if !subject.is_empty() {
                let _ = write!(text, "{subject}: ");
            }
            let _ = match mend {
                Some(mend) => writeln!(text, "{words}; {mend}"),
                None => writeln!(text, "{words}"),
            };
        }
        let plural = |count: usize, word: &str| {
            let ending = if count == 1 { "" } else { "s" };
            format!("{count} {word}{ending}")
        };
        let _ = writeln!(
            text,
            "{}, {} in {}, {}, {}",
            plural(self.errors, "error"),
            plural(self.warnings, "warning"),
            plural(self.routers, "router"),
            plural(self.services, "service"),
            plural(self.middlewares, "middleware"),
        );
        text
    }
}

/// Lines in order, each once.
fn lines(problems: Vec<Problem>, compose: Option<&Compose>) -> Vec<Line> {
    let line = |problem: Problem| {
        let place = place(&problem.origin, compose);
        let (file, number) = place.file.unwrap_or_default();
        Line {
            order: (Reverse(problem.severity), file, number),
            severity: problem.severity,
            code: problem.code,
            origin: place.text,
            subject: problem.subject,
            text: problem.text,
            mend: problem.mend,
        }
    };
    let lines: BTreeSet<Line> = problems.into_iter().map(line).collect();
    lines.into_iter().collect()
}

/// Where something stands.
struct Place {
    text: String,
    /// The file and the line.
    file: Option<(String, u32)>,
}

impl Place {
    fn new(origin: &Origin) -> Self {
        let file = match origin {
            Origin::File { path, line, .. } => Some((path.display().to_string(), *line)),
            Origin::Label { .. }
            | Origin::Container(_)
            | Origin::Flag(_)
            | Origin::Env(_)
            | Origin::Engine(_)
            | Origin::Internal => None,
        };
        Self { text: origin.to_string(), file }
    }
}

/// A label's place is in the Compose file, when it comes from there.
fn place(origin: &Origin, compose: Option<&Compose>) -> Place {
    let key = if let Origin::Label { key, .. } = origin { Some(&**key) } else { None };
    let service = origin.container().and_then(service);
    let Some((compose, service)) = compose.zip(service) else { return Place::new(origin) };
    let written = compose.place(service, key).map(|origin| Place::new(&origin));
    let what = match key {
        Some(key) => format!("service {service}, label {key}"),
        None => format!("service {service}"),
    };
    match written {
        Some(Place { text, file }) => Place { text: format!("{text}: {what}"), file },
        None => Place { text: what, file: None },
    }
}

/// The service of a container that only a Compose file knows.
fn service(container: &ContainerRef) -> Option<&str> {
    container.id.strip_prefix("service ")?.split(", replica ").next()
}
