//! What the decoder has found so far: problems, and the nodes that are set aside for them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de;

use super::Node;
use crate::problem::{Code, Problem};

/// Why a part did not decode.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is among the problems already.
    Reported,
    /// A required key is not there.
    Missing(&'static str),
    /// What is wrong, and what to do about it.
    Refused { text: String, mend: Option<String> },
}

impl Failure {
    pub(super) fn refused(text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Refused { text: text.into(), mend: Some(mend.into()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported => f.write_str("reported"),
            Self::Missing(key) => write!(f, "needs `{key}`"),
            Self::Refused { text, .. } => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    /// As a problem is printed: what is wrong, and behind a semicolon how to mend it.
    fn custom<T: fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        match text.rsplit_once("; ") {
            Some((text, mend)) => Self::refused(text, mend),
            None => Self::Refused { text, mend: None },
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// The keys from the decoded node down to a place.
#[derive(Clone, Copy)]
pub(super) enum Path<'p> {
    Root,
    Below(&'p Path<'p>, &'p str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Below(Self::Root, key) => f.write_str(key),
            Self::Below(parent, key) if key.starts_with('[') => write!(f, "{parent}{key}"),
            Self::Below(parent, key) => write!(f, "{parent}.{key}"),
        }
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) problems: RefCell<Vec<Problem>>,
    /// Nodes that are reported and no longer decoded. They outlive the state.
    aside: RefCell<HashSet<*const Node>>,
}

impl State {
    /// How many nodes are set aside.
    pub(super) fn count(&self) -> usize {
        self.aside.borrow().len()
    }

    pub(super) fn set_aside(&self, node: &Node) {
        self.aside.borrow_mut().insert(std::ptr::from_ref(node));
    }

    pub(super) fn is_aside(&self, node: &Node) -> bool {
        self.aside.borrow().contains(&std::ptr::from_ref(node))
    }

    pub(super) fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        // Each round meets the earlier rounds' warnings again.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    pub(super) fn report(&self, node: &Node, path: Path<'_>, failure: Failure) {
        let said = match failure {
            Failure::Reported => return,
            // What is missing may be what was set aside.
            Failure::Missing(_) if !self.aside.borrow().is_empty() => None,
            Failure::Missing(key) => {
                let text = format!("needs `{key}`, which is not set");
                Some((text, Some(format!("set `{key}`"))))
            }
            Failure::Refused { text, mend } => Some((text, mend)),
        };
        if let Some((text, mend)) = said {
            let text = match path {
                Path::Root => text,
                Path::Below(..) => format!("`{path}` {text}"),
            };
            let mut problem = Problem::error(Code::BadValue, node.origin.clone(), text);
            problem.mend = mend.map(Into::into);
            self.push(problem);
        }
        self.set_aside(node);
    }
}
