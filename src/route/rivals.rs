//! Who takes requests of whom: routers that stand before an older one of somebody else's for a
//! host that it names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cover::Form;
use super::normal_form::{HostKey, Place};
use super::trie::Span;
use super::{EntryTable, Half, Route};

/// Pairs that are looked at in one table, and those whose rules are compared: what is behind that
/// is not told.
const MOST: usize = 1_000_000;
const MOST_RULES: usize = 10_000;

/// A router that takes requests of another.
pub struct Taken<'t> {
    /// It came later and is tried first.
    pub by: &'t Arc<Route>,
    /// It names the host.
    pub from: &'t Arc<Route>,
    /// It never answers any more.
    pub all: bool,
}

impl EntryTable {
    /// The routers that take requests of others, one line each.
    pub fn taken(&self) -> Vec<Taken<'_>> {
        [&self.plain, &self.tls].into_iter().flat_map(taken).collect()
    }
}

/// A router's place in the order, and one of its places in the index.
type At<'t> = (usize, &'t Place);

/// The places for one host, in the routers' order.
#[derive(Default)]
struct Places<'t> {
    all: Vec<At<'t>>,
    parties: Parties<'t>,
}

/// Whose routers these are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Parties<'t> {
    #[default]
    Nobody,
    One(Option<&'t str>),
    Several,
}

impl Parties<'_> {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nobody, one) | (one, Self::Nobody) => one,
            (one, other) if one == other => one,
            _ => Self::Several,
        }
    }
}

impl<'t> Places<'t> {
    fn add(&mut self, number: usize, place: &'t Place, party: Option<&'t str>) {
        self.all.push((number, place));
        self.parties = self.parties.and(Parties::One(party));
    }
}

fn taken(half: &Half) -> Vec<Taken<'_>> {
    let mut parties = half.routes.iter().map(|route| party(route));
    let first = parties.next();
    if parties.all(|party| Some(party) == first) {
        return Vec::new();
    }
    let mut by_host: HashMap<&HostKey, Places<'_>, ahash::RandomState> = HashMap::default();
    for (number, route) in half.routes.iter().enumerate() {
        for place in route.program.places() {
            by_host.entry(&place.host).or_default().add(number, place, party(route));
        }
    }
    let mut search =
        Search { half, found: Vec::new(), told: HashSet::default(), left: MOST, rules: MOST_RULES };
    let nobody = Places::default();
    let at = |host: &HostKey| by_host.get(host).unwrap_or(&nobody);
    let any = at(&HostKey::Any);
    let mut hosts: Vec<_> = by_host.keys().filter(|host| ***host != HostKey::Any).collect();
    hosts.sort_unstable();
    for host in hosts {
        if search.is_over() {
            break;
        }
        let owners = at(host);
        search.look(owners, owners);
        if let HostKey::Exact(name) = host
            && let Some((_, suffix)) = name.split_once('.')
        {
            search.look(at(&HostKey::Wildcard(suffix.into())), owners);
        }
        search.look(any, owners);
    }
    search.found
}

fn party(route: &Route) -> Option<&str> {
    route.holder.as_ref().map(|holder| &*holder.party)
}

struct Search<'t> {
    half: &'t Half,
    found: Vec<Taken<'t>>,
    /// Those of which it is known.
    told: HashSet<usize, ahash::RandomState>,
    left: usize,
    rules: usize,
}

impl Search<'_> {
    /// Whether it has looked at as much as it may.
    fn is_over(&self) -> bool {
        self.left == 0 || self.rules == 0
    }

    /// Looks for takers among those that stand before owners. Each step counts.
    fn look(&mut self, takers: &Places<'_>, owners: &Places<'_>) {
        if takers.parties.and(owners.parties) != Parties::Several {
            return;
        }
        for (taker, its) in &takers.all {
            if self.is_over() {
                return;
            }
            self.left -= 1;
            let behind = owners.all.partition_point(|(owner, _)| owner <= taker);
            for (owner, theirs) in owners.all.iter().skip(behind) {
                if self.told.contains(taker) {
                    break;
                }
                if self.is_over() {
                    return;
                }
                self.left -= 1;
                if is_met(its, theirs) {
                    self.compare(*taker, *owner);
                }
            }
        }
    }

    fn compare(&mut self, taker: usize, owner: usize) {
        let (Some(by), Some(from)) = (self.half.routes.get(taker), self.half.routes.get(owner))
        else {
            return;
        };
        if !came_later(by, from) || Arc::ptr_eq(&by.service, &from.service) {
            return;
        }
        self.rules -= 1;
        let (first, second) = (Form::new(&by.program), Form::new(&from.program));
        if first.meets(&second) {
            self.told.insert(taker);
            self.found.push(Taken { by, from, all: first.covers(&second) });
        }
    }
}

/// Whether one belongs to somebody else than the other, and came after it. What no container
/// says was there before all containers.
fn came_later(by: &Route, from: &Route) -> bool {
    match (&by.holder, &from.holder) {
        (None, _) => false,
        (Some(_), None) => from.precedence > 0,
        (Some(by), Some(from)) => by.party != from.party && by.order > from.order && !from.rests,
    }
}

/// Whether a path may be in both places.
fn is_met(one: &Place, other: &Place) -> bool {
    match (one.span, other.span) {
        (Span::Exact, Span::Exact) => one.path == other.path,
        (Span::Exact, Span::Below) => one.path.starts_with(&*other.path),
        (Span::Below, Span::Exact) => other.path.starts_with(&*one.path),
        (Span::Below, Span::Below) => {
            one.path.starts_with(&*other.path) || other.path.starts_with(&*one.path)
        }
    }
}
