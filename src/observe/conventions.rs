//! How long requests took, under the names of OpenTelemetry's conventions: those that came,
//! and those that were sent to servers. Only counted for a collector.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::Version;

use super::series::{METHODS, method_index};
use crate::otlp::{self, Distribution, Label};

/// Most different label sets of one worker; what comes after is told as one series, since hosts
/// are chosen by clients.
const MAX_SETS: usize = 2_000;

/// A set that got no request for so long is forgotten: addresses of containers come and go.
const IDLE: Duration = Duration::from_secs(3600);

/// A request that came or was sent.
#[derive(Clone, Copy, Debug)]
pub struct Took<'a> {
    /// The host as the client named it; of a server, its URL up to the path.
    pub host: &'a str,
    /// The method.
    pub method: &'a http::Method,
    /// The status; a server that did not answer counts as what the client is told.
    pub code: u16,
    /// As it came; requests to servers are told as HTTP/1.1, as by Traefik.
    pub version: Version,
    /// The client's scheme, for both.
    pub scheme: &'static str,
    /// From its head to the end of the answer; of a server, to the head of the answer.
    pub duration: Duration,
}

/// What tells one series from the next, beside the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Kind {
    method: u8,
    code: u16,
    version: Version,
    scheme: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    buckets: Vec<u64>,
    sum: f64,
    range: Option<(f64, f64)>,
}

impl Counts {
    fn add(&mut self, seconds: f64, bounds: &[f64]) {
        self.buckets.resize(bounds.len() + 1, 0);
        let bucket = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
        let (least, most) = self.range.unwrap_or((seconds, seconds));
        self.range = Some((least.min(seconds), most.max(seconds)));
    }

    fn join(&mut self, other: &Self) {
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.sum += other.sum;
        self.range = match (self.range, other.range) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// One worker's series.
#[derive(Debug, Default)]
struct Shard {
    by_host: HashMap<Box<str>, Vec<(Kind, Counts)>>,
    sets: usize,
    /// What is over the most.
    others: Counts,
}

/// A series' host and kind; `None` for what is over the most.
type Set = Option<(Box<str>, Kind)>;

/// Since when a series is told, and when it was last seen to grow.
#[derive(Debug)]
struct Told {
    since: u64,
    count: u64,
    grown: Instant,
}

/// Which of the two metrics it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Requests that came.
    Server,
    /// Requests that were sent to servers.
    Client,
}

/// One metric.
#[derive(Debug)]
pub(super) struct Durations {
    side: Side,
    bounds: Box<[f64]>,
    /// A lock of each worker's own, which others want for a moment at each push.
    shards: Box<[Mutex<Shard>]>,
    told: Mutex<(u64, HashMap<Set, Told>)>,
}

/// Bytes of a host and its port that has series of its own.
const LONGEST_HOST: usize = 260;

impl Durations {
    pub(super) fn new(side: Side, bounds: &[f64], workers: usize) -> Self {
        Self {
            side,
            bounds: bounds.into(),
            shards: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            told: Mutex::new((super::push::nanos(SystemTime::now()), HashMap::new())),
        }
    }

    pub(super) fn record(&self, worker: usize, took: &Took<'_>) {
        let Some(shard) = self.shards.get(worker % self.shards.len().max(1)) else { return };
        let kind = Kind {
            method: method_index(took.method),
            code: took.code,
            version: took.version,
            scheme: took.scheme,
        };
        let seconds = took.duration.as_secs_f64();
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { by_host, sets, others } = &mut *shard;
        // No name is longer (RFC 1035, section 2.3.4), and each is kept for an hour.
        if took.host.len() > LONGEST_HOST {
            return others.add(seconds, &self.bounds);
        }
        let kinds = by_host.get_mut(took.host);
        let known = kinds.and_then(|kinds| kinds.iter_mut().find(|(each, _)| *each == kind));
        if let Some((_, counts)) = known {
            counts.add(seconds, &self.bounds);
        } else if *sets < MAX_SETS {
            *sets += 1;
            let mut counts = Counts::default();
            counts.add(seconds, &self.bounds);
            by_host.entry(took.host.into()).or_default().push((kind, counts));
        } else {
            others.add(seconds, &self.bounds);
        }
    }

    /// Tells all series, and forgets what has not grown for long.
    pub(super) fn push(&self, out: &mut otlp::Metrics, now: u64, clock: Instant) {
        let all = self.all();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, sets) = &mut *told;
        let (name, about) = match self.side {
            Side::Server => ("http.server.request.duration", "How long requests took"),
            Side::Client => ("http.client.request.duration", "How long servers took to answer"),
        };
        out.histogram(name, about, |metric| {
            for (set, counts) in &all {
                let count = counts.count();
                let new = Told { since: *last, count: 0, grown: clock };
                let told = sets.entry(set.clone()).or_insert(new);
                if std::mem::replace(&mut told.count, count) != count {
                    told.grown = clock;
                }
                let data = Distribution {
                    sum: counts.sum,
                    range: counts.range.unwrap_or_default(),
                    counts: &counts.buckets,
                    bounds: &self.bounds,
                };
                self.with_labels(set, |labels| metric.distribution(labels, told.since, &data));
            }
        });
        *last = now;
        let is_idle = |told: &Told| clock.saturating_duration_since(told.grown) > IDLE;
        let idle: Vec<_> = sets.extract_if(|_, told| is_idle(told)).map(|(set, _)| set).collect();
        for (host, kind) in idle.into_iter().flatten() {
            self.forget(&host, kind);
        }
    }

