//! The metrics as a collector is told them: Traefik's names, units and attributes over OTLP.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};

use super::kept::{Kept, Reader, all};
use super::labels::{Labels, family_of, key_labels, scope_labels};
use super::metrics::{Metrics, ScopeName};
use super::series::{Key, Scope, Totals};
use crate::otlp::{self, Distribution, Metric};

/// A point without labels.
const NONE: &[(&str, &str)] = &[];

/// One series of requests, as it is told.
struct Series<'a> {
    scope: &'a ScopeName,
    since: u64,
    code: String,
    key: Key,
    totals: Totals,
}

impl Series<'_> {
    fn labels(&self) -> Labels<'_> {
        key_labels(&self.code, self.key, &scope_labels(self.scope))
    }
}

impl Metrics {
    /// What a collector is told now, in parts for one export each.
    pub fn pushed(&self) -> Vec<Vec<u8>> {
        let now = nanos(SystemTime::now());
        let mut out = otlp::Metrics::new(now);
        self.push_process(&mut out);
        self.push_connections(&mut out);
        let scopes = self.alive(&self.scopes, Reader::Push);
        let shown = self.shape().push.shown;
        for (is_shown, family, on) in [
            (shown.entry_points, "entrypoint", "on an entry point"),
            (shown.routers, "router", "on a router"),
            (shown.services, "service", "on a service"),
        ] {
            if is_shown {
                let members: Vec<_> =
                    scopes.iter().filter(|(name, _)| family_of(name) == family).collect();
                self.push_requests(&mut out, family, on, &members);
            }
        }
        if shown.services {
            self.push_services(&mut out);
            self.push_servers(&mut out);
            self.push_generations(&mut out);
        }
        for durations in self.served.iter().chain(self.sent.as_deref()) {
            durations.push(&mut out, now, Instant::now());
        }
        out.into_parts().collect()
    }

    fn push_process(&self, out: &mut otlp::Metrics) {
        let since = nanos(self.started);
        let mut counter = |name: &str, about: &str, value: u64| {
            out.counter(name, about, |metric| metric.number(NONE, since, float(value)));
        };
        counter("traefik_config_reloads_total", "Config reloads", self.reloads.load(Relaxed));
        let about = "Panics that cost a connection";
        counter("wharf_panics_total", about, self.panics.load(Relaxed));
        let about = "Access log lines that were dropped, the log being too slow";
        counter("wharf_access_log_dropped_lines_total", about, self.lines.dropped.load(Relaxed));
        let last = self.last_reload.load(Relaxed);
        let name = "traefik_config_last_reload_success";
        // Seconds since 1970. The unit is Traefik's, and part of the name at some collectors.
        out.gauge(name, "When the configuration was last loaded", "ms", |metric| {
            metric.number(NONE, since, float(last.cast_unsigned()));
        });
        let connected = self.engine_connected.load(Relaxed);
        if connected >= 0 {
            let about = "1 while the Docker engine's events come in";
            out.gauge("wharf_docker_connected", about, "1", |metric| {
                metric.number(NONE, since, float(connected.cast_unsigned()));
            });
        }
        let about = "Spans and records that did not reach their collector";
        out.counter("wharf_otlp_dropped_total", about, |metric| {
            for (signal, count) in self.unsent() {
                metric.number(&[("signal", signal)], since, float(count));
            }
        });
    }

    fn push_connections(&self, out: &mut otlp::Metrics) {
        let since = nanos(self.started);
        let name = "traefik_open_connections";
        out.gauge(name, "Open connections by entry point and protocol", "1", |metric| {
            for ((entry_point, protocol), open) in self.alive(&self.connections, Reader::Push) {
                let labels = [("entrypoint", &*entry_point), ("protocol", protocol)];
                metric.number(&labels, since, signed(open.load(Relaxed)));
            }
        });
        let name = "traefik_tls_certs_not_after";
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        out.gauge(name, "When certificates end, in seconds since 1970", "s", |metric| {
            for ((cn, serial, sans), end) in &*certificates {
                let labels = [("cn", &**cn), ("serial", &**serial), ("sans", &**sans)];
                metric.number(&labels, since, signed(*end));
            }
        });
        drop(certificates);
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let about = "Orders for certificates by resolver and result";
        out.counter("wharf_acme_orders_total", about, |metric| {
            for ((resolver, is_obtained), count) in &*orders {
                let result = if *is_obtained { "obtained" } else { "failed" };
                let labels = [("resolver", &**resolver), ("result", result)];
                metric.number(&labels, since, float(*count));
            }
        });
    }

