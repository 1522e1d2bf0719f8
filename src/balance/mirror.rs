//! A service whose requests are copied to others. What becomes of the copies is nobody's
//! concern: they cost the client nothing, and are bounded in number, size and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response};
use smallvec::SmallVec;

use super::Service;
use super::copy::{Copy, Kept};
use super::drain::drain;
use crate::message::{Body, Exchange};

/// Copies on their way at once, per service.
const MOST_COPIES: usize = 1000;

/// Bytes of bodies kept for copies at once, per service.
const MOST_BYTES: usize = 64 << 20;

/// For a copy and its answer.
const LIMIT: Duration = Duration::from_secs(60);

/// What a mirroring service is made of.
pub struct MirroringSettings {
    /// Whose answer the client gets.
    pub main: Arc<Service>,
    /// Who gets copies, and of how many of a hundred requests.
    pub mirrors: Vec<(Arc<Service>, u8)>,
    /// Copy bodies too.
    pub copies_bodies: bool,
    /// Requests with a larger body are not copied; `None`: only what is kept at once is
    /// bounded.
    pub max_body: Option<u64>,
    /// Counts copies that were not made because too many were on their way.
    pub dropped: Arc<AtomicU64>,
}

/// A service and its mirrors.
pub(super) struct Mirroring {
    pub(super) settings: MirroringSettings,
    pub(super) traffic: Arc<Traffic>,
}

/// What outlives changes of the settings.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Requests so far: percentages are kept over all of them.
    requests: AtomicU64,
    copies: AtomicUsize,
    bytes: AtomicUsize,
    dropped: Arc<AtomicU64>,
}

impl Traffic {
    pub(super) fn new(dropped: &Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self { dropped: Arc::clone(dropped), ..Self::default() })
    }

    fn has_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Room for so many more bytes of a body.
    pub(super) fn keep(&self, bytes: usize) -> bool {
        let taken = self.bytes.fetch_add(bytes, Relaxed);
        let has_room = taken.saturating_add(bytes) <= MOST_BYTES;
        if !has_room {
            self.bytes.fetch_sub(bytes, Relaxed);
            self.has_dropped();
        }
        has_room
    }

    pub(super) fn forget(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    fn enter(self: &Arc<Self>) -> Option<OnItsWay> {
        if self.copies.fetch_add(1, Relaxed) >= MOST_COPIES {
            self.copies.fetch_sub(1, Relaxed);
            self.has_dropped();
            return None;
        }
        Some(OnItsWay(Arc::clone(self)))
    }
}

/// One copy's place among those on their way.
struct OnItsWay(Arc<Traffic>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Relaxed);
    }
}

/// The mirrors of one request.
pub(super) type Chosen = SmallVec<[Arc<Service>; 2]>;

impl Mirroring {
    pub(super) async fn call(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
    ) -> Response<Body> {
        // A copy of an upgrade would open a connection that nobody speaks on.
        let mirrors = if request.headers().contains_key(UPGRADE) {
            Chosen::new()
        } else {
            self.choose(self.traffic.requests.fetch_add(1, Relaxed))
        };
        if mirrors.is_empty() {
            return Box::pin(self.settings.main.call(exchange, request)).await;
        }
        let (request, copy) = self.copy(exchange, request, mirrors);
        let response = Box::pin(self.settings.main.call(exchange, request)).await;
        // As Traefik: a request that the client gave up is not copied.
        if let Some(copy) = copy {
            copy.answered();
        }
        response
    }

    /// The mirrors of the request of this number: so that of the first n requests each has
    /// got its percentage, rounded up.
    fn choose(&self, number: u64) -> Chosen {
        let due = |count: u64, percent: u8| (u128::from(count) * u128::from(percent)).div_ceil(100);
        let mirrors = self.settings.mirrors.iter();
        let now = number.wrapping_add(1);
        mirrors
            .filter(|(_, percent)| due(now, *percent) > due(number, *percent))
            .map(|(service, _)| Arc::clone(service))
            .collect()
    }

    /// The request as the main service gets it, and what will become its copies; none when
    /// its body is known to be too large.
    fn copy(
        &self,
        exchange: &Exchange,
        request: Request<Body>,
        mirrors: Chosen,
    ) -> (Request<Body>, Option<Copy>) {
        let has_body = !http_body::Body::is_end_stream(request.body());
        let copies_body = has_body && self.settings.copies_bodies;
        let least = http_body::Body::size_hint(request.body()).lower();
        if copies_body && self.settings.max_body.is_some_and(|most| least > most) {
            return (request, None);
        }
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        if has_body && !copies_body {
            for name in [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT, TRAILER] {
                head.headers_mut().remove(name);
            }
        }
        let (copied, traffic) = (exchange.of_copy(), Arc::clone(&self.traffic));
        let send = Box::new(move |kept: Kept| send(&mirrors, &head, &copied, &traffic, &kept));
        if !copies_body {
            return (request, Some(Copy::without_body(send)));
        }
        let (parts, body) = request.into_parts();
        let (body, copy) = Copy::of(body, self.settings.max_body, &self.traffic, send);
        (Request::from_parts(parts, body), Some(copy))
    }
}

fn send(
    mirrors: &Chosen,
    head: &Request<()>,
    exchange: &Exchange,
    traffic: &Arc<Traffic>,
    kept: &Kept,
) {
    for mirror in mirrors {
        let Some(place) = traffic.enter() else { continue };
        let (mirror, kept) = (Arc::clone(mirror), kept.clone());
        let (parts, ()) = head.clone().into_parts();
        let request = Request::from_parts(parts, kept.body());
        let mut exchange = exchange.of_copy();
        // Ends by itself, at the latest with the time limit.
        tokio::task::spawn_local(async move {
            let work = async { drain(Box::pin(mirror.call(&mut exchange, request)).await).await };
            let _ = tokio::time::timeout(LIMIT, work).await;
            drop((place, kept));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_kept_for_copies_are_bounded_and_what_does_not_fit_is_counted() {
        let traffic = Traffic::new(&Arc::default());

        assert!(traffic.keep(MOST_BYTES - 1));
        assert!(!traffic.keep(2));
        assert_eq!(traffic.dropped.load(Relaxed), 1);
        assert!(traffic.keep(1));
        traffic.forget(MOST_BYTES);
        assert!(traffic.keep(MOST_BYTES));
    }
}
