//! Whom a container belongs to, and who came first with a name.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::{Container, generation, name};
use crate::model::ReplicaState;

/// Whose a container is: what is recreated, scaled or deployed anew stays with its owner.
#[derive(Debug)]
pub(super) struct Owner {
    key: Key,
    project: Option<Box<str>>,
    /// Its containers say of which generation they are.
    is_named: bool,
    /// As people know it; containers of one party are no strangers to each other.
    pub(super) party: Arc<str>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Of Compose: project and service.
    Service(Box<str>, Box<str>),
    /// A container's name; a successor of another name is not known to be one.
    Container(Arc<str>),
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Owner {}

impl Hash for Owner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Owner {
    pub(super) fn of(container: &Container) -> Self {
        let project = container.labels.get(name::PROJECT);
        let own = &container.container.name;
        let party = project
            .map_or_else(|| format!("container {own}"), |name| format!("Compose project {name}"));
        let key = match (project, container.labels.get(name::SERVICE)) {
            (Some(project), Some(service)) => {
                Key::Service(project.as_str().into(), service.as_str().into())
            }
            _ => Key::Container(Arc::clone(own)),
        };
        let is_named = generation::of(container).is_some_and(|own| own.is_named);
        let project = project.map(|name| name.as_str().into());
        Self { key, project, is_named, party: party.into() }
    }

    /// Whether what both say are deploys of one thing: of one Compose project, services that say
    /// of which generation they are. Without a project anybody could say so.
    pub(super) fn is_kin(&self, other: &Self) -> bool {
        self == other || self.project.is_some() && self.are_named_alike(other)
    }

    /// Whether servers of both, which say the same of their service, may be its generations.
    pub(super) fn may_deploy_with(&self, other: &Self) -> bool {
        self == other || self.are_named_alike(other)
    }

    fn are_named_alike(&self, other: &Self) -> bool {
        self.is_named && other.is_named && self.project == other.project
    }

    /// Of a Compose project; containers without any are all of one here.
    pub(super) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Whether its next container can be told from a stranger's.
    pub(super) fn is_known_again(&self) -> bool {
        matches!(self.key, Key::Service(..))
    }
}

/// A container that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// Claims from this number on came after its end.
    pub(super) before: u64,
    /// It ended longer ago than requests wait for its successor.
    pub(super) rests: bool,
}

/// An owner that says a name, and its place among all that ever did.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) owner: Arc<Owner>,
    /// The one with the lower number came first.
    pub(super) order: u64,
}

/// What decides between claims that are met at once, such as at the start: what runs goes before
/// what doesn't, the older container before the younger one. Lists tell whole seconds only.
pub(super) type Age = (bool, bool, u64, Arc<str>);

pub(super) fn age(container: &Container) -> Age {
    let created = container.created.and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    (
        container.state == ReplicaState::Gone,
        created.is_none(),
        created.map_or(0, |created| created.as_secs()),
        Arc::clone(&container.container.id),
    )
}