    fn push_requests(
        &self,
        out: &mut otlp::Metrics,
        family: &str,
        on: &str,
        members: &[&(ScopeName, Arc<Scope>)],
    ) {
        let series: Vec<_> = members
            .iter()
            .flat_map(|(name, scope)| {
                let since = nanos(scope.started);
                scope.cells().into_iter().map(move |(key, totals)| Series {
                    scope: name,
                    since,
                    code: key.code.to_string(),
                    key,
                    totals,
                })
            })
            .collect();
        let mut count = |what: &str, about: &str, value: fn(&Totals) -> u64| {
            let name = format!("traefik_{family}_{what}_total");
            let about = format!("{about} {on}, by status, method and protocol");
            out.counter(&name, &about, |metric| {
                for one in &series {
                    metric.number(&one.labels(), one.since, float(value(&one.totals)));
                }
            });
        };
        count("requests", "HTTP requests", |totals| totals.count);
        count("requests_bytes", "Bytes of requests' bodies", |totals| totals.request_bytes);
        count("responses_bytes", "Bytes of answers' bodies", |totals| totals.response_bytes);
        let name = format!("traefik_{family}_request_duration_seconds");
        let about = format!("How long requests took {on}, by status, method and protocol");
        out.histogram(&name, &about, |metric| {
            for one in &series {
                self.durations(metric, one);
            }
        });
        let name = format!("traefik_{family}_requests_tls_total");
        let about = format!("HTTP requests over TLS {on}, by version and cipher suite");
        out.counter(&name, &about, |metric| match family {
            "entrypoint" => self.push_tls_of_connections(metric),
            _ => push_tls(metric, members),
        });
    }

    fn durations(&self, metric: &mut Metric, one: &Series<'_>) {
        let shape = self.shape();
        let data = Distribution {
            sum: one.totals.sum_seconds,
            range: one.totals.range_seconds,
            counts: &shape.push.buckets(&one.totals.bounds, &one.totals.buckets),
            bounds: &shape.push.bounds,
        };
        metric.distribution(&one.labels(), nanos(one.totals.started), &data);
    }

    /// Those of entry points are counted by connection.
    fn push_tls_of_connections(&self, metric: &mut Metric) {
        let since = nanos(self.started);
        for ((entry_point, version, cipher), count) in all(&self.tls_requests) {
            let labels =
                [("tls_version", version), ("tls_cipher", cipher), ("entrypoint", &*entry_point)];
            metric.number(&labels, since, float(count.load(Relaxed)));
        }
    }

    fn push_services(&self, out: &mut otlp::Metrics) {
        let since = nanos(self.started);
        let mut by_service = |name: &str, about: &str, counts: &Kept<Arc<str>, _>| {
            let counts = self.alive(counts, Reader::Push);
            out.counter(name, about, |metric| {
                for (service, count) in &counts {
                    let count: &std::sync::atomic::AtomicU64 = count;
                    let count = count.load(Relaxed);
                    if count > 0 {
                        metric.number(&[("service", &**service)], since, float(count));
                    }
                }
            });
        };
        let about = "Requests that were sent again, by service";
        by_service("traefik_service_retries_total", about, &self.retries);
        let about = "Copies for mirrors that were not made, too many being on their way";
        by_service("wharf_mirror_copies_dropped_total", about, &self.dropped_copies);
        let name = "traefik_service_server_up";
        out.gauge(name, "1 while a server passes its health checks, else 0", "1", |metric| {
            for ((service, url), up) in self.alive(&self.server_up, Reader::Push) {
                let labels = [("service", &*service), ("url", &*url)];
                metric.number(&labels, since, signed(up.load(Relaxed)));
            }
        });
    }
}

fn push_tls(metric: &mut Metric, members: &[&(ScopeName, Arc<Scope>)]) {
    for (name, scope) in members {
        for ((version, cipher), count) in scope.over_tls() {
            let mut labels = vec![("tls_version", version), ("tls_cipher", cipher)];
            labels.extend(scope_labels(name));
            metric.number(&labels, nanos(scope.started), float(count));
        }
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// As Traefik: whole numbers, too, are told as floating point.
#[expect(clippy::cast_precision_loss, reason = "a count of 2^53 need not be exact")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "as above")]
pub(super) fn signed(value: i64) -> f64 {
    value as f64
}
