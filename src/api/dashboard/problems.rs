//! What a person should mend, in plain words.

use askama::Template;

use super::Visit;
use super::controls::{self, Controls};
use super::frame::Frame;
use super::parts::Trouble;
use crate::api::list::{Key, Row, holds};
use crate::problem::{Problem, Severity};

/// The list of problems.
#[derive(Template)]
#[template(path = "problems.html")]
pub(super) struct Problems {
    frame: Frame,
    controls: Controls,
    rows: Vec<Trouble>,
}

pub(super) fn page(visit: &Visit<'_>) -> Problems {
    let mut all: Vec<&Problem> = visit.problems().collect();
    all.sort_by_key(|problem| problem.severity != Severity::Error);
    let (controls, rows) = controls::list(visit, 50, || all.iter().map(|problem| Listed(problem)));
    Problems {
        frame: visit.frame("problems", "Problems"),
        controls,
        rows: rows.into_iter().map(|row| Trouble::from(row.0)).collect(),
    }
}

struct Listed<'p>(&'p Problem);

impl Row for Listed<'_> {
    fn name(&self) -> &str {
        &self.0.subject
    }

    fn status(&self) -> &str {
        match self.0.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }

    fn contains(&self, search: &str) -> bool {
        holds(&self.0.to_string(), search) || holds(self.0.code.as_str(), search)
    }

    fn column(&self, _name: &str) -> Option<Key> {
        None
    }
}
