//! Everything of one kind: who declares each name, who was first, and what came of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::container::{self, Options, Part, Parts};
use super::merge::{Member, Others};
use super::owner::{self, Age, Claim, Gone, Owner};
use super::spoiled::Spoiled;
use super::{Container, hand_over, merge};
use crate::model::{Items, Name, Sourced};
use crate::problem::Problem;

/// A container that is known.
pub(super) struct Entry {
    pub(super) container: Arc<Container>,
    pub(super) owner: Arc<Owner>,
    /// Set when it does not run.
    pub(super) gone: Option<Gone>,
    pub(super) parts: Parts,
}

pub(super) type Entries = HashMap<Arc<str>, Entry>;

/// Who declares a name.
#[derive(Default)]
struct Declared {
    ids: BTreeSet<Arc<str>>,
    /// In the order of their numbers.
    claims: Vec<Claim>,
}

/// Everything of one kind.
pub(super) struct Kind<P, T> {
    /// As people call it: `HTTP router`.
    what: &'static str,
    declared: BTreeMap<Name, Declared>,
    changed: BTreeSet<Name>,
    pub(super) items: Items<T>,
    pub(super) problems: BTreeMap<Name, Vec<Problem>>,
    /// The ids of those whose definition of a name is refused.
    pub(super) refused: BTreeMap<Name, Vec<Arc<str>>>,
    part: fn(&Parts) -> &[Part<P>],
    /// Whether two say the same, servers apart.
    same: fn(&P, &P) -> bool,
    others: Others,
}

impl<P, T: PartialEq> Kind<P, T> {
    pub(super) fn new(
        what: &'static str,
        part: fn(&Parts) -> &[Part<P>],
        same: fn(&P, &P) -> bool,
        others: Others,
    ) -> Self {
        Self {
            what,
            declared: BTreeMap::new(),
            changed: BTreeSet::new(),
            items: BTreeMap::new(),
            problems: BTreeMap::new(),
            refused: BTreeMap::new(),
            part,
            same,
            others,
        }
    }

    /// Forgets what a container says. Its claims go when the next state is settled, unless it
    /// or another of its owner's says it again by then.
    pub(super) fn forget(&mut self, id: &Arc<str>, parts: &Parts) {
        for part in (self.part)(parts) {
            if let Some(declared) = self.declared.get_mut(&part.name) {
                declared.ids.remove(id);
            }
            self.changed.insert(part.name.clone());
        }
    }

    pub(super) fn learn(&mut self, id: &Arc<str>, parts: &Parts) {
        for part in (self.part)(parts) {
            let declared = self.declared.entry(part.name.clone()).or_default();
            declared.ids.insert(Arc::clone(id));
            self.changed.insert(part.name.clone());
        }
    }

