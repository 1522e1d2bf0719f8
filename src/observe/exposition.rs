//! `/metrics`: the text that scrapers read.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::kept::{Kept, Reader, all};
use super::labels::{family_of, key_labels, scope_labels};
use super::metrics::{Metrics, ScopeName};
use super::process::Process;
use super::series::Scope;

/// Prints the metrics.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

impl Exposition {
    /// An exposition of these metrics.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Everything(metrics)));
        Self { registry }
    }

    /// The text and its content type, by the scraper's `Accept`.
    pub fn render(&self, accept: Option<&str>) -> (&'static str, String) {
        let mut text = String::new();
        // Writing to a string does not fail; what was written until a failure is still true.
        let _ = text::encode(&mut text, &self.registry);
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            return (OPEN_METRICS, text);
        }
        (CLASSIC, classic(&text))
    }
}

/// OpenMetrics to the older format: counters are named with their `_total`, no `# EOF`.
fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            continue;
        }
        let counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        if let Some(rest) = line.strip_prefix("# HELP ")
            && lines.peek().is_some_and(|next| counter(next))
            && let Some((name, help)) = rest.split_once(' ')
        {
            push(&mut out, &["# HELP ", name, "_total ", help]);
        } else if counter(line)
            && let Some(name) =
                line.strip_prefix("# TYPE ").and_then(|l| l.strip_suffix(" counter"))
        {
            push(&mut out, &["# TYPE ", name, "_total counter"]);
        } else if let Some((name, rest)) = line.split_once("_bucket{le=\"")
            && let Some((bound, rest)) = rest.split_once(".0\"")
            && !bound.contains('"')
        {
            // As Go prints them: queries name `le="5"`.
            push(&mut out, &[name, "_bucket{le=\"", bound, "\"", rest]);
        } else {
            push(&mut out, &[line]);
        }
    }
    out
}

fn push(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
    out.push('\n');
}

#[derive(Debug)]
struct Everything(Arc<Metrics>);

impl Collector for Everything {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &*self.0;
        self.process_wide(&mut encoder)?;
        self.connections_and_tls(&mut encoder)?;
        let scopes = metrics.alive(&metrics.scopes, Reader::Scrape);
        let shown = metrics.shape().scrape.shown;
        for (on, family) in [
            (shown.entry_points, "entrypoint"),
            (shown.routers, "router"),
            (shown.services, "service"),
        ] {
            if on {
                let members: Vec<_> =
                    scopes.iter().filter(|(name, _)| family_of(name) == family).collect();
                self.requests(&mut encoder, family, &members)?;
            }
        }
        if shown.services {
            self.services(&mut encoder)?;
        }
        process(&mut encoder, &Process::read(metrics.started))
    }
}

