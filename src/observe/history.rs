//! The last minutes of every service, second by second, for the dashboard's plots.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::series::{FINE_BUCKETS, FineTotals, Scope, fine_bound};

/// Seconds that are kept.
pub const SPAN: usize = 120;

/// One second of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Point {
    /// Requests that ended in it.
    pub requests: u32,
    /// Those answered with 5xx.
    pub errors: u32,
    /// 95th percentile of the duration in seconds; 0 without requests.
    pub p95: f32,
}

#[derive(Debug)]
struct Ring {
    last: FineTotals,
    points: VecDeque<Point>,
    /// Still there at the last tick.
    fresh: bool,
}

/// The plots' data. [`History::tick`] is called once a second by the control thread.
#[derive(Debug, Default)]
pub struct History {
    rings: Mutex<HashMap<Arc<str>, Ring>>,
}

impl History {
    pub(super) fn tick(&self, scopes: &[(Arc<str>, Arc<Scope>)]) {
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        for ring in rings.values_mut() {
            ring.fresh = false;
        }
        for (name, scope) in scopes {
            let now = scope.fine();
            let ring = rings.entry(Arc::clone(name)).or_insert_with(|| Ring {
                last: FineTotals { errors: 0, buckets: [0; FINE_BUCKETS] },
                points: VecDeque::with_capacity(SPAN),
                fresh: true,
            });
            ring.fresh = true;
            if ring.points.len() == SPAN {
                ring.points.pop_front();
            }
            ring.points.push_back(point(&ring.last, &now));
            ring.last = now;
        }
        rings.retain(|_, ring| ring.fresh);
    }

    /// The last two minutes of a service, oldest first; empty when it is unknown.
    pub fn service(&self, name: &str) -> Vec<Point> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        rings.get(name).map(|ring| ring.points.iter().copied().collect()).unwrap_or_default()
    }

    /// All services together, oldest first. The p95 is the highest of any service.
    pub fn total(&self) -> Vec<Point> {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = rings.values().map(|ring| ring.points.len()).max().unwrap_or(0);
        let mut total = vec![Point::default(); longest];
        for ring in rings.values() {
            for (sum, point) in total.iter_mut().rev().zip(ring.points.iter().rev()) {
                sum.requests += point.requests;
                sum.errors += point.errors;
                sum.p95 = sum.p95.max(point.p95);
            }
        }
        total
    }
}

fn point(last: &FineTotals, now: &FineTotals) -> Point {
    let mut counts = [0_u32; FINE_BUCKETS];
    for ((count, now), last) in counts.iter_mut().zip(&now.buckets).zip(&last.buckets) {
        *count = now.wrapping_sub(*last);
    }
    let requests = counts.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
    let errors = u32::try_from(now.errors.saturating_sub(last.errors)).unwrap_or(u32::MAX);
    Point { requests, errors, p95: p95(&counts, requests) }
}

fn p95(counts: &[u32; FINE_BUCKETS], requests: u32) -> f32 {
    if requests == 0 {
        return 0.0;
    }
    let wanted = (u64::from(requests) * 95).div_ceil(100);
    let mut seen = 0_u64;
    for (bucket, count) in counts.iter().enumerate() {
        seen += u64::from(*count);
        if seen >= wanted {
            return fine_bound(bucket).as_secs_f32();
        }
    }
    fine_bound(FINE_BUCKETS - 1).as_secs_f32()
}

#[cfg(test)]
mod tests {
    use super::super::series::Counted;
    use std::time::Duration;

    use super::super::series::Key;
    use super::*;
    use crate::message::Protocol;

    #[test]
    fn a_second_holds_what_ended_in_it() {
        let scope = Arc::new(Scope::new(&Counted::by(&[1.0]), 1));
        let history = History::default();
        let scopes = [(Arc::from("web@docker"), Arc::clone(&scope))];
        history.tick(&scopes);
        for (code, millis) in [(200, 1), (200, 1), (502, 900)] {
            let key = Key::new(code, &http::Method::GET, Protocol::Http);
            scope.record(0, key, Duration::from_millis(millis), (0, 0), None);
        }
        history.tick(&scopes);
        history.tick(&scopes);

        let points = history.service("web@docker");

        assert_eq!(points.iter().map(|p| p.requests).collect::<Vec<_>>(), [0, 3, 0]);
        assert_eq!(points[1].errors, 1);
        assert!(points[1].p95 >= 0.9 && points[1].p95 < 1.6, "{}", points[1].p95);
    }

    #[test]
    fn a_service_that_went_is_forgotten() {
        let scope = Arc::new(Scope::new(&Counted::by(&[1.0]), 1));
        let history = History::default();
        history.tick(&[(Arc::from("a"), scope)]);
        history.tick(&[]);

        assert!(history.service("a").is_empty());
    }
}
