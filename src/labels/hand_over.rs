//! A name goes on within its project: when its owner ends, the next one of the same project that
//! runs has it at once and from then on, as in a deploy that starts the new container under
//! another name before it stops the old one. Strangers wait, and borrow it only.

use std::collections::{HashMap, hash_map};

use super::merge::Member;
use super::owner::{Claim, Owner};
use crate::model::ReplicaState;

/// What an owner's containers can do about a name.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// One of them runs, and was not told to stop.
    stays: bool,
    /// One of them serves, or is about to.
    serves: bool,
    /// Requests still wait for it, or it is not quite gone.
    awaited: bool,
}

type Standings<'e> = HashMap<&'e Owner, Standing, ahash::RandomState>;

/// Lets those follow who may: each project's first claimant that has ended changes places with
/// the next one of its project that serves. Containers without a project are one project here.
pub(super) fn hand_over<T>(claims: &mut [Claim], members: &[Member<'_, T>]) {
    if claims.len() < 2 {
        return;
    }
    let standings = standings(members);
    let standing = |claim: &Claim| standings.get(&*claim.owner).copied().unwrap_or_default();
    let mut first: HashMap<Option<&str>, (usize, Standing)> = HashMap::new();
    let mut moves = Vec::new();
    // The last claim of all that runs, and the last one that is of another project than that.
    let mut running: [Option<(usize, Option<&str>)>; 2] = [None, None];
    for (at, claim) in claims.iter().enumerate() {
        let (its, project) = (standing(claim), claim.owner.project());
        match first.entry(project) {
            hash_map::Entry::Vacant(entry) => drop(entry.insert((at, its))),
            hash_map::Entry::Occupied(mut entry) => {
                let (from, before) = *entry.get();
                let strangers = running.iter().flatten().find(|(_, theirs)| *theirs != project);
                // What was lent goes back to its owner, not to another one of its project.
                let is_lent = !before.awaited && strangers.is_some_and(|(other, _)| *other > from);
                if !before.stays && its.serves && !is_lent {
                    moves.push((from, at));
                    entry.insert((from, its));
                }
            }
        }
        if its.stays {
            if running[0].is_none_or(|(_, last)| last != project) {
                running[1] = running[0];
            }
            running[0] = Some((at, project));
        }
    }
    for (from, to) in moves {
        change_places(claims, from, to);
    }
}

fn standings<'e, T>(members: &[Member<'e, T>]) -> Standings<'e> {
    let mut standings = Standings::default();
    for member in members {
        let standing = standings.entry(&**member.owner).or_default();
        let state = member.container.state;
        let ends = matches!(state, ReplicaState::Stopping | ReplicaState::Gone);
        standing.stays |= !ends;
        standing.serves |= matches!(state, ReplicaState::Starting | ReplicaState::Running);
        standing.awaited |= member.gone.is_none_or(|gone| !gone.rests);
    }
    standings
}

/// The owners change places; the numbers stay where they are.
fn change_places(claims: &mut [Claim], from: usize, to: usize) {
    let owner = |at: usize| claims.get(at).map(|claim| claim.owner.clone());
    let (Some(old), Some(new)) = (owner(from), owner(to)) else { return };
    for (at, owner) in [(from, new), (to, old)] {
        if let Some(claim) = claims.get_mut(at) {
            claim.owner = owner;
        }
    }
}
