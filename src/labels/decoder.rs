//! All containers together. Only what changed is read again: a start among ten thousand
//! containers costs that one container's labels and the names in them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Container;
use super::container::{self, Options};
use super::generation;
use super::kind::{Entries, Entry, Kind};
use super::merge::Others::{Leave, Stay};
use super::merge::{self, Member};
use super::owner::{Gone, Owner};
use super::service::Pool;
use super::spoiled::Spoiled;
use crate::middleware::Spec;
use crate::model::{Desired, Name, ReplicaState, Router, Service, ServiceKind, Store, Tls};
use crate::problem::Problem;
use crate::settings;

/// All containers' labels to desired state: decodes each, merges replicas, reports conflicts.
pub struct Decoder {
    options: Options,
    entries: Entries,
    /// Who has joined whose network.
    joined: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    routers: Kind<Router, Router>,
    middlewares: Kind<Spec, Spec>,
    services: Kind<Pool, Service>,
    stores: Kind<Store, Store>,
    /// By container, where there is any.
    spoiled: HashMap<Arc<str>, Spoiled>,
    /// The number of the next claim.
    next: u64,
}

impl Decoder {
    /// A decoder without containers.
    pub fn new(docker: &settings::Docker, wharf: &settings::Wharf) -> Self {
        Self {
            options: Options::new(docker, wharf),
            entries: HashMap::new(),
            joined: HashMap::new(),
            routers: Kind::new("HTTP router", |parts| &parts.routers, Router::eq, Leave),
            middlewares: Kind::new("HTTP middleware", |parts| &parts.middlewares, Spec::eq, Leave),
            services: Kind::new("HTTP service", |parts| &parts.services, is_same, Stay),
            stores: Kind::new("TLS store", |parts| &parts.stores, Store::eq, Leave),
            spoiled: HashMap::new(),
            next: 0,
        }
    }

    /// Reads all containers again by these settings.
    pub fn change(&mut self, docker: &settings::Docker, wharf: &settings::Wharf) {
        self.options = Options::new(docker, wharf);
        let all: Vec<_> = self.entries.values().map(|one| Arc::clone(&one.container)).collect();
        for container in &all {
            self.update(container);
        }
    }

    /// Whether a container with these labels is to be served, as far as can be told from them.
    pub fn wants(&self, labels: &BTreeMap<String, String>) -> bool {
        container::is_wanted(&self.options, labels)
    }

    /// Takes a container, new or changed; true when that can change what is served.
    pub fn update(&mut self, container: &Arc<Container>) -> bool {
        let id = &container.container.id;
        let before = self.forget(id);
        let gone = self.gone(container, before.as_ref());
        if let Some(host) = container.network_mode.strip_prefix("container:") {
            self.joined.entry(host.into()).or_default().insert(Arc::clone(id));
        }
        self.learn(Arc::clone(container), gone);
        let is_followed = self.follow(id);
        let after = self.entries.get(id).map(|entry| &entry.parts);
        is_followed
            || before.is_some_and(|entry| !entry.parts.is_empty())
            || after.is_some_and(|p| !p.is_empty())
    }

    /// Whether a container has ended, and when. One that was never seen to run rests.
    fn gone(&self, container: &Container, before: Option<&Entry>) -> Option<Gone> {
        if container.state != ReplicaState::Gone {
            return None;
        }
        let Some(before) = before else { return Some(Gone { before: self.next, rests: true }) };
        Some(before.gone.unwrap_or(Gone { before: self.next, rests: false }))
    }

