//! The counters behind one entry point, router or service: lock-free on the request path,
//! one shard per worker, summed when somebody looks.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName};

use crate::message::Protocol;

/// Slots for combinations of status, method and protocol before the map behind a lock is
/// used; a scope rarely sees a dozen.
const SLOTS: usize = 32;

/// TLS version and cipher suite, as they are printed.
pub(super) type TlsKind = (&'static str, &'static str);

/// Kinds of TLS that one scope counts; rustls has nine suites.
const TLS_KINDS: usize = 12;

/// Label sets with values from request headers (`headerLabels`) that one scope may have.
const MAX_HEADER_SETS: usize = 1_000;

/// Buckets of the dashboard's own histogram: two per octave from 128 us up.
pub(super) const FINE_BUCKETS: usize = 48;

/// Values of the request headers that `headerLabels` name, in their order.
pub(super) type HeaderValues = Box<[Box<str>]>;

/// What tells one series of a scope from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) code: u16,
    pub(super) method: u8,
    pub(super) protocol: u8,
}

/// Methods as Traefik counts them; anything else is one series, so that a client can't
/// make series at will (security.md section 8).
pub(super) const METHODS: [&str; 9] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];

/// A method's place in [`METHODS`]; one past the end for all others.
pub(super) fn method_index(method: &http::Method) -> u8 {
    let name = method.as_str();
    let index = METHODS.iter().position(|known| *known == name).unwrap_or(METHODS.len());
    u8::try_from(index).unwrap_or(u8::MAX)
}

impl Key {
    pub(super) fn new(code: u16, method: &http::Method, protocol: Protocol) -> Self {
        let code = if (100..=999).contains(&code) || code <= 16 { code } else { 0 };
        Self { code, method: method_index(method), protocol: protocol as u8 }
    }

    pub(super) fn method(self) -> &'static str {
        METHODS.get(usize::from(self.method)).copied().unwrap_or("EXTENSION_METHOD")
    }

    pub(super) fn protocol(self) -> &'static str {
        match self.protocol {
            1 => "websocket",
            2 => "sse",
            3 => "grpc",
            4 => "grpc-web",
            _ => "http",
        }
    }

    fn slot(self) -> usize {
        let mixed = usize::from(self.code)
            ^ (usize::from(self.method) << 3)
            ^ (usize::from(self.protocol) << 4);
        mixed % SLOTS
    }
}

/// One worker's part of a series. A cache line of its own, so that workers do not fight.
#[derive(Debug)]
#[repr(align(64))]
struct Shard {
    sum_nanos: AtomicU64,
    least_nanos: AtomicU64,
    most_nanos: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

/// One series: a histogram and two byte counts.
#[derive(Debug)]
pub(super) struct Cell {
    key: Key,
    shards: Box<[Shard]>,
}

#[cfg(test)]
impl Counted {
    pub(super) fn by(bounds: &[f64]) -> Self {
        Self { bounds: bounds.into(), headers: Arc::default() }
    }
}

/// A cell's sums over all workers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Totals {
    /// Requests since the scope began, whatever they were counted by.
    pub(super) count: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// When what follows began: with the scope, or with its present bounds.
    pub(super) started: SystemTime,
    pub(super) sum_seconds: f64,
    /// The shortest and the longest.
    pub(super) range_seconds: (f64, f64),
    pub(super) bounds: Arc<[f64]>,
    /// One more than there are bounds.
    pub(super) buckets: Vec<u64>,
}

/// What every scope counts by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counted {
    /// All bounds that anybody wants of the histograms, ascending.
    pub(super) bounds: Arc<[f64]>,
    /// The request headers that `headerLabels` name.
    pub(super) headers: Arc<[HeaderName]>,
}

