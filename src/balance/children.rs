//! The services below a service: which are up, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;

use super::Service;
use super::rotation::turns;
use super::sticky::Marks;

/// A service below another.
#[derive(Clone)]
pub struct Child {
    /// As written in the settings.
    pub name: String,
    /// Its share; 0 or less: none.
    pub weight: i64,
    /// Itself.
    pub service: Arc<Service>,
}

/// The services below one, with their shares.
pub(super) struct Children {
    all: Box<[Place]>,
    /// Those that are down get nothing (`healthCheck: {}`).
    follow_health: bool,
    turns: ArcSwap<Turns>,
    turn: AtomicUsize,
}

/// A child and what its sticky cookies say.
pub(super) struct Place {
    pub(super) name: Box<str>,
    pub(super) marks: Marks,
    pub(super) weight: u32,
    pub(super) service: Arc<Service>,
}

/// Places of children in the order of turns, worked out for those that were up.
#[derive(Default)]
struct Turns {
    up: Box<[bool]>,
    places: Box<[u32]>,
}

impl Children {
    pub(super) fn new(all: Vec<Child>, follow_health: bool) -> Self {
        let all: Box<[Place]> = all
            .into_iter()
            .map(|child| Place {
                marks: Marks::of_child(&child.name),
                name: child.name.into(),
                weight: share(child.weight),
                service: child.service,
            })
            .collect();
        let places = turns(&all.iter().map(|child| child.weight).collect::<Vec<_>>());
        let up = all.iter().map(|_| true).collect();
        Self {
            all,
            follow_health,
            turns: ArcSwap::from_pointee(Turns { up, places }),
            turn: AtomicUsize::new(rand::random_range(0..1 << 16)),
        }
    }

    /// The child whose turn it is. When none is up they take turns all the same: theirs is
    /// the answer, and the waiting where it may help.
    pub(super) fn next(&self) -> Option<&Place> {
        if self.follow_health {
            self.review();
        }
        let turns = self.turns.load();
        let turn = self.turn.fetch_add(1, Relaxed).checked_rem(turns.places.len())?;
        self.all.get(*turns.places.get(turn)? as usize)
    }

    /// Works the turns out anew when a child went down or came up.
    fn review(&self) {
        let is_up = |child: &Place| child.service.is_up();
        if self.all.iter().map(is_up).eq(self.turns.load().up.iter().copied()) {
            return;
        }
        let up: Box<[bool]> = self.all.iter().map(is_up).collect();
        let weights = |all: bool| -> Vec<u32> {
            let children = self.all.iter().zip(&up);
            children.map(|(child, up)| if *up || all { child.weight } else { 0 }).collect()
        };
        let mut places = turns(&weights(false));
        if places.is_empty() {
            places = turns(&weights(true));
        }
        self.turns.store(Arc::new(Turns { up, places }));
    }

    /// The children with a share that are up; all of them when none is.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Place> {
        let only_up = self.follow_health && self.is_up();
        let with_share = self.all.iter().filter(|child| child.weight > 0);
        with_share.filter(move |child| !only_up || child.service.is_up())
    }

    /// A child with a share is up.
    pub(super) fn is_up(&self) -> bool {
        self.all.iter().any(|child| child.weight > 0 && child.service.is_up())
    }

    /// The child that this finds; not one that is down, or has no share.
    pub(super) fn find_map<'c, T>(
        &'c self,
        look: impl Fn(&'c Place) -> Option<T>,
    ) -> Option<(&'c Place, T)> {
        let mut with_share = self.all.iter().filter(|child| child.weight > 0);
        let (child, found) = with_share.find_map(|child| Some((child, look(child)?)))?;
        (!self.follow_health || child.service.is_up()).then_some((child, found))
    }
}

/// A weight as the number of turns it stands for; 0 or less: none.
pub(super) fn share(weight: i64) -> u32 {
    u32::try_from(weight.max(0)).unwrap_or(u32::MAX)
}