    /// No request waits any more for a successor of this container, if it has not come back:
    /// what it said first others may take. True when that can change what is served.
    pub fn rest(&mut self, id: &str) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        let Some(gone) = entry.gone.as_mut().filter(|gone| !gone.rests) else { return false };
        gone.rests = true;
        self.routers.touch_all(&entry.parts);
        self.middlewares.touch_all(&entry.parts);
        self.services.touch_all(&entry.parts);
        self.stores.touch_all(&entry.parts);
        !entry.parts.is_empty()
    }

    /// Whether nobody else of its owner's declares some router or service of this container, and
    /// nobody says the same: without it, that is gone.
    pub fn is_last(&self, id: &str) -> bool {
        let Some(entry) = self.entries.get(id) else { return false };
        self.routers.is_last(id, entry, &self.entries)
            || self.services.is_last(id, entry, &self.entries)
    }

    /// Forgets a container; true when that can change what is served.
    pub fn remove(&mut self, id: &str) -> bool {
        let id: Arc<str> = id.into();
        let before = self.forget(&id);
        self.follow(&id) || before.is_some_and(|entry| !entry.parts.is_empty())
    }

    /// Reads those again that have joined the network of `host`; true when there are any.
    fn follow(&mut self, host: &Arc<str>) -> bool {
        let guests = self.joined.get(host).cloned().unwrap_or_default();
        let is_followed = !guests.is_empty();
        for id in guests {
            if let Some(Entry { container, gone, .. }) = self.forget(&id) {
                self.joined.entry(Arc::clone(host)).or_default().insert(id);
                self.learn(container, gone);
            }
        }
        is_followed
    }

    fn forget(&mut self, id: &Arc<str>) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.routers.forget(id, &entry.parts);
        self.middlewares.forget(id, &entry.parts);
        self.services.forget(id, &entry.parts);
        self.stores.forget(id, &entry.parts);
        if let Some(host) = entry.container.network_mode.strip_prefix("container:")
            && let Some(guests) = self.joined.get_mut(host)
        {
            guests.remove(id);
        }
        Some(entry)
    }

    fn learn(&mut self, container: Arc<Container>, gone: Option<Gone>) {
        let id = Arc::clone(&container.container.id);
        let other = |id: &str| self.entries.get(id).map(|entry| &*entry.container);
        let parts = container::decode(&self.options, &container, &other);
        self.routers.learn(&id, &parts);
        self.middlewares.learn(&id, &parts);
        self.services.learn(&id, &parts);
        self.stores.learn(&id, &parts);
        let owner = Arc::new(Owner::of(&container));
        self.entries.insert(id, Entry { container, owner, gone, parts });
    }

    /// Everything that the containers want served. What did not change since the last call
    /// keeps its `Arc`.
    pub fn desired(&mut self) -> Desired {
        self.claim();
        self.settle();
        if self.spoil() {
            self.settle();
        }
        let (entries, options) = (&self.entries, &self.options);
        let simple = |_: &Name, winner: &Member<'_, Router>, _: &[Member<'_, Router>]| {
            (winner.value.clone(), None)
        };
        let is_spoiled = |spoiled: &Spoiled, name: &Name| spoiled.routers.contains(name);
        self.routers.settle(entries, options, &self.spoiled, is_spoiled, simple);
        let tls = Tls { stores: self.stores.items.clone(), ..Tls::default() };
        Desired {
            tls,
            routers: self.routers.items.clone(),
            middlewares: self.middlewares.items.clone(),
            services: self.services.items.clone(),
            problems: self.problems(),
            ..Desired::default()
        }
    }

    /// Numbers what is said for the first time, the oldest first.
    fn claim(&mut self) {
        let entries = &self.entries;
        let next = &mut self.next;
        number(&mut self.routers, entries, next);
        number(&mut self.middlewares, entries, next);
        number(&mut self.services, entries, next);
        number(&mut self.stores, entries, next);
    }

    /// Merges all but routers, which can wait until it is known what is spoiled.
    fn settle(&mut self) {
        let (entries, options, spoiled) = (&self.entries, &self.options, &self.spoiled);
        let is_spoiled = |spoiled: &Spoiled, name: &Name| spoiled.middlewares.contains(name);
        self.middlewares
            .settle(entries, options, spoiled, is_spoiled, |_, one, _| (one.value.clone(), None));
        let is_spoiled = |spoiled: &Spoiled, name: &Name| spoiled.services.contains(name);
        let pool = |name: &Name, winner: &Member<'_, Pool>, all: &[Member<'_, Pool>]| {
            pool(options, name, winner, all)
        };
        self.services.settle(entries, options, spoiled, is_spoiled, pool);
        self.stores.settle(
            entries,
            options,
            spoiled,
            |_, _| false,
            |_, one, _| (one.value.clone(), None),
        );
    }

    /// Finds what can't be used, because what it names is refused; true when there is news.
    fn spoil(&mut self) -> bool {
        let mut refused: HashMap<&Arc<str>, (Vec<&Name>, Vec<&Name>)> = HashMap::new();
        for (name, ids) in &self.middlewares.refused {
            for id in ids {
                refused.entry(id).or_default().0.push(name);
            }
        }
        for (name, ids) in &self.services.refused {
            for id in ids {
                refused.entry(id).or_default().1.push(name);
            }
        }
        let found = refused.into_iter().filter_map(|(id, (middlewares, services))| {
            let parts = &self.entries.get(id)?.parts;
            let found = Spoiled::find(parts, middlewares.into_iter(), services.into_iter());
            Some((Arc::clone(id), found))
        });
        let after: HashMap<_, _> = found.collect();
        let before = std::mem::take(&mut self.spoiled);
        let is_news = |(id, one): &(&Arc<str>, &Spoiled), all: &HashMap<Arc<str>, Spoiled>| {
            all.get(*id) != Some(*one)
        };
        let went = before.iter().filter(|one| is_news(one, &after));
        let came = after.iter().filter(|one| is_news(one, &before));
        let mut any = false;
        for (_, spoiled) in went.chain(came) {
            any = true;
            self.routers.touch(spoiled.routers.iter());
            self.middlewares.touch(spoiled.middlewares.iter());
            self.services.touch(spoiled.services.iter());
        }
        self.spoiled = after;
        any
    }

    fn problems(&self) -> Vec<Problem> {
        let shown = self.entries.values().filter(|entry| {
            // A stopped container's labels hurt nobody.
            entry.container.state != ReplicaState::Gone
                && container::is_eligible(&self.options, &entry.container, &entry.parts)
        });
        let mut problems: Vec<_> = shown.flat_map(|entry| &entry.parts.problems).cloned().collect();
        problems.sort();
        problems.extend(self.options.rule.as_ref().err().cloned());
        problems.extend(self.options.constraint.as_ref().err().cloned());
        let merged = || {
            (self.routers.problems.values())
                .chain(self.middlewares.problems.values())
                .chain(self.services.problems.values())
                .chain(self.stores.problems.values())
                .flatten()
        };
        if !self.spoiled.is_empty() {
            // What is refused itself needs no second reason.
            let told: HashSet<_> = merged().map(|one| (&one.origin, &one.subject)).collect();
            let spoiled = self.spoiled.values().flat_map(|one| &one.problems);
            let mut spoiled: Vec<_> =
                spoiled.filter(|one| !told.contains(&(&one.origin, &one.subject))).collect();
            spoiled.sort();
            problems.extend(spoiled.into_iter().cloned());
        }
        problems.extend(merged().cloned());
        problems
    }
}

