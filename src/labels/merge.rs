//! The same name on several containers: replicas are joined, deploys follow each other, and of
//! strangers the first one keeps it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::owner::{Claim, Gone, Owner};
use super::{Container, generation, name};
use crate::model::{Holder, Name, ReplicaState};
use crate::problem::{Code, Origin, Problem};

/// One container's say.
pub(super) struct Member<'e, T> {
    pub(super) container: &'e Container,
    pub(super) owner: &'e Arc<Owner>,
    /// Set when it does not run.
    pub(super) gone: Option<Gone>,
    /// What it names itself belongs to others: it can't be used.
    pub(super) is_spoiled: bool,
    pub(super) value: &'e T,
    pub(super) origin: &'e Origin,
}

impl<T> Clone for Member<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Member<'_, T> {}

/// What is done about strangers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manners {
    /// As Traefik: where settings differ, nobody has the name.
    pub(super) drops: bool,
    /// Who says the same but is of another project is a stranger, too.
    pub(super) isolates: bool,
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

/// What several containers say together.
pub(super) struct Verdict<'e, T> {
    pub(super) holder: Holder,
    /// It says what counts; `None` in a conflict.
    pub(super) winner: Option<Member<'e, T>>,
    /// All that take part in it, the winner among them; or those that can't agree.
    pub(super) members: Vec<Member<'e, T>>,
    /// Strangers who came later and say something else.
    pub(super) refused: Vec<Member<'e, T>>,
}

/// Decides. `claims` are in their order; `same` compares settings, not servers. `None` without
/// members.
pub(super) fn decide<'e, T>(
    mut members: Vec<Member<'e, T>>,
    claims: &[Claim],
    manners: Manners,
    others: Others,
    same: impl Fn(&T, &T) -> bool,
) -> Option<Verdict<'e, T>> {
    members.sort_by_key(|member| &member.container.container);
    let (first, rests) = first(&members, claims)?;
    let party = &first.owner.party;
    let holder = Holder { order: first.order, party: Arc::clone(party), rests };
    let is_own = |member: &Member<'_, T>| manners.drops || member.owner.is_kin(&first.owner);
    let own: Vec<_> = members.iter().filter(|member| is_own(member)).copied().collect();
    // A stopped container must not argue with a running one, nor one that is leaving.
    let rank = own.iter().map(|member| rank(member.container.state)).min()?;
    let mut voters = own;
    voters.retain(|member| self::rank(member.container.state) == rank);
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
    let Some(winner) = winner else {
        let strangers = members.iter().filter(|one| !is_own(one) && is_there(one));
        let refused = strangers.copied().collect();
        return Some(Verdict { holder, winner, members: voters, refused });
    };
    let agrees = |member: &Member<'_, T>| {
        same(member.value, winner.value) && (!manners.isolates || member.owner.party == *party)
            || others == Others::Stay
                && is_own(member)
                && is_there(member)
                && are_deploys([member.container, winner.container])
    };
    let is_refused = |one: &&Member<'_, T>| !is_own(one) && !agrees(one) && is_there(one);
    let refused = members.iter().filter(is_refused).copied().collect();
    members.retain(agrees);
    Some(Verdict { holder, winner: Some(winner), members, refused })
}

fn is_there<T>(member: &Member<'_, T>) -> bool {
    member.container.state != ReplicaState::Gone
}

/// How far an owner's containers are from running.
#[derive(Clone, Copy, Default)]
struct Standing {
    runs: bool,
    /// Requests still wait for the successor of one that ended before this claim.
    awaited: Option<u64>,
}

/// Whose the name is, and whether that one has not run for long: the first of those that run.
/// One that has just ended counts as running, so that nobody takes its place while it is
/// recreated; but where a successor can't be told from a stranger, who comes after its end does.
fn first<'c, T>(members: &[Member<'_, T>], claims: &'c [Claim]) -> Option<(&'c Claim, bool)> {
    let mut standings: HashMap<&Arc<Owner>, Standing, ahash::RandomState> = HashMap::default();
    for member in members {
        let standing = standings.entry(member.owner).or_default();
        match member.gone {
            None => standing.runs = true,
            Some(gone) if !gone.rests => standing.awaited = standing.awaited.max(Some(gone.before)),
            Some(_) => {}
        }
    }
    let there = || claims.iter().filter_map(|one| Some((one, standings.get(&one.owner)?)));
    let last = there().filter(|(_, its)| its.runs).map(|(claim, _)| claim.order).max();
    let is_up = |(claim, its): &(&Claim, &Standing)| {
        let is_awaited = |before| claim.owner.is_known_again() || last < Some(before);
        its.runs || its.awaited.is_some_and(is_awaited)
    };
    let first = there().find(is_up).or_else(|| there().next());
    first.map(|(claim, its)| (claim, !its.runs && its.awaited.is_none()))
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

/// What is wrong with a verdict, told to each that is left out. `what` is `HTTP router`,
/// `TLS store`.
pub(super) fn problems<T>(what: &str, name: &Name, verdict: &Verdict<'_, T>) -> Vec<Problem> {
    const SHOWN: usize = 6;
    let kind = what.strip_prefix("HTTP ").unwrap_or(what);
    let mut names: Vec<_> = verdict
        .members
        .iter()
        .take(SHOWN)
        .map(|member| member.container.container.to_string())
        .collect();
    if verdict.members.len() > SHOWN {
        names.push(format!("{} more", verdict.members.len() - SHOWN));
    }
    let names = names.join(", ");
    let about = |member: &Member<'_, T>, text: String, mend: String| {
        Problem::error(Code::Conflict, member.origin.clone(), text)
            .about(format!("{kind} {name}"))
            .mend(mend)
    };
    let refused = verdict.refused.iter().map(|member| {
        let text = format!(
            "{what} defined multiple times with different configurations in [{names}, {}]: {}, \
             who came first, keeps it, and this one is left out",
            member.container.container, verdict.holder.party
        );
        about(member, text, format!("give this {kind} another name, or the same labels"))
    });
    let mut problems: Vec<_> = refused.collect();
    if verdict.winner.is_none() {
        let text =
            format!("{what} defined multiple times with different configurations in [{names}]");
        let mend = format!("give one {kind} another name, or all of them the same labels");
        problems.extend(verdict.members.iter().map(|one| about(one, text.clone(), mend.clone())));
        problems.sort();
    }
    problems
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
            .mend(
                "if that is not meant, give the service another name in one of them; \
                 wharf.isolateProjects keeps projects apart",
            ),
    )
}