impl Cell {
    fn new(key: Key, workers: usize, buckets: usize) -> Self {
        let shard = || Shard {
            sum_nanos: AtomicU64::new(0),
            least_nanos: AtomicU64::new(u64::MAX),
            most_nanos: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            // One more for what is over the last bound.
            buckets: (0..=buckets).map(|_| AtomicU64::new(0)).collect(),
        };
        Self { key, shards: (0..workers.max(1)).map(|_| shard()).collect() }
    }

    fn add(&self, worker: usize, bucket: usize, duration: Duration, bytes: (u64, u64)) {
        let Some(shard) = self.shards.get(worker % self.shards.len().max(1)) else { return };
        if let Some(count) = shard.buckets.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        shard.sum_nanos.fetch_add(nanos, Relaxed);
        // Rarely written, so looked at first.
        if nanos < shard.least_nanos.load(Relaxed) {
            shard.least_nanos.fetch_min(nanos, Relaxed);
        }
        if nanos > shard.most_nanos.load(Relaxed) {
            shard.most_nanos.fetch_max(nanos, Relaxed);
        }
        if bytes.0 > 0 {
            shard.request_bytes.fetch_add(bytes.0, Relaxed);
        }
        if bytes.1 > 0 {
            shard.response_bytes.fetch_add(bytes.1, Relaxed);
        }
    }

    fn totals(&self, counting: &Counting) -> Totals {
        let mut totals = Totals {
            count: 0,
            request_bytes: 0,
            response_bytes: 0,
            started: counting.started,
            sum_seconds: 0.0,
            range_seconds: (0.0, 0.0),
            bounds: Arc::clone(&counting.by.bounds),
            buckets: Vec::new(),
        };
        let (mut least, mut most) = (u64::MAX, 0);
        for shard in &self.shards {
            totals.sum_seconds += Duration::from_nanos(shard.sum_nanos.load(Relaxed)).as_secs_f64();
            least = least.min(shard.least_nanos.load(Relaxed));
            most = most.max(shard.most_nanos.load(Relaxed));
            totals.request_bytes += shard.request_bytes.load(Relaxed);
            totals.response_bytes += shard.response_bytes.load(Relaxed);
            totals.buckets.resize(shard.buckets.len(), 0);
            for (sum, bucket) in totals.buckets.iter_mut().zip(&shard.buckets) {
                *sum += bucket.load(Relaxed);
            }
        }
        totals.count = totals.buckets.iter().sum();
        let seconds = |nanos| Duration::from_nanos(nanos).as_secs_f64();
        totals.range_seconds = (seconds(least.min(most)), seconds(most));
        totals
    }
}

/// The series of a scope by one set of bounds and headers.
#[derive(Debug)]
struct Counting {
    started: SystemTime,
    by: Counted,
    workers: usize,
    slots: [OnceLock<Arc<Cell>>; SLOTS],
    more: RwLock<HashMap<Key, Arc<Cell>>>,
    /// Counts by the values of `headerLabels`.
    by_header: RwLock<HashMap<(Key, HeaderValues), Arc<AtomicU64>>>,
}

/// What was counted by other bounds before: requests, and the bytes of both bodies.
type Earlier = BTreeMap<Key, (u64, u64, u64)>;

/// All series of one entry point, router or service.
#[derive(Debug)]
pub(super) struct Scope {
    /// When its counts began.
    pub(super) started: SystemTime,
    counting: ArcSwap<Counting>,
    /// Those before the present one; a request may just be counted by the last of them.
    retired: Mutex<(Earlier, Vec<Arc<Counting>>)>,
    /// Requests by TLS version and cipher suite.
    tls: [(OnceLock<TlsKind>, AtomicU64); TLS_KINDS],
    fine: Box<[Fine]>,
}

/// One worker's part of what the dashboard plots.
#[derive(Debug)]
#[repr(align(64))]
struct Fine {
    errors: AtomicU64,
    buckets: [AtomicU32; FINE_BUCKETS],
}

