//! All containers together. Only what changed is read again: a start among ten thousand
//! containers costs that one container's labels and the names in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Container;
use super::container::{self, Options, Part, Parts};
use super::generation;
use super::merge::{self, Member, Others, Verdict};
use super::service::Pool;
use crate::middleware::Spec;
use crate::model::{
    Desired, Items, Name, ReplicaState, Router, Service, ServiceKind, Sourced, Store, Tls,
};
use crate::problem::{Origin, Problem};
use crate::settings;

/// All containers' labels to desired state: decodes each, merges replicas, reports conflicts.
pub struct Decoder {
    options: Options,
    entries: HashMap<Arc<str>, Entry>,
    /// Who has joined whose network.
    joined: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    routers: Kind<Router, Router>,
    middlewares: Kind<Spec, Spec>,
    services: Kind<Pool, Service>,
    stores: Kind<Store, Store>,
}

struct Entry {
    container: Arc<Container>,
    parts: Parts,
}

/// Everything of one kind: who declares each name, and what came of it.
struct Kind<P, T> {
    declared: BTreeMap<Name, BTreeSet<Arc<str>>>,
    changed: BTreeSet<Name>,
    items: Items<T>,
    problems: BTreeMap<Name, Vec<Problem>>,
    part: fn(&Parts) -> &[Part<P>],
}

impl<P, T: PartialEq> Kind<P, T> {
    fn new(part: fn(&Parts) -> &[Part<P>]) -> Self {
        Self {
            declared: BTreeMap::new(),
            changed: BTreeSet::new(),
            items: BTreeMap::new(),
            problems: BTreeMap::new(),
            part,
        }
    }

    fn forget(&mut self, id: &Arc<str>, parts: &Parts) {
        for part in (self.part)(parts) {
            if let Some(ids) = self.declared.get_mut(&part.name) {
                ids.remove(id);
                if ids.is_empty() {
                    self.declared.remove(&part.name);
                }
            }
            self.changed.insert(part.name.clone());
        }
    }

    /// Whether one container alone declares some of these parts.
    fn is_last(&self, parts: &Parts) -> bool {
        let declared = (self.part)(parts).iter().filter_map(|part| self.declared.get(&part.name));
        declared.into_iter().any(|ids| ids.len() == 1)
    }

    fn learn(&mut self, id: &Arc<str>, parts: &Parts) {
        for part in (self.part)(parts) {
            self.declared.entry(part.name.clone()).or_default().insert(Arc::clone(id));
            self.changed.insert(part.name.clone());
        }
    }

