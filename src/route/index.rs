//! From a request's host and path to the few routers that may match, in their order.

use std::collections::HashMap;

use super::normal_form::{HostKey, Place};
use super::trie::{Forest, Hit};

/// Narrows; the expressions decide.
#[derive(Debug, Default)]
pub(super) struct Index {
    forest: Forest,
    /// Roots by whole host.
    hosts: Roots,
    /// Roots by what follows the first label: `*.example.org` is under `example.org`.
    wildcards: Roots,
    /// The root for rules that no host narrows.
    anywhere: Option<usize>,
}

type Roots = HashMap<Box<str>, usize, ahash::RandomState>;

impl Index {
    /// Indexes routers in rank order, each by its places.
    pub(super) fn build<'a>(routers: impl Iterator<Item = &'a [Place]>) -> Self {
        let mut hosts: HashMap<&HostKey, Vec<_>, ahash::RandomState> = HashMap::default();
        for (rank, places) in (0u32..).zip(routers) {
            for place in places {
                let entry = (place.path.as_bytes(), place.span, rank);
                hosts.entry(&place.host).or_default().push(entry);
            }
        }
        let mut index = Self::default();
        for (host, places) in hosts {
            let root = index.forest.add(places);
            match host {
                HostKey::Any => index.anywhere = Some(root),
                HostKey::Exact(name) => drop(index.hosts.insert(name.clone(), root)),
                HostKey::Wildcard(suffix) => drop(index.wildcards.insert(suffix.clone(), root)),
            }
        }
        index
    }

    /// The same for a host and what it is an alias of: either may be what narrows the winner.
    pub(super) fn first_of_both(
        &self,
        host: &str,
        alias: Option<&str>,
        path: &str,
        accepts: &mut impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let found = self.first(host, path, accepts);
        let Some(alias) = alias else { return found };
        found.into_iter().chain(self.first(alias, path, accepts)).min()
    }

    /// The first router in rank order that `accepts`, among those that may match.
    pub(super) fn first(
        &self,
        host: &str,
        path: &str,
        accepts: &mut impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let walk = |root: Option<&usize>| {
            root.map_or_else(Hit::default, |root| self.forest.walk(*root, path.as_bytes()))
        };
        let wildcard = if self.wildcards.is_empty() {
            None
        } else {
            host.split_once('.').and_then(|(_, suffix)| self.wildcards.get(suffix))
        };
        let hits = [walk(self.hosts.get(host)), walk(wildcard), walk(self.anywhere.as_ref())];
        let mut from = 0;
        loop {
            let rank = hits.iter().filter_map(|hit| self.forest.next(*hit, from)).min()?;
            let number = usize::try_from(rank).ok()?;
            if accepts(number) {
                return Some(number);
            }
            from = rank.checked_add(1)?;
        }
    }
}