impl Counting {
    fn new(by: &Counted, workers: usize) -> Self {
        Self {
            started: SystemTime::now(),
            by: by.clone(),
            workers,
            slots: std::array::from_fn(|_| OnceLock::new()),
            more: RwLock::default(),
            by_header: RwLock::default(),
        }
    }

    fn record(
        &self,
        worker: usize,
        key: Key,
        duration: Duration,
        bytes: (u64, u64),
        headers: Option<&HeaderMap>,
    ) {
        let seconds = duration.as_secs_f64();
        let bucket = self.by.bounds.iter().position(|bound| seconds <= *bound);
        let bucket = bucket.unwrap_or(self.by.bounds.len());
        self.with_cell(key, |cell| cell.add(worker, bucket, duration, bytes));
        if let Some(headers) = headers.filter(|_| !self.by.headers.is_empty()) {
            let values = self.by.headers.iter().map(|name| header_value(headers, name));
            self.count_by_header(key, values.collect());
        }
    }

    fn with_cell(&self, key: Key, add: impl FnOnce(&Cell)) {
        let start = key.slot();
        // Two places per key: enough for nearly all, and never a walk.
        for slot in [start, (start + 1) % SLOTS] {
            let Some(slot) = self.slots.get(slot) else { continue };
            let cell =
                slot.get_or_init(|| Arc::new(Cell::new(key, self.workers, self.by.bounds.len())));
            if cell.key == key {
                return add(cell);
            }
        }
        if let Some(cell) = self.more.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return add(cell);
        }
        let mut more = self.more.write().unwrap_or_else(PoisonError::into_inner);
        let cell = more
            .entry(key)
            .or_insert_with(|| Arc::new(Cell::new(key, self.workers, self.by.bounds.len())));
        add(cell);
    }

    fn count_by_header(&self, key: Key, values: HeaderValues) {
        let name = (key, values);
        let known =
            self.by_header.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(count) = known {
            count.fetch_add(1, Relaxed);
            return;
        }
        let mut map = self.by_header.write().unwrap_or_else(PoisonError::into_inner);
        let name = if map.len() < MAX_HEADER_SETS {
            name
        } else {
            // Clients choose these values: past the bound they share one series.
            (key, name.1.iter().map(|_| Box::from("other")).collect())
        };
        map.entry(name).or_default().fetch_add(1, Relaxed);
    }

    /// All series seen so far, in no order.
    fn cells(&self) -> Vec<(Key, Totals)> {
        let slots = self.slots.iter().filter_map(OnceLock::get).map(Arc::clone);
        let more = self.more.read().unwrap_or_else(PoisonError::into_inner);
        let cells = slots.chain(more.values().cloned());
        let mut cells: Vec<_> = cells.map(|cell| (cell.key, cell.totals(self))).collect();
        // A slot is initialised before its first count.
        cells.retain(|(_, totals)| totals.count > 0);
        cells
    }
}

fn header_value(headers: &HeaderMap, name: &HeaderName) -> Box<str> {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.get(..128).unwrap_or(value).into()
}

impl Scope {
    pub(super) fn new(by: &Counted, workers: usize) -> Self {
        let fine = || Fine {
            errors: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
        };
        Self {
            started: SystemTime::now(),
            counting: ArcSwap::from_pointee(Counting::new(by, workers)),
            retired: Mutex::default(),
            tls: std::array::from_fn(|_| (OnceLock::new(), AtomicU64::new(0))),
            fine: (0..workers.max(1)).map(|_| fine()).collect(),
        }
    }