fn number<P, T: PartialEq>(kind: &mut Kind<P, T>, entries: &Entries, next: &mut u64) {
    let mut claims = kind.new_claims(entries);
    claims.sort_by(|left, right| (&left.0, &left.1).cmp(&(&right.0, &right.1)));
    for (_, name, owner) in claims {
        kind.claim(&name, owner, *next);
        *next += 1;
    }
}

/// Whether two declare the same service, servers apart.
fn is_same(one: &Pool, two: &Pool) -> bool {
    one.settings == two.settings && one.middlewares == two.middlewares
}

/// Services: all say the same, but for deploys of one, and each brings its server. A stranger's
/// server is of no generation: it has no say in the holder's deploys.
fn pool(
    options: &Options,
    name: &Name,
    winner: &Member<'_, Pool>,
    members: &[Member<'_, Pool>],
) -> (Service, Option<Problem>) {
    let mut balancer = winner.value.settings.clone();
    let is_own = |member: &&Member<'_, Pool>| member.owner.may_deploy_with(winner.owner);
    let own = members.iter().filter(is_own).map(|member| member.container);
    let are_deploys = generation::are_of_one(own);
    let server = |member: &Member<'_, Pool>| {
        let mut server = member.value.server.clone()?;
        if let Some(facts) = server.replica.as_mut().filter(|_| !are_deploys || !is_own(&member)) {
            facts.deploy = None;
        }
        Some(server)
    };
    balancer.servers = members
        .iter()
        .filter(|member| {
            !options.as_traefik
                || matches!(member.container.state, ReplicaState::Running | ReplicaState::Stopping)
        })
        .filter_map(server)
        .collect();
    let kind = ServiceKind::LoadBalancer(balancer);
    let value = Service { middlewares: winner.value.middlewares.clone(), kind };
    (value, merge::strangers(name, members))
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "ownership_tests.rs"]
mod ownership_tests;