    fn all(&self) -> BTreeMap<Set, Counts> {
        let mut all = BTreeMap::<Set, Counts>::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (host, kinds) in &shard.by_host {
                for (kind, counts) in kinds {
                    all.entry(Some((host.clone(), *kind))).or_default().join(counts);
                }
            }
            if shard.others.count() > 0 {
                all.entry(None).or_default().join(&shard.others);
            }
        }
        all
    }

    fn forget(&self, host: &str, kind: Kind) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Shard { by_host, sets, .. } = &mut *shard;
            let Some(kinds) = by_host.get_mut(host) else { continue };
            let before = kinds.len();
            kinds.retain(|(each, _)| *each != kind);
            *sets -= before - kinds.len();
            if kinds.is_empty() {
                by_host.remove(host);
            }
        }
    }

    fn with_labels(&self, set: &Set, tell: impl FnOnce(&[(&str, Label<'_>)])) {
        let Some((host, kind)) = set else {
            return tell(&[("otel.metric.overflow", Label::Bool(true))]);
        };
        let code = kind.code.to_string();
        let (protocol, version) = match kind.version {
            Version::HTTP_10 => ("http/1.0", "1.0"),
            Version::HTTP_2 => ("http/2.0", "2"),
            Version::HTTP_3 => ("http/3.0", "3"),
            _ => ("http/1.1", "1.1"),
        };
        let method = METHODS.get(usize::from(kind.method)).copied().unwrap_or("_OTHER");
        let mut labels: Vec<(&str, Label<'_>)> = vec![
            ("http.request.method", method.into()),
            ("http.response.status_code", Label::Int(kind.code.into())),
            ("network.protocol.name", protocol.into()),
            ("network.protocol.version", version.into()),
            ("url.scheme", kind.scheme.into()),
        ];
        if kind.code >= 400 {
            labels.push(("error.type", (&*code).into()));
        }
        match self.side {
            Side::Server => labels.push(("server.address", (&**host).into())),
            Side::Client => {
                let (address, port) = server(host);
                labels.push(("server.address", address.into()));
                labels.push(("server.port", Label::Int(port.into())));
            }
        }
        tell(&labels);
    }
}

/// `host:port` of a URL without its path, and the port.
fn server(url: &str) -> (&str, u16) {
    let (scheme, address) = url.split_once("://").unwrap_or(("http", url));
    let default = if scheme == "https" { 443 } else { 80 };
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    (address, port.unwrap_or(default))
}

/// A server's URL up to its path.
pub(super) fn without_path(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find('/')).map(|at| start + at);
    end.and_then(|end| url.get(..end)).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(host: &str, code: u16) -> Took<'_> {
        Took {
            host,
            method: &http::Method::GET,
            code,
            version: Version::HTTP_11,
            scheme: "http",
            duration: Duration::from_millis(20),
        }
    }

    fn told(durations: &Durations, now: u64, clock: Instant) -> Vec<u8> {
        let mut out = otlp::Metrics::new(now);
        durations.push(&mut out, now, clock);
        out.into_parts().flatten().collect()
    }

    #[test]
    fn requests_of_all_workers_are_one_series() {
        let durations = Durations::new(Side::Server, &[0.01, 0.1], 2);
        durations.record(0, &took("a.test", 200));
        durations.record(1, &took("a.test", 200));
        durations.record(1, &took("a.test", 404));

        let all = durations.all();

        let counts: Vec<_> = all.values().map(|counts| counts.buckets.clone()).collect();
        assert_eq!(counts, [[0, 2, 0], [0, 1, 0]]);
    }

    #[test]
    fn hosts_that_clients_make_up_are_bounded() {
        let durations = Durations::new(Side::Server, &[1.0], 1);
        for number in 0..MAX_SETS + 7 {
            durations.record(0, &took(&format!("{number}.test"), 200));
        }

        let all = durations.all();

        assert_eq!(all.len(), MAX_SETS + 1);
        assert_eq!(all.get(&None).unwrap().count(), 7);
    }

    #[test]
    fn what_has_not_grown_for_long_is_forgotten_and_begins_anew() {
        let durations = Durations::new(Side::Client, &[1.0], 1);
        let start = Instant::now();
        durations.record(0, &took("http://10.0.0.1:80", 200));
        assert!(!told(&durations, 10, start).is_empty());
        assert!(!told(&durations, 20, start + IDLE / 2).is_empty());
        told(&durations, 30, start + IDLE + Duration::from_secs(1));
        assert!(told(&durations, 40, start + IDLE * 2).is_empty());

        durations.record(0, &took("http://10.0.0.1:80", 200));

        assert_eq!(durations.all().values().next().unwrap().count(), 1);
        assert!(!told(&durations, 50, start + IDLE * 2).is_empty());
        let since: Vec<_> =
            durations.told.lock().unwrap().1.values().map(|told| told.since).collect();
        assert_eq!(since, [40]);
    }

    #[test]
    fn a_servers_address_and_port_are_read_from_its_url() {
        for (url, address, port) in [
            ("http://app:8080/base/x", "app:8080", 8080),
            ("https://app", "app", 443),
            ("h2c://[::1]:81/", "[::1]:81", 81),
            ("http://[::1]", "[::1]", 80),
        ] {
            assert_eq!(server(without_path(url)), (address, port), "{url}");
        }
    }
}