    /// Counts by others from now on: histograms begin anew, counters go on.
    pub(super) fn count_by(&self, by: &Counted) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let (earlier, last) = &mut *retired;
        // Nobody counts by these any more: their sums are all that is needed.
        let (idle, busy) = last.drain(..).partition(|one| Arc::strong_count(one) == 1);
        *last = busy;
        let idle: Vec<Arc<Counting>> = idle;
        for (key, totals) in idle.iter().flat_map(|one| one.cells()) {
            add(earlier.entry(key).or_default(), &totals);
        }
        last.push(self.counting.swap(Arc::new(Counting::new(by, self.fine.len()))));
    }

    /// Whether records need the request's headers.
    pub(super) fn needs_headers(&self) -> bool {
        !self.counting.load().by.headers.is_empty()
    }

    pub(super) fn record(
        &self,
        worker: usize,
        key: Key,
        duration: Duration,
        bytes: (u64, u64),
        headers: Option<&HeaderMap>,
    ) {
        self.counting.load().record(worker, key, duration, bytes, headers);
        let Some(fine) = self.fine.get(worker % self.fine.len().max(1)) else { return };
        if let Some(count) = fine.buckets.get(fine_bucket(duration)) {
            count.fetch_add(1, Relaxed);
        }
        if key.code >= 500 {
            fine.errors.fetch_add(1, Relaxed);
        }
    }

    /// Counts a request that came over TLS.
    pub(super) fn came_over(&self, version: &'static str, cipher: &'static str) {
        for (kind, count) in &self.tls {
            if *kind.get_or_init(|| (version, cipher)) == (version, cipher) {
                count.fetch_add(1, Relaxed);
                return;
            }
        }
    }

    /// Requests over TLS: version, cipher suite, how many.
    pub(super) fn over_tls(&self) -> Vec<(TlsKind, u64)> {
        let kinds = self.tls.iter().filter_map(|(kind, count)| Some((*kind.get()?, count)));
        let mut kinds: Vec<_> = kinds.map(|(kind, count)| (kind, count.load(Relaxed))).collect();
        kinds.sort_unstable();
        kinds
    }

    /// All series seen so far, ordered. Those that were only seen by other bounds have counts,
    /// and empty histograms.
    pub(super) fn cells(&self) -> Vec<(Key, Totals)> {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let counting = self.counting.load_full();
        let mut cells: BTreeMap<Key, Totals> = counting.cells().into_iter().collect();
        let last = retired.1.iter().flat_map(|one| one.cells());
        let last = last.map(|(key, totals)| (key, sums(&totals)));
        for (key, before) in retired.0.iter().map(|(key, sums)| (*key, *sums)).chain(last) {
            let none = || Cell::new(key, 0, counting.by.bounds.len()).totals(&counting);
            let totals = cells.entry(key).or_insert_with(none);
            totals.count += before.0;
            totals.request_bytes += before.1;
            totals.response_bytes += before.2;
        }
        cells.into_iter().collect()
    }

    /// Counts by values of `headerLabels`.
    pub(super) fn header_counts(&self) -> Vec<(Key, HeaderValues, u64)> {
        let counting = self.counting.load();
        let map = counting.by_header.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<_> = map
            .iter()
            .map(|((key, values), count)| (*key, values.clone(), count.load(Relaxed)))
            .collect();
        counts.sort();
        counts
    }

    /// Requests and errors so far, and the dashboard's histogram.
    pub(super) fn fine(&self) -> FineTotals {
        let mut totals = FineTotals { errors: 0, buckets: [0; FINE_BUCKETS] };
        for fine in &self.fine {
            totals.errors += fine.errors.load(Relaxed);
            for (sum, bucket) in totals.buckets.iter_mut().zip(&fine.buckets) {
                *sum = sum.wrapping_add(bucket.load(Relaxed));
            }
        }
        totals
    }
}

fn sums(totals: &Totals) -> (u64, u64, u64) {
    (totals.count, totals.request_bytes, totals.response_bytes)
}

fn add(sum: &mut (u64, u64, u64), totals: &Totals) {
    let (count, request_bytes, response_bytes) = sums(totals);
    *sum = (sum.0 + count, sum.1 + request_bytes, sum.2 + response_bytes);
}

/// What the dashboard plots, since the start of the process.
#[derive(Clone, Debug)]
pub(super) struct FineTotals {
    pub(super) errors: u64,
    pub(super) buckets: [u32; FINE_BUCKETS],
}