impl Everything {
    fn process_wide(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &*self.0;
        counter(
            encoder,
            "traefik_config_reloads",
            "Config reloads",
            metrics.reloads.load(Relaxed),
        )?;
        gauge(
            encoder,
            "traefik_config_last_reload_success",
            "Last config reload success",
            metrics.last_reload.load(Relaxed),
        )?;
        let help = "Panics that cost a connection";
        counter(encoder, "wharf_panics", help, metrics.panics.load(Relaxed))?;
        let help = "Access log lines dropped because the log could not be written fast enough";
        counter(
            encoder,
            "wharf_access_log_dropped_lines",
            help,
            metrics.lines.dropped.load(Relaxed),
        )?;
        let unsent = metrics.unsent();
        if !unsent.is_empty() {
            let help = "Spans and records that did not reach their OpenTelemetry collector";
            let name = "wharf_otlp_dropped";
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (signal, count) in unsent {
                let labels = vec![("signal", signal)];
                family
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let connected = metrics.engine_connected.load(Relaxed);
        if connected >= 0 {
            gauge(encoder, "wharf_docker_connected", "1 while engine events come in", connected)?;
            let help = "Calls made to the Docker engine";
            counter(encoder, "wharf_docker_calls", help, metrics.engine_calls.load(Relaxed))?;
        }
        Ok(())
    }

    fn connections_and_tls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &*self.0;
        let help = "How many open connections exist, by entryPoint and protocol";
        let mut family =
            encoder.encode_descriptor("traefik_open_connections", help, None, MetricType::Gauge)?;
        for ((entry_point, protocol), open) in metrics.alive(&metrics.connections, Reader::Scrape) {
            let labels = vec![("entrypoint", &*entry_point), ("protocol", protocol)];
            family.encode_family(&labels)?.encode_gauge(&open.load(Relaxed))?;
        }
        let help = "Certificate expiration timestamp";
        let mut family = encoder.encode_descriptor(
            "traefik_tls_certs_not_after",
            help,
            None,
            MetricType::Gauge,
        )?;
        let certificates = metrics.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        for ((cn, serial, sans), end) in &*certificates {
            let labels = vec![("cn", &**cn), ("serial", &**serial), ("sans", &**sans)];
            family.encode_family(&labels)?.encode_gauge(end)?;
        }
        drop(certificates);
        let orders = metrics.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if !orders.is_empty() {
            let help = "Orders for certificates, by resolver and result";
            let mut family =
                encoder.encode_descriptor("wharf_acme_orders", help, None, MetricType::Counter)?;
            for ((resolver, is_obtained), count) in &*orders {
                let result = if *is_obtained { "obtained" } else { "failed" };
                let labels = vec![("resolver", &**resolver), ("result", result)];
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        drop(orders);
        if !metrics.shape().scrape.shown.entry_points {
            return Ok(());
        }
        let help = "How many HTTP requests with TLS processed on an entrypoint, partitioned by TLS version and TLS cipher used";
        let name = "traefik_entrypoint_requests_tls";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((entry_point, version, cipher), count) in all(&metrics.tls_requests) {
            let labels = vec![
                ("tls_version", version),
                ("tls_cipher", cipher),
                ("entrypoint", &*entry_point),
            ];
            let count = count.load(Relaxed);
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn requests(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        family: &str,
        members: &[&(ScopeName, Arc<Scope>)],
    ) -> fmt::Result {
        let series: Vec<_> = members
            .iter()
            .flat_map(|(name, scope)| {
                let cells = scope.cells().into_iter();
                cells.map(move |(key, totals)| (name, key.code.to_string(), key, totals))
            })
            .collect();
        let on = match family {
            "entrypoint" => "on an entrypoint",
            "router" => "on a router",
            _ => "on a service",
        };
        let by = "partitioned by status code, protocol, and method";
        self.totals(
            encoder,
            family,
            &format!("How many HTTP requests are processed {on}, {by}"),
            members,
        )?;

        Self::over_tls(encoder, family, on, members)?;

        let name = format!("traefik_{family}_request_duration_seconds");
        let help = format!("How long it took to process the request {on}, {by}");
        let shape = self.0.shape();
        let mut histogram = encoder.encode_descriptor(&name, &help, None, MetricType::Histogram)?;
        for (scope, code, key, totals) in &series {
            let labels = key_labels(code, *key, &scope_labels(scope));
            let view = &shape.scrape;
            let bounds = view.bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<_> =
                bounds.zip(view.buckets(&totals.bounds, &totals.buckets)).collect();
            histogram.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                totals.sum_seconds,
                buckets.iter().map(|(_, count)| count).sum(),
                &buckets,
                None,
            )?;
        }
        for (which, what) in [("requests", "requests"), ("responses", "responses")] {
            let name = format!("traefik_{family}_{which}_bytes");
            let help = format!("The total size of {what} in bytes handled {on}, {by}");
            let mut bytes = encoder.encode_descriptor(&name, &help, None, MetricType::Counter)?;
            for (scope, code, key, totals) in &series {
                let count =
                    if which == "requests" { totals.request_bytes } else { totals.response_bytes };
                let labels = key_labels(code, *key, &scope_labels(scope));
                bytes.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    /// `requests_tls_total`; those of entry points are counted by connection.
    fn over_tls(
        encoder: &mut DescriptorEncoder<'_>,
        family: &str,
        on: &str,
        members: &[&(ScopeName, Arc<Scope>)],
    ) -> fmt::Result {
        if family == "entrypoint" {
            return Ok(());
        }
        let name = format!("traefik_{family}_requests_tls");
        let help = format!(
            "How many HTTP requests with TLS are processed {on}, partitioned by TLS version and \
             TLS cipher used"
        );
        let mut counter = encoder.encode_descriptor(&name, &help, None, MetricType::Counter)?;
        for (scope_name, scope) in members {
            for ((version, cipher), count) in scope.over_tls() {
                let mut labels = vec![("tls_version", version), ("tls_cipher", cipher)];
                labels.extend(scope_labels(scope_name));
                counter
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    /// `requests_total`, by header values too when `headerLabels` are set.
    fn totals(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        family: &str,
        help: &str,
        members: &[&(ScopeName, Arc<Scope>)],
    ) -> fmt::Result {
        let shape = self.0.shape();
        let name = format!("traefik_{family}_requests");
        let mut counter = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (scope_name, scope) in members {
            let own = scope_labels(scope_name);
            if shape.header_labels.is_empty() {
                for (key, totals) in scope.cells() {
                    let code = key.code.to_string();
                    let labels = key_labels(&code, key, &own);
                    let count = totals.count;
                    counter
                        .encode_family(&labels)?
                        .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
                continue;
            }
            for (key, values, count) in scope.header_counts() {
                let code = key.code.to_string();
                let mut labels = key_labels(&code, key, &own);
                let names = shape.header_labels.iter().map(|label| &**label);
                labels.extend(names.zip(values.iter().map(|value| &**value)));
                counter
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "How many request retries happened on a service";
        by_service(encoder, "traefik_service_retries", help, &self.0, &self.0.retries)?;
        let help = "How many copies for mirrors were not made, too many being on their way";
        by_service(encoder, "wharf_mirror_copies_dropped", help, &self.0, &self.0.dropped_copies)?;
        let help = "How many requests waited for a server in vain, or met too many that wait";
        by_service(encoder, "wharf_hold_refused", help, &self.0, &self.0.servers.refused)?;
        let help = "How many times a server was taken out that failed where the others did not";
        by_service(encoder, "wharf_ejections", help, &self.0, &self.0.servers.ejections)?;
        self.0.encode_servers(encoder)?;
        self.0.encode_generations(encoder)?;
        let help = "service server is up, described by gauge value of 0 or 1";
        let mut family = encoder.encode_descriptor(
            "traefik_service_server_up",
            help,
            None,
            MetricType::Gauge,
        )?;
        for ((service, url), up) in self.0.alive(&self.0.server_up, Reader::Scrape) {
            let labels = vec![("service", &*service), ("url", &*url)];
            family.encode_family(&labels)?.encode_gauge(&up.load(Relaxed))?;
        }
        Ok(())
    }
}

/// A counter of services; those that count nothing yet are left out.
fn by_service(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metrics: &Metrics,
    counts: &Kept<Arc<str>, AtomicU64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (service, count) in metrics.alive(counts, Reader::Scrape) {
        let count = count.load(Relaxed);
        if count > 0 {
            let labels = vec![("service", &*service)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

fn process(encoder: &mut DescriptorEncoder<'_>, process: &Process) -> fmt::Result {
    if let Some(seconds) = process.cpu_seconds {
        let help = "Total user and system CPU time spent in seconds";
        encoder
            .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
    }
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory size in bytes", process.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes", process.virtual_bytes),
        ("process_open_fds", "Number of open file descriptors", process.open_fds),
        ("process_max_fds", "Maximum number of open file descriptors", process.max_fds),
        ("process_threads", "Number of threads", process.threads),
    ] {
        if let Some(value) = value {
            gauge(encoder, name, help, value)?;
        }
    }
    if let Some(seconds) = process.start_seconds {
        let help = "Start time of the process since unix epoch in seconds";
        encoder
            .encode_descriptor("process_start_time_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&seconds)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Sample;
    use super::*;
    use crate::message::Protocol;
    use crate::settings;

    fn metrics() -> Arc<Metrics> {
        let prometheus = settings::Prometheus::default();
        Metrics::new(&settings::Metrics { prometheus: Some(prometheus), ..Default::default() }, 2)
    }

    fn sample(code: u16, millis: u64) -> Sample<'static> {
        Sample {
            code,
            method: &http::Method::GET,
            protocol: Protocol::Http,
            duration: Duration::from_millis(millis),
            request_bytes: 3,
            response_bytes: 1000,
            headers: None,
            tls: None,
        }
    }

    #[test]
    fn a_request_shows_under_traefiks_names_labels_and_buckets() {
        let metrics = metrics();
        let service = metrics.service("web@docker");
        service.record(0, &sample(200, 50));
        service.record(1, &sample(200, 500));

        let (kind, text) = Exposition::new(metrics).render(None);

        assert_eq!(kind, CLASSIC);
        let labels = r#"code="200",method="GET",protocol="http",service="web@docker""#;
        for line in [
            "# TYPE traefik_service_requests_total counter".to_owned(),
            format!("traefik_service_requests_total{{{labels}}} 2"),
            "# TYPE traefik_service_request_duration_seconds histogram".to_owned(),
            format!("traefik_service_request_duration_seconds_bucket{{le=\"0.1\",{labels}}} 1"),
            format!("traefik_service_request_duration_seconds_bucket{{le=\"5\",{labels}}} 2"),
            format!("traefik_service_request_duration_seconds_bucket{{le=\"+Inf\",{labels}}} 2"),
            format!("traefik_service_request_duration_seconds_count{{{labels}}} 2"),
            format!("traefik_service_responses_bytes_total{{{labels}}} 2000"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn requests_over_tls_stay_counted_when_no_connection_is_open() {
        let metrics = metrics();
        let tls = crate::message::TlsInfo {
            version: "1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            server_name: None,
            options: "default".into(),
            client_subject: None,
            client_certificates: Box::default(),
        };
        metrics.tls_requests("web", &tls).fetch_add(1, Relaxed);
        let exposition = Exposition::new(metrics);

        for scrape in 0..3 {
            let (_, text) = exposition.render(None);

            assert!(text.contains("traefik_entrypoint_requests_tls_total{"), "{scrape}: {text}");
        }
    }

    #[test]
    fn a_scraper_that_asks_for_open_metrics_gets_it() {
        let (kind, text) = Exposition::new(metrics())
            .render(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"));

        assert_eq!(kind, OPEN_METRICS);
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn quotes_in_names_are_escaped() {
        let metrics = metrics();
        let service = metrics.service("a\"b\\c@docker");
        service.record(0, &sample(200, 1));

        let (_, text) = Exposition::new(metrics).render(None);

        assert!(text.contains(r#"service="a\"b\\c@docker""#), "{text}");
    }
}
