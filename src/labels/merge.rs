//! The same name on several containers: replicas are joined, deploys follow each other,
//! strangers are a conflict.

use std::collections::BTreeSet;

use super::{Container, generation, name};
use crate::model::{Name, ReplicaState};
use crate::problem::{Code, Origin, Problem};

/// One container's say.
pub(super) struct Member<'e, T> {
    pub(super) container: &'e Container,
    pub(super) value: &'e T,
    pub(super) origin: &'e Origin,
}

impl<T> Clone for Member<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Member<'_, T> {}

/// What several containers say together.
pub(super) enum Verdict<'e, T> {
    /// The first one says what counts; the second are all that take part in it, itself
    /// among them.
    Agreed(Member<'e, T>, Vec<Member<'e, T>>),
    /// These do not.
    Conflict(Vec<Member<'e, T>>),
}

/// What becomes of those that say something else than the deploy that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// They take no part.
    Leave,
    /// They take part as long as they run: servers of a deploy before, which are needed until
    /// those of the next one are ready.
    Stay,
}

/// Decides. `same` compares settings, not servers. `None` without members.
pub(super) fn decide<'e, T>(
    mut members: Vec<Member<'e, T>>,
    same: impl Fn(&T, &T) -> bool,
    others: Others,
) -> Option<Verdict<'e, T>> {
    members.sort_by_key(|member| &member.container.container);
    // A stopped container must not argue with a running one, nor one that is leaving.
    let rank = members.iter().map(|member| rank(member.container.state)).min()?;
    let voters: Vec<_> = members
        .iter()
        .filter(|member| self::rank(member.container.state) == rank)
        .copied()
        .collect();
    let mut classes: Vec<Vec<Member<'e, T>>> = Vec::new();
    for voter in &voters {
        let class = classes
            .iter_mut()
            .find(|class| class.first().is_some_and(|first| same(first.value, voter.value)));
        match class {
            Some(class) => class.push(*voter),
            None => classes.push(vec![*voter]),
        }
    }
    let winner = match classes.as_slice() {
        [one] => one.first().copied(),
        several if rank == GONE || are_generations(several) => newest_ready(several),
        _ => None,
    };
    let Some(winner) = winner else { return Some(Verdict::Conflict(voters)) };
    members.retain(|member| {
        same(member.value, winner.value)
            || others == Others::Stay
                && member.container.state != ReplicaState::Gone
                && are_deploys([member.container, winner.container])
    });
    Some(Verdict::Agreed(winner, members))
}

const GONE: u8 = 2;

fn rank(state: ReplicaState) -> u8 {
    match state {
        ReplicaState::Running
        | ReplicaState::Starting
        | ReplicaState::Unhealthy
        | ReplicaState::Paused => 0,
        ReplicaState::Stopping => 1,
        ReplicaState::Gone => GONE,
    }
}

/// Whether these are of two generations of one service.
fn are_deploys(pair: [&Container; 2]) -> bool {
    let [one, two] = pair.map(|container| generation::of(container).map(|own| own.id));
    one != two && generation::are_of_one(pair.into_iter())
}

/// Whether these are deploys of one service, and each generation is in one class.
fn are_generations<T>(classes: &[Vec<Member<'_, T>>]) -> bool {
    let mut ids = BTreeSet::new();
    let is_apart = classes.iter().all(|class| {
        let own = class.iter().filter_map(|member| generation::of(member.container));
        let own: BTreeSet<_> = own.map(|own| own.id).collect();
        own.into_iter().all(|id| ids.insert(id))
    });
    is_apart && generation::are_of_one(classes.iter().flatten().map(|member| member.container))
}

/// The newest generation that has a ready replica; when none has, the newest.
fn newest_ready<'e, T>(classes: &[Vec<Member<'e, T>>]) -> Option<Member<'e, T>> {
    let key = |class: &&Vec<Member<'e, T>>| {
        let ready = class.iter().any(|m| m.container.state == ReplicaState::Running);
        let created = class.iter().map(|m| m.container.created).max();
        (ready, created)
    };
    classes.iter().max_by_key(key)?.first().copied()
}

/// A conflict, told to each that takes part in it. `what` is `HTTP router`, `TLS store`.
pub(super) fn conflict<T>(what: &str, name: &Name, members: &[Member<'_, T>]) -> Vec<Problem> {
    const SHOWN: usize = 6;
    let mut names: Vec<_> =
        members.iter().take(SHOWN).map(|member| member.container.container.to_string()).collect();
    if members.len() > SHOWN {
        names.push(format!("{} more", members.len() - SHOWN));
    }
    let text = format!(
        "{what} defined multiple times with different configurations in [{}]",
        names.join(", ")
    );
    let kind = what.strip_prefix("HTTP ").unwrap_or(what);
    let mend = format!("give one {kind} another name, or all of them the same labels");
    let tell = |member: &Member<'_, T>| {
        Problem::error(Code::Conflict, member.origin.clone(), text.as_str())
            .about(format!("{kind} {name}"))
            .mend(mend.as_str())
    };
    members.iter().map(tell).collect()
}

/// A service whose servers come from several projects: perhaps meant, perhaps a name that was
/// used twice.
pub(super) fn strangers<T>(name: &Name, members: &[Member<'_, T>]) -> Option<Problem> {
    let mut projects = members.iter().filter_map(|member| {
        let project = member.container.labels.get(name::PROJECT)?;
        Some((project, member))
    });
    let (first, _) = projects.next()?;
    let (other, member) = projects.find(|(project, _)| *project != first)?;
    let text = format!("servers of the Compose projects {first} and {other} are joined");
    Some(
        Problem::warning(Code::Notice, member.origin.clone(), text)
            .about(format!("service {name}"))
            .mend("if that is not meant, give the service another name in one of them"),
    )
}