fn fine_bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1);
    let octave = micros.ilog2();
    if octave < 7 {
        return 0;
    }
    let half = (micros >> (octave - 1)) & 1;
    let bucket = u64::from(octave - 7) * 2 + half + 1;
    usize::try_from(bucket).unwrap_or(FINE_BUCKETS).min(FINE_BUCKETS - 1)
}

/// The upper bound of a bucket of the dashboard's histogram.
pub(super) fn fine_bound(bucket: usize) -> Duration {
    if bucket == 0 {
        return Duration::from_micros(128);
    }
    let base = 128_u64 << ((bucket - 1) / 2).min(40);
    Duration::from_micros(if (bucket - 1).is_multiple_of(2) { base + base / 2 } else { base * 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: u16, method: &http::Method) -> Key {
        Key::new(code, method, Protocol::Http)
    }

    #[test]
    fn counts_of_all_workers_are_summed_by_status_and_method() {
        let scope = Scope::new(&Counted::by(&[0.1, 1.0]), 2);
        for (worker, code, millis) in [(0, 200, 50), (1, 200, 500), (1, 200, 5000), (0, 404, 1)] {
            let key = key(code, &http::Method::GET);
            scope.record(worker, key, Duration::from_millis(millis), (10, 20), None);
        }

        let cells = scope.cells();

        assert_eq!(cells.len(), 2);
        assert_eq!(cells[0].1.count, 3);
        assert_eq!(cells[0].1.buckets, [1, 1, 1]);
        assert_eq!(cells[0].1.range_seconds, (0.05, 5.0));
        assert_eq!(cells[0].1.request_bytes, 30);
        assert_eq!(cells[1].0.code, 404);
    }

    #[test]
    fn more_combinations_than_slots_are_all_counted() {
        let scope = Scope::new(&Counted::by(&[1.0]), 1);
        for code in 200..600 {
            let key = key(code, &http::Method::GET);
            scope.record(0, key, Duration::from_millis(1), (0, 0), None);
        }

        assert_eq!(scope.cells().len(), 400);
    }

    #[test]
    fn with_other_bounds_counters_go_on_and_histograms_begin_anew() {
        let scope = Scope::new(&Counted::by(&[1.0]), 1);
        let (get, post) = (key(200, &http::Method::GET), key(200, &http::Method::POST));
        let record = |key| scope.record(0, key, Duration::from_millis(100), (1, 2), None);
        record(get);
        record(post);
        for bounds in [&[0.05, 0.5][..], &[0.5][..], &[0.05, 0.5][..]] {
            scope.count_by(&Counted::by(bounds));
            record(get);
        }

        let cells = scope.cells();

        let counts: Vec<_> = cells.iter().map(|(_, totals)| totals.count).collect();
        assert_eq!(counts, [4, 1]);
        assert_eq!((cells[0].1.request_bytes, cells[0].1.response_bytes), (4, 8));
        assert_eq!(cells[0].1.buckets, [0, 1, 0]);
        assert_eq!(cells[1].1.buckets, [0, 0, 0]);
        assert!(scope.retired.lock().unwrap().1.len() < 3);
    }

    #[test]
    fn methods_nobody_knows_share_one_series() {
        let odd = key(200, &http::Method::from_bytes(b"FROB").unwrap());

        assert_eq!(odd.method(), "EXTENSION_METHOD");
    }

    #[test]
    fn a_duration_lies_below_the_bound_of_its_bucket() {
        for micros in [1, 127, 128, 191, 192, 255, 256, 1000, 100_000, 5_000_000] {
            let duration = Duration::from_micros(micros);
            let bucket = fine_bucket(duration);

            assert!(duration < fine_bound(bucket), "{micros}");
            assert!(bucket == 0 || duration >= fine_bound(bucket - 1), "{micros}");
        }
    }
}
