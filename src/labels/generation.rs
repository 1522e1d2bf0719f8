//! Which containers are deploys of one service, one after the other.

use super::{Container, name};

/// The label, for containers that do not come from Compose, or where Compose's hash is not
/// what tells deploys apart.
const LABEL: &str = "wharf.deploy.generation";

/// The generation that a container is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation<'c> {
    pub(super) id: &'c str,
    /// Given by the label.
    pub(super) is_named: bool,
    /// Project and service of Compose.
    service: Option<(&'c str, &'c str)>,
}

/// The generation of a container; `None` when nothing tells one deploy of it from the next.
pub(super) fn of(container: &Container) -> Option<Generation<'_>> {
    let labels = &container.labels;
    let label = |key| labels.get(key).map(String::as_str);
    let named = labels.iter().find(|(key, _)| key.eq_ignore_ascii_case(LABEL));
    let named = named.map(|(_, value)| value.trim()).filter(|id| !id.is_empty());
    let service = label(name::PROJECT).zip(label(name::SERVICE));
    let hash = label(name::GENERATION).filter(|_| service.is_some());
    Some(Generation { id: named.or(hash)?, is_named: named.is_some(), service })
}

/// Whether these are deploys of one thing: all are named by the label, or Compose made them
/// for one service of one project. Two services of Compose that share a name on purpose, each
/// with its own hash, are none.
pub(super) fn are_of_one<'c>(containers: impl Iterator<Item = &'c Container>) -> bool {
    let all: Option<Vec<_>> = containers.map(of).collect();
    let Some(all) = all else { return false };
    let Some(service) = all.first().map(|first| first.service) else { return false };
    all.iter().all(|one| one.is_named)
        || service.is_some() && all.iter().all(|one| one.service == service)
}