    /// Looks at these names again.
    pub(super) fn touch<'n>(&mut self, names: impl Iterator<Item = &'n Name>) {
        self.changed.extend(names.cloned());
    }

    /// Looks again at all that a container says.
    pub(super) fn touch_all(&mut self, parts: &Parts) {
        self.touch((self.part)(parts).iter().map(|part| &part.name));
    }

    /// Whether, of its owner's and of those that say the same, one container alone declares
    /// some of these parts.
    pub(super) fn is_last(&self, id: &str, entry: &Entry, entries: &Entries) -> bool {
        (self.part)(&entry.parts).iter().any(|part| {
            let ids = self.declared.get(&part.name).map(|declared| &declared.ids);
            let others = ids.into_iter().flatten().filter(|other| ***other != *id);
            !others.filter_map(|other| entries.get(other)).any(|other| {
                let says = |theirs: &Part<P>| {
                    theirs.name == part.name && (self.same)(&theirs.value, &part.value)
                };
                other.owner.is_kin(&entry.owner) || (self.part)(&other.parts).iter().any(says)
            })
        })
    }

    /// Names that were first said since the last call, each with who said it. The next deploy
    /// of one that is there has its number.
    pub(super) fn new_claims(&mut self, entries: &Entries) -> Vec<(Age, Name, Arc<Owner>)> {
        let mut found = Vec::new();
        for name in &self.changed {
            let Some(declared) = self.declared.get_mut(name) else { continue };
            let mut oldest: HashMap<&Arc<Owner>, Age, ahash::RandomState> = HashMap::default();
            for entry in declared.ids.iter().filter_map(|id| entries.get(id)) {
                let age = owner::age(&entry.container);
                let known = oldest.entry(&entry.owner).or_insert_with(|| age.clone());
                if age < *known {
                    *known = age;
                }
            }
            declared.claims.retain(|claim| oldest.contains_key(&claim.owner));
            for claim in &declared.claims {
                oldest.remove(&claim.owner);
            }
            for (owner, age) in oldest {
                let owner = Arc::clone(owner);
                let kin = declared.claims.iter().position(|claim| claim.owner.is_kin(&owner));
                let next = kin.and_then(|at| Some((at, declared.claims.get(at)?.order)));
                match next {
                    Some((at, order)) => declared.claims.insert(at + 1, Claim { owner, order }),
                    None => found.push((age, name.clone(), owner)),
                }
            }
        }
        found
    }

    /// Numbers a claim.
    pub(super) fn claim(&mut self, name: &Name, owner: Arc<Owner>, order: u64) {
        if let Some(declared) = self.declared.get_mut(name) {
            declared.claims.push(Claim { owner, order });
        }
    }

    /// Merges the names that changed. What comes out as before keeps its `Arc`.
    pub(super) fn settle(
        &mut self,
        entries: &Entries,
        options: &Options,
        spoiled: &HashMap<Arc<str>, Spoiled>,
        is_spoiled: fn(&Spoiled, &Name) -> bool,
        merge: impl Fn(&Name, &Member<'_, P>, &[Member<'_, P>]) -> (T, Option<Problem>),
    ) {
        for name in std::mem::take(&mut self.changed) {
            let mut problems = Vec::new();
            let mut refused = Vec::new();
            let mut item = None;
            if let Some(declared) = self.declared.get_mut(&name).filter(|d| !d.ids.is_empty()) {
                let members = declared.ids.iter().filter_map(|id| {
                    let entry = entries.get(id)?;
                    let is_spoiled = spoiled.get(id).is_some_and(|all| is_spoiled(all, &name));
                    member(self.part, options, entry, &name, is_spoiled)
                });
                let members: Vec<_> = members.collect();
                hand_over::hand_over(&mut declared.claims, &members);
                let verdict = merge::decide(
                    members,
                    &declared.claims,
                    options.manners,
                    self.others,
                    self.same,
                );
                if let Some(mut verdict) = verdict {
                    problems = merge::problems(self.what, &name, &verdict);
                    let ids = verdict.refused.iter().map(|one| &one.container.container.id);
                    refused = ids.cloned().collect();
                    verdict.members.retain(|one| !one.is_spoiled);
                    if let Some(winner) = verdict.winner.filter(|_| !verdict.members.is_empty()) {
                        let from = verdict.members.iter().map(|one| one.origin.clone()).collect();
                        let (value, problem) = merge(&name, &winner, &verdict.members);
                        problems.extend(problem);
                        let holder = Some(Arc::new(verdict.holder));
                        item = Some(Sourced { value, from, holder });
                    }
                }
            } else {
                self.declared.remove(&name);
            }
            put(&mut self.problems, &name, problems);
            put(&mut self.refused, &name, refused);
            match item {
                Some(item) if self.items.get(&name).is_some_and(|known| **known == item) => {}
                Some(item) => drop(self.items.insert(name, Arc::new(item))),
                None => drop(self.items.remove(&name)),
            }
        }
    }
}

fn member<'e, P>(
    part: fn(&Parts) -> &[Part<P>],
    options: &Options,
    entry: &'e Entry,
    name: &Name,
    is_spoiled: bool,
) -> Option<Member<'e, P>> {
    let Entry { container, owner, gone, parts } = entry;
    if !container::is_eligible(options, container, parts) {
        return None;
    }
    let part = part(parts).iter().find(|part| part.name == *name)?;
    let (value, origin) = (&part.value, &part.origin);
    Some(Member { container, owner, gone: *gone, is_spoiled, value, origin })
}

fn put<V>(map: &mut BTreeMap<Name, Vec<V>>, name: &Name, values: Vec<V>) {
    if values.is_empty() {
        map.remove(name);
    } else {
        map.insert(name.clone(), values);
    }
}
