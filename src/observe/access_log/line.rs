//! What a line says, whatever it is written as.

use std::time::{Duration, SystemTime};

use super::{Captured, Line, client_host};
use crate::observe::fields::Plan;

/// Where fields are written to, in Traefik's (sorted) order.
pub(super) trait Out {
    fn text(&mut self, key: &str, value: &str);
    fn number(&mut self, key: &str, value: u64);
    fn time(&mut self, key: &str, at: SystemTime);
    /// What only a line by itself needs to say.
    fn own(&mut self, key: &str, value: &str);
}

/// Writes the fields that are wanted of a line.
pub(super) struct Fields<'p, O> {
    pub(super) plan: &'p Plan,
    pub(super) out: O,
}

impl<O: Out> Fields<'_, O> {
    pub(super) fn tell(&mut self, line: &Line<'_>, target: &str, count: u64, now: &str) {
        let exchange = line.exchange;
        let peer = exchange.connection.peer;
        let served = &exchange.served;
        let waited = served.first_byte.unwrap_or_default();
        self.text("ClientAddr", &peer.to_string());
        self.text("ClientHost", &client_host(line));
        self.text("ClientPort", &peer.port().to_string());
        self.text("ClientUsername", exchange.user.as_deref().unwrap_or("-"));
        self.number("DownstreamContentSize", line.response_bytes);
        self.number("DownstreamStatus", u64::from(line.status));
        self.number("Duration", nanos(line.duration));
        let (origin_size, origin_status) = origin_of(line);
        self.number("OriginContentSize", origin_size);
        self.number("OriginDuration", nanos(waited));
        self.number("OriginStatus", u64::from(origin_status));
        self.number("Overhead", nanos(line.duration.saturating_sub(waited)));
        self.request(line, target, count);
        if let Some(router) = line.router {
            self.text("RouterName", router);
        }
        if let Some(address) = &served.server_address {
            self.text("ServiceAddr", address);
        }
        if let Some(service) = line.service {
            self.text("ServiceName", service);
        }
        if let Some(url) = &served.server {
            self.text("ServiceURL", url);
        }
        let of = exchange.trace.as_ref().map(|trace| trace.context());
        let ids = of.map(|of| (of.trace.to_string(), of.span.to_string()));
        if let Some((_, span)) = &ids {
            self.text("SpanId", span);
        }
        self.time("StartLocal", exchange.started_at);
        self.time("StartUTC", exchange.started_at);
        if let Some(tls) = &exchange.connection.tls {
            self.text("TLSCipher", tls.cipher);
            if let Some(subject) = &tls.client_subject {
                self.text("TLSClientSubject", subject);
            }
            self.text("TLSVersion", tls.version);
        }
        if let Some((trace, _)) = &ids {
            self.text("TraceId", trace);
        }
        self.headers("downstream_", line.response_headers);
        self.text("entryPointName", &exchange.connection.entry_point.name);
        self.out.own("level", "info");
        self.out.own("msg", "");
        self.headers("origin_", line.origin_headers);
        self.headers("request_", line.request_headers);
        // As Traefik, whose logger has them by names of its own as well.
        if let Some((_, span)) = &ids {
            self.text("span_id", span);
        }
        self.out.own("time", now);
        if let Some((trace, _)) = &ids {
            self.text("trace_id", trace);
        }
    }

    fn request(&mut self, line: &Line<'_>, target: &str, count: u64) {
        let (name, port) = split_port(line.host);
        self.text("RequestAddr", line.host);
        self.number("RequestContentSize", line.request_bytes);
        self.number("RequestCount", count);
        self.text("RequestHost", name);
        self.text("RequestMethod", line.method);
        self.text("RequestPath", target);
        self.text("RequestPort", port.unwrap_or("-"));
        self.text("RequestProtocol", &format!("{:?}", line.version));
        self.text(
            "RequestScheme",
            if line.exchange.connection.tls.is_some() { "https" } else { "http" },
        );
        self.number("RetryAttempts", u64::from(line.exchange.served.retries));
    }

    fn headers(&mut self, prefix: &str, headers: &Captured) {
        let mut sorted: Vec<_> = headers.0.iter().collect();
        sorted.sort();
        for (name, value) in sorted {
            self.out.text(&format!("{prefix}{name}"), value);
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        if self.plan.keeps(key) {
            self.out.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        if self.plan.keeps(key) {
            self.out.number(key, value);
        }
    }

    fn time(&mut self, key: &str, at: SystemTime) {
        if self.plan.keeps(key) {
            self.out.time(key, at);
        }
    }
}

/// The server's size and status. As Traefik: 0 where no server was asked, our own answer's
/// where one was and gave none.
fn origin_of(line: &Line<'_>) -> (u64, u16) {
    let served = &line.exchange.served;
    match served.origin_status {
        Some(status) => (served.origin_size.unwrap_or_default(), status),
        None if served.server.is_some() => (line.response_bytes, line.status),
        None => (0, 0),
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, Some(port))
        }
        _ => (host, None),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
