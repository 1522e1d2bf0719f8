//! Events that came before the list which they are part of, or are not: nobody can tell.

use std::collections::{VecDeque, vec_deque};

use super::event::{Action, Event};

/// What is left to say once the list is there: of a container's lives only the last counts.
#[derive(Debug, Default)]
pub(super) struct Early(VecDeque<Event>);

impl Extend<Event> for Early {
    fn extend<I: IntoIterator<Item = Event>>(&mut self, events: I) {
        for event in events {
            let is_end = matches!(event.action, Action::Started | Action::Ended | Action::Removed);
            self.0.retain(|old| {
                old.container != event.container || !is_end && old.action != event.action
            });
            self.0.push_back(event);
        }
    }
}

impl IntoIterator for Early {
    type Item = Event;
    type IntoIter = vec_deque::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_container_the_last_life_is_left_and_nothing_twice() {
        let event = |id: &str, action| Event::new(id, action);
        let mut early = Early::default();
        for _turn in 0..1000 {
            early.extend([
                event("a", Action::Signalled(15)),
                event("a", Action::Ended),
                event("a", Action::Started),
                event("a", Action::Moved),
                event("a", Action::Moved),
                event("b", Action::Signalled(15)),
            ]);
        }

        let left: Vec<_> = early.into_iter().map(|e| (e.container, e.action)).collect();
        let expected = [
            ("a".into(), Action::Started),
            ("a".into(), Action::Moved),
            ("b".into(), Action::Signalled(15)),
        ];
        assert_eq!(left, expected);
    }
}
