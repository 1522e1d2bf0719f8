//! A rule's places in the index: its disjunctive form, reduced to one host and one path
//! per branch.

use std::collections::{BTreeSet, HashSet};

use ahash::RandomState;

use super::program::{HostTest, Test};
use super::trie::Span;
use crate::rule::Tree;

/// More branches than this are not worth indexing: of alternatives, as long as a rule may be,
/// and of what comes of alternatives that must hold together.
const MOST: usize = 2048;
const MOST_JOINED: usize = 64;

/// What a place asks of the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum HostKey {
    Any,
    Exact(Box<str>),
    /// What follows the first label.
    Wildcard(Box<str>),
}

/// Where a router stands in the index. It can match nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) host: HostKey,
    pub(super) path: Box<str>,
    pub(super) span: Span,
}

impl Place {
    fn everywhere() -> Self {
        Self { host: HostKey::Any, path: Box::default(), span: Span::Below }
    }
}

/// The places of a rule; one that can't be indexed stands at the top of everything.
pub(super) fn places(tree: &Tree<Test>) -> Box<[Place]> {
    let mut places: Vec<Place> = Vec::new();
    let mut seen = HashSet::new();
    let Some(branches) = branches(tree, false) else {
        return Box::new([Place::everywhere()]);
    };
    for branch in branches {
        let place = place(&branch);
        if seen.insert(place.clone()) {
            places.push(place);
        }
    }
    places.into_boxed_slice()
}

/// Branches as lists of matchers that all must hold; negated ones are left out, since they
/// narrow nothing. `None` when there are too many.
fn branches(tree: &Tree<Test>, negated: bool) -> Option<Vec<Vec<&Test>>> {
    match tree {
        Tree::Match(_) if negated => Some(vec![Vec::new()]),
        Tree::Match(test) => Some(vec![vec![test]]),
        Tree::Not(inner) => branches(inner, !negated),
        // Not all of them is any of them not.
        Tree::And(parts) if negated => any(parts, negated),
        Tree::And(parts) => all(parts, negated),
        Tree::Or(parts) if negated => all(parts, negated),
        Tree::Or(parts) => any(parts, negated),
    }
}

fn any(parts: &[Tree<Test>], negated: bool) -> Option<Vec<Vec<&Test>>> {
    let mut out = Vec::new();
    for part in parts {
        out.extend(branches(part, negated)?);
        if out.len() > MOST {
            return None;
        }
    }
    Some(out)
}

fn all(parts: &[Tree<Test>], negated: bool) -> Option<Vec<Vec<&Test>>> {
    let mut out: Vec<Vec<&Test>> = vec![Vec::new()];
    for part in parts {
        let more = branches(part, negated)?;
        if out.len() * more.len() > MOST_JOINED {
            return None;
        }
        out = out
            .iter()
            .flat_map(|left| more.iter().map(move |right| [left.as_slice(), right].concat()))
            .collect();
    }
    Some(out)
}

/// A number of what a rule says, whatever the order of its parts and however often each is said.
pub(super) fn number(tree: &Tree<Test>) -> u64 {
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    match tree {
        Tree::Match(test) => hasher.hash_one(format!("{test:?}")),
        Tree::Not(inner) => hasher.hash_one(("not", number(inner))),
        Tree::And(parts) => numbers(&hasher, "and", parts),
        Tree::Or(parts) => numbers(&hasher, "or", parts),
    }
}

fn numbers(hasher: &RandomState, how: &str, parts: &[Tree<Test>]) -> u64 {
    let parts: BTreeSet<u64> = parts.iter().map(number).collect();
    match parts.first() {
        Some(only) if parts.len() == 1 => *only,
        _ => hasher.hash_one((how, parts)),
    }
}

fn place(branch: &[&Test]) -> Place {
    let mut place = Place::everywhere();
    for test in branch {
        match test {
            Test::Host(HostTest::Exact(host)) => place.host = HostKey::Exact(host.clone()),
            Test::Host(HostTest::Wildcard(suffix)) if place.host == HostKey::Any => {
                place.host = HostKey::Wildcard(suffix.clone());
            }
            Test::Path(path) => {
                place.path.clone_from(path);
                place.span = Span::Exact;
            }
            // The longest prefix narrows most; a whole path more than any.
            Test::PathPrefix(path) | Test::PathPattern(path, _)
                if place.span == Span::Below && path.len() > place.path.len() =>
            {
                place.path.clone_from(path);
            }
            Test::Host(_)
            | Test::HostRegexp(_)
            | Test::HostPattern(_)
            | Test::PathPrefix(_)
            | Test::PathPattern(..)
            | Test::PathRegexp(_)
            | Test::Method(_)
            | Test::Header(..)
            | Test::HeaderRegexp(..)
            | Test::Query(..)
            | Test::QueryRegexp(..)
            | Test::FirstQuery(..)
            | Test::ClientIp(_)
            | Test::Never => {}
        }
    }
    place
}
