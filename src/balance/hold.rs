//! Requests that wait for a server: a queue with bounds, in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Request;
use http_body::Body as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::settings::HoldSettings;
use crate::message::Body;

/// Those who wait for a server of one service.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    tickets: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    places: VecDeque<Ticket>,
    bytes: usize,
}

#[derive(Debug)]
struct Ticket {
    number: u64,
    bytes: usize,
    go: oneshot::Sender<()>,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// A server is ready.
    Ready,
    /// The time is over.
    TooLong,
    /// Too many wait already.
    Full,
}

/// What a request costs while it waits: its head, and what may have been read of its body.
pub(super) fn cost(request: &Request<Body>) -> usize {
    /// About what the parts of a request take beside their text.
    const FRAME: usize = 512;
    const FIELD: usize = 32;
    /// A connection reads no more of a body that nobody takes.
    const READ: u64 = 64 << 10;
    let fields = request.headers().iter();
    let head: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let body = usize::try_from(request.body().size_hint().lower().min(READ)).unwrap_or(0);
    FRAME + head + target + body
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place in the order of the queue. One who waits again keeps it.
    pub(super) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Relaxed)
    }

    /// Waits until [`Queue::open`], at most until then. `is_open` is asked once the place is
    /// taken. A client that goes away drops this, and leaves the queue.
    pub(super) async fn wait(
        &self,
        number: u64,
        until: Instant,
        bytes: usize,
        bounds: &HoldSettings,
        is_open: impl FnOnce() -> bool,
    ) -> Waited {
        let (go, went) = oneshot::channel();
        {
            let mut waiting = self.lock();
            let is_full = waiting.places.len() >= bounds.max_requests
                || waiting.bytes.saturating_add(bytes) > bounds.max_bytes;
            if is_full {
                return Waited::Full;
            }
            waiting.bytes += bytes;
            let at = waiting.places.partition_point(|ticket| ticket.number < number);
            waiting.places.insert(at, Ticket { number, bytes, go });
        }
        let _place = Place { queue: self, number };
        if is_open() {
            return Waited::Ready;
        }
        match timeout_at(until, went).await {
            Ok(Ok(())) => Waited::Ready,
            Ok(Err(_)) | Err(_) => Waited::TooLong,
        }
    }

    /// Lets all go, in order: each to the back of its worker's queue. Those that find nothing for
    /// them wait again.
    pub(super) fn open(&self) {
        let mut waiting = self.lock();
        waiting.bytes = 0;
        for ticket in waiting.places.drain(..) {
            let _ = ticket.go.send(());
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().places.len()
    }
}

/// A place in the queue; given up when it is dropped.
struct Place<'q> {
    queue: &'q Queue,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        // Numbers grow towards the back.
        let found = waiting.places.binary_search_by_key(&self.number, |ticket| ticket.number);
        if let Some(ticket) = found.ok().and_then(|at| waiting.places.remove(at)) {
            waiting.bytes = waiting.bytes.saturating_sub(ticket.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use tokio::task::{LocalSet, yield_now};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn bounds(max_requests: usize, max_bytes: usize) -> HoldSettings {
        HoldSettings { limit: LONG, max_requests, max_bytes }
    }

    #[tokio::test(start_paused = true)]
    async fn all_go_in_the_order_in_which_they_came() {
        let (queue, order) = (Rc::new(Queue::default()), Rc::new(RefCell::new(Vec::new())));
        let local = LocalSet::new();
        for number in 0..5 {
            let (queue, order) = (Rc::clone(&queue), Rc::clone(&order));
            local.spawn_local(async move {
                let until = Instant::now() + LONG;
                let ticket = queue.ticket();
                let waited = queue.wait(ticket, until, 1, &bounds(9, 9), || false).await;
                order.borrow_mut().push((number, waited));
            });
        }
        local
            .run_until(async {
                while queue.len() < 5 {
                    yield_now().await;
                }
                queue.open();
            })
            .await;
        local.await;

        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4].map(|number| (number, Waited::Ready)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_waits_again_is_where_it_was() {
        let queue = Queue::default();
        let until = Instant::now() + LONG;
        let (early, late) = (queue.ticket(), queue.ticket());
        let bounds = bounds(9, 9);
        let mut second = Box::pin(queue.wait(late, until, 1, &bounds, || false));
        assert!(futures_util::poll!(&mut second).is_pending());

        let mut first = Box::pin(queue.wait(early, until, 1, &bounds, || false));
        assert!(futures_util::poll!(&mut first).is_pending());

        let order: Vec<_> = queue.lock().places.iter().map(|ticket| ticket.number).collect();
        assert_eq!(order, [early, late]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_bound() {
        let queue = Queue::default();
        let began = Instant::now();

        let waited = queue.wait(0, began + LONG, 1, &bounds(1, 1), || false).await;

        assert_eq!((waited, began.elapsed().as_secs()), (Waited::TooLong, LONG.as_secs()));
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn sec_places_and_bytes_are_bounded_and_given_back() {
        for (bounds, bytes) in [(bounds(1, 100), 1), (bounds(9, 100), 60)] {
            let queue = Queue::default();
            let until = Instant::now() + LONG;
            let first = queue.wait(0, until, bytes, &bounds, || false);
            let mut first = Box::pin(first);
            assert!(futures_util::poll!(&mut first).is_pending());

            assert_eq!(queue.wait(1, until, bytes, &bounds, || true).await, Waited::Full);
            drop(first);
            assert_eq!(queue.wait(1, until, bytes, &bounds, || true).await, Waited::Ready);
            assert_eq!((queue.len(), queue.lock().bytes), (0, 0));
        }
    }

    #[test]
    fn a_request_costs_what_was_read_of_it() {
        let request = |body: usize| {
            Request::post("/a").header("x-a", "bc").body(Body::from("x".repeat(body))).unwrap()
        };

        assert_eq!(cost(&request(0)), 512 + 32 + 5 + 2);
        assert_eq!(cost(&request(1000)), 512 + 32 + 5 + 2 + 1000);
        assert_eq!(cost(&request(1 << 20)), 512 + 32 + 5 + 2 + (64 << 10));
    }
}
