//! What of a container can't be used, because what it names there belongs to a stranger: a
//! router must not be served with the middleware or the servers of somebody else.

use std::collections::{BTreeMap, BTreeSet};

use super::container::{Part, Parts};
use super::service::Pool;
use crate::middleware::Spec;
use crate::model::{Name, Provider, Router};
use crate::problem::{Code, Problem};

/// Names of one container by kind.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Spoiled {
    pub(super) routers: BTreeSet<Name>,
    pub(super) middlewares: BTreeSet<Name>,
    pub(super) services: BTreeSet<Name>,
    pub(super) problems: Vec<Problem>,
}

/// The kinds of things that name each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing<'n> {
    Router(&'n Name),
    Middleware(&'n Name),
    Service(&'n Name),
}

/// What names a thing, by what it names.
type Users<'n> = BTreeMap<(bool, Name), Vec<Thing<'n>>>;

impl Spoiled {
    /// Follows names back from those that were refused.
    pub(super) fn find<'n>(
        parts: &'n Parts,
        middlewares: impl Iterator<Item = &'n Name>,
        services: impl Iterator<Item = &'n Name>,
    ) -> Self {
        let users = users(parts);
        let mut spoiled = Self::default();
        let refused = middlewares.map(Thing::Middleware).chain(services.map(Thing::Service));
        let mut work: Vec<Thing<'_>> = refused.collect();
        let mut seen: BTreeSet<Thing<'_>> = work.iter().copied().collect();
        while let Some(thing) = work.pop() {
            let key = match thing {
                Thing::Router(_) => continue,
                Thing::Middleware(name) => (true, name.clone()),
                Thing::Service(name) => (false, name.clone()),
            };
            for user in users.get(&key).into_iter().flatten() {
                if seen.insert(*user) {
                    spoiled.problems.extend(problem(parts, *user, thing));
                    work.push(*user);
                    match user {
                        Thing::Router(name) => spoiled.routers.insert((*name).clone()),
                        Thing::Middleware(name) => spoiled.middlewares.insert((*name).clone()),
                        Thing::Service(name) => spoiled.services.insert((*name).clone()),
                    };
                }
            }
        }
        spoiled.problems.sort();
        spoiled
    }
}

fn users(parts: &Parts) -> Users<'_> {
    fn note<'n>(users: &mut Users<'n>, user: Thing<'n>, is_middleware: bool, reference: &str) {
        if let Some(name) = Name::resolve(reference, Provider::Docker) {
            users.entry((is_middleware, name)).or_default().push(user);
        }
    }
    let mut users: Users<'_> = BTreeMap::new();
    for Part { name, value, .. } in &parts.routers {
        note(&mut users, Thing::Router(name), false, &value.service);
        for used in &value.middlewares {
            note(&mut users, Thing::Router(name), true, used);
        }
    }
    for Part { name, value, .. } in &parts.middlewares {
        for used in value.chain().unwrap_or_default() {
            note(&mut users, Thing::Middleware(name), true, used);
        }
        if let Some(used) = value.service() {
            note(&mut users, Thing::Middleware(name), false, used);
        }
    }
    for Part { name, value, .. } in &parts.services {
        for used in &value.middlewares {
            note(&mut users, Thing::Service(name), true, used);
        }
    }
    users
}

fn problem(parts: &Parts, user: Thing<'_>, at_fault: Thing<'_>) -> Option<Problem> {
    fn find<T>(parts: &[Part<T>], name: &Name) -> Option<crate::problem::Origin> {
        parts.iter().find(|part| part.name == *name).map(|part| part.origin.clone())
    }
    let (kind, name, origin) = match user {
        Thing::Router(name) => ("router", name, find::<Router>(&parts.routers, name)),
        Thing::Middleware(name) => ("middleware", name, find::<Spec>(&parts.middlewares, name)),
        Thing::Service(name) => ("service", name, find::<Pool>(&parts.services, name)),
    };
    let other = match at_fault {
        Thing::Router(name) => format!("router {name}"),
        Thing::Middleware(name) => format!("middleware {name}"),
        Thing::Service(name) => format!("service {name}"),
    };
    let text = format!("left out with the {other} that it names, which is not this container's");
    Some(
        Problem::error(Code::Conflict, origin?, text)
            .about(format!("{kind} {name}"))
            .mend(format!("give the {other} another name here")),
    )
}
