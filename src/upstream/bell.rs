//! Wakes tasks of one worker that wait for the same thing. Costs neither a lock nor, once its
//! places were made, an allocation.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

#[derive(Debug, Default)]
pub(super) struct Bell(RefCell<Places>);

#[derive(Debug, Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Bell {
    /// Waits until that is so; looks when it is rung.
    pub(super) async fn until(&self, is_so: impl Fn() -> bool) {
        let mut place = Place { bell: self, number: None };
        poll_fn(|cx| {
            if is_so() {
                return Poll::Ready(());
            }
            place.take(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Wakes all that wait.
    pub(super) fn ring(&self) {
        // They are woken later, on this worker: nobody takes a place meanwhile.
        self.0.borrow().wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }
}

struct Place<'b> {
    bell: &'b Bell,
    number: Option<usize>,
}

impl Place<'_> {
    fn take(&mut self, waker: &Waker) {
        let mut places = self.bell.0.borrow_mut();
        let number = self.number.or_else(|| places.free.pop()).unwrap_or(places.wakers.len());
        self.number = Some(number);
        match places.wakers.get_mut(number) {
            Some(Some(known)) if known.will_wake(waker) => {}
            Some(place) => *place = Some(waker.clone()),
            None => places.wakers.push(Some(waker.clone())),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut places = self.bell.0.borrow_mut();
        if let Some(place) = places.wakers.get_mut(number) {
            *place = None;
        }
        places.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn those_that_wait_look_when_it_is_rung_and_places_are_used_again() {
        let (bell, is_so) = (Bell::default(), Cell::new(false));
        for _ in 0..3 {
            let mut waits = [0, 1].map(|_| Box::pin(bell.until(|| is_so.get())));
            for wait in &mut waits {
                assert!(poll!(wait).is_pending());
            }
        }
        assert_eq!(bell.0.borrow().wakers.len(), 2);

        let ring = async {
            tokio::task::yield_now().await;
            is_so.set(true);
            bell.ring();
        };
        tokio::join!(bell.until(|| is_so.get()), bell.until(|| is_so.get()), ring);
    }
}
