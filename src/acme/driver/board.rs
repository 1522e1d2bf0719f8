//! What is shown of a resolver.

use std::collections::BTreeMap;

use super::{Driver, Source, Wanted};
use crate::acme::plan::{self, Held, key};
use crate::acme::status::{Entry, State};

impl<S: Source + 'static> Driver<S> {
    /// Puts up how it stands.
    pub(super) fn show(&self, wanted: &[Wanted], held: &[Held], running: &[Vec<String>]) {
        let name = &self.resolver.name;
        let mut entries: BTreeMap<Vec<String>, Entry> = BTreeMap::new();
        for one in held {
            let entry = entries.entry(key(&one.names)).or_default();
            entry.names.clone_from(&one.names);
            entry.state = State::Unused;
            entry.issuer.clone_from(&one.issuer);
            entry.not_before = Some(one.not_before);
            entry.not_after = Some(one.not_after);
            entry.renewal = Some(one.due);
        }
        let others = self.others(held);
        for set in wanted {
            let is_covered = |entry: &Entry| {
                set.names.iter().all(|n| entry.names.iter().any(|have| plan::covers(have, n)))
            };
            let routers = set.routers.iter().map(ToString::to_string);
            let found = entries.values_mut().find(|entry| is_covered(entry));
            if let Some(entry) = found {
                entry.state = State::Valid;
                entry.is_default |= set.is_default;
                entry.routers.extend(routers);
                continue;
            }
            // Nothing is waited for where a certificate from elsewhere is served.
            if set.names.iter().all(|n| others.iter().any(|have| plan::covers(have, n))) {
                continue;
            }
            let entry = entries.entry(key(&set.names)).or_default();
            entry.names.clone_from(&set.names);
            entry.is_default |= set.is_default;
            entry.routers.extend(routers);
        }
        for names in running {
            let entry = entries.entry(key(names)).or_default();
            entry.names.clone_from(names);
            entry.state = State::Ordering;
        }
        for (names, words) in &*self.words.borrow() {
            let Some(entry) = entries.get_mut(names) else { continue };
            if entry.state != State::Ordering && entry.not_after.is_none() {
                entry.state = State::Failed;
            }
            entry.error = Some(words.error.clone());
            entry.mend = Some(words.mend.clone());
            entry.next_try = self.tried.borrow().get(names).map(|tried| tried.until);
        }
        let entries = entries.into_values().collect();
        if self.shared.board.write(name, |resolver| resolver.entries = entries) {
            self.source.touch();
        }
    }
}