    /// Merges the names that changed. What comes out as before keeps its `Arc`.
    fn settle(
        &mut self,
        entries: &HashMap<Arc<str>, Entry>,
        options: &Options,
        merge: impl Fn(&Name, Vec<Member<'_, P>>) -> (Option<Sourced<T>>, Vec<Problem>),
    ) {
        for name in std::mem::take(&mut self.changed) {
            let ids = self.declared.get(&name).into_iter().flatten();
            let members = ids
                .filter_map(|id| {
                    let entry = entries.get(id)?;
                    if !container::is_eligible(options, &entry.container, &entry.parts) {
                        return None;
                    }
                    let part = (self.part)(&entry.parts).iter().find(|part| part.name == name)?;
                    let (value, origin) = (&part.value, &part.origin);
                    Some(Member { container: &entry.container, value, origin })
                })
                .collect();
            let (item, problems) = merge(&name, members);
            if problems.is_empty() {
                self.problems.remove(&name);
            } else {
                self.problems.insert(name.clone(), problems);
            }
            match item {
                Some(item) if self.items.get(&name).is_some_and(|known| **known == item) => {}
                Some(item) => drop(self.items.insert(name, Arc::new(item))),
                None => drop(self.items.remove(&name)),
            }
        }
    }
}

impl Decoder {
    /// A decoder without containers.
    pub fn new(docker: &settings::Docker, wharf: &settings::Wharf) -> Self {
        Self {
            options: Options::new(docker, wharf),
            entries: HashMap::new(),
            joined: HashMap::new(),
            routers: Kind::new(|parts| &parts.routers),
            middlewares: Kind::new(|parts| &parts.middlewares),
            services: Kind::new(|parts| &parts.services),
            stores: Kind::new(|parts| &parts.stores),
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
        if let Some(host) = container.network_mode.strip_prefix("container:") {
            self.joined.entry(host.into()).or_default().insert(Arc::clone(id));
        }
        self.learn(Arc::clone(container));
        let is_followed = self.follow(id);
        let after = self.entries.get(id).map(|entry| &entry.parts);
        is_followed
            || before.is_some_and(|parts| !parts.is_empty())
            || after.is_some_and(|p| !p.is_empty())
    }

    /// Whether nobody else declares some router or service of this container: without it, that
    /// is gone.
    pub fn is_last(&self, id: &str) -> bool {
        let Some(Entry { parts, .. }) = self.entries.get(id) else { return false };
        self.routers.is_last(parts) || self.services.is_last(parts)
    }

    /// Forgets a container; true when that can change what is served.
    pub fn remove(&mut self, id: &str) -> bool {
        let id: Arc<str> = id.into();
        let before = self.forget(&id);
        self.follow(&id) || before.is_some_and(|parts| !parts.is_empty())
    }

    /// Reads those again that have joined the network of `host`; true when there are any.
    fn follow(&mut self, host: &Arc<str>) -> bool {
        let guests = self.joined.get(host).cloned().unwrap_or_default();
        let is_followed = !guests.is_empty();
        for id in guests {
            if let Some(container) = self.entries.get(&id).map(|e| Arc::clone(&e.container)) {
                self.forget(&id);
                self.joined.entry(Arc::clone(host)).or_default().insert(id);
                self.learn(container);
            }
        }
        is_followed
    }

    fn forget(&mut self, id: &Arc<str>) -> Option<Parts> {
        let Entry { container, parts } = self.entries.remove(id)?;
        self.routers.forget(id, &parts);
        self.middlewares.forget(id, &parts);
        self.services.forget(id, &parts);
        self.stores.forget(id, &parts);
        if let Some(host) = container.network_mode.strip_prefix("container:")
            && let Some(guests) = self.joined.get_mut(host)
        {
            guests.remove(id);
        }
        Some(parts)
    }

    fn learn(&mut self, container: Arc<Container>) {
        let id = Arc::clone(&container.container.id);
        let other = |id: &str| self.entries.get(id).map(|entry| &*entry.container);
        let parts = container::decode(&self.options, &container, &other);
        self.routers.learn(&id, &parts);
        self.middlewares.learn(&id, &parts);
        self.services.learn(&id, &parts);
        self.stores.learn(&id, &parts);
        self.entries.insert(id, Entry { container, parts });
    }

    /// Everything that the containers want served. What did not change since the last call
    /// keeps its `Arc`.
    pub fn desired(&mut self) -> Desired {
        let (entries, options) = (&self.entries, &self.options);
        self.routers.settle(entries, options, |name, members| simple("HTTP router", name, members));
        self.middlewares
            .settle(entries, options, |name, members| simple("HTTP middleware", name, members));
        self.stores.settle(entries, options, |name, members| simple("TLS store", name, members));
        self.services.settle(entries, options, |name, members| pool(options, name, members));
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
        let merged = (self.routers.problems.values())
            .chain(self.middlewares.problems.values())
            .chain(self.services.problems.values())
            .chain(self.stores.problems.values());
        problems.extend(merged.flatten().cloned());
        problems
    }
}

type Merged<T> = (Option<Sourced<T>>, Vec<Problem>);

/// Routers and middlewares: all must say the same.
fn simple<T: PartialEq + Clone>(kind: &str, name: &Name, members: Vec<Member<'_, T>>) -> Merged<T> {
    match merge::decide(members, T::eq, Others::Leave) {
        None => (None, Vec::new()),
        Some(Verdict::Conflict(members)) => (None, merge::conflict(kind, name, &members)),
        Some(Verdict::Agreed(winner, members)) => {
            let from = origins(&members);
            (Some(Sourced { value: winner.value.clone(), from }), Vec::new())
        }
    }
}

/// Services: all must say the same, but for deploys of one, and each brings its server.
fn pool(options: &Options, name: &Name, members: Vec<Member<'_, Pool>>) -> Merged<Service> {
    let is_same =
        |one: &Pool, two: &Pool| one.settings == two.settings && one.middlewares == two.middlewares;
    match merge::decide(members, is_same, Others::Stay) {
        None => (None, Vec::new()),
        Some(Verdict::Conflict(members)) => (None, merge::conflict("HTTP service", name, &members)),
        Some(Verdict::Agreed(winner, members)) => {
            let mut balancer = winner.value.settings.clone();
            let containers = members.iter().map(|member| member.container);
            let are_deploys = generation::are_of_one(containers);
            let server = |member: &Member<'_, Pool>| {
                let mut server = member.value.server.clone()?;
                if let Some(facts) = server.replica.as_mut().filter(|_| !are_deploys) {
                    facts.deploy = None;
                }
                Some(server)
            };
            balancer.servers = members
                .iter()
                .filter(|member| {
                    !options.as_traefik
                        || matches!(
                            member.container.state,
                            ReplicaState::Running | ReplicaState::Stopping
                        )
                })
                .filter_map(server)
                .collect();
            let middlewares = winner.value.middlewares.clone();
            let value = Service { middlewares, kind: ServiceKind::LoadBalancer(balancer) };
            let warning = merge::strangers(name, &members);
            (Some(Sourced { value, from: origins(&members) }), warning.into_iter().collect())
        }
    }
}

fn origins<T>(members: &[Member<'_, T>]) -> Vec<Origin> {
    members.iter().map(|member| member.origin.clone()).collect()
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
