//! A line as JSON.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use super::{Captured, Line, client_host, clip};
use crate::observe::fields::Plan;

/// A JSON object with its keys in Traefik's (sorted) order.
pub(super) struct Object<'p> {
    pub(super) out: Vec<u8>,
    pub(super) plan: &'p Plan,
}

impl Object<'_> {
    pub(super) fn fields(&mut self, line: &Line<'_>, target: &str, count: u64) {
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
        let ids = exchange.trace.as_ref().map(|trace| trace.ids());
        let ids = ids.map(|(trace, span)| (trace.to_string(), span.to_string()));
        if let Some((_, span)) = &ids {
            self.text("SpanId", span);
        }
        let started = rfc3339(exchange.started_at);
        self.text("StartLocal", &started);
        self.text("StartUTC", &started);
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
        self.always("level", "info");
        self.always("msg", "");
        self.headers("origin_", line.origin_headers);
        self.headers("request_", line.request_headers);
        // As Traefik, whose logger has them by names of its own as well.
        if let Some((_, span)) = &ids {
            self.always("span_id", span);
        }
        self.always("time", &rfc3339_seconds(SystemTime::now()));
        if let Some((trace, _)) = &ids {
            self.always("trace_id", trace);
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
            self.always(&format!("{prefix}{name}"), value);
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        if self.plan.keeps(key) {
            self.always(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        if self.plan.keeps(key) {
            self.key(key);
            let _ = write!(self.out, "{value}");
        }
    }

    fn always(&mut self, key: &str, value: &str) {
        self.key(key);
        push_json(&mut self.out, clip(value));
    }

    fn key(&mut self, key: &str) {
        self.out.push(if self.out.is_empty() { b'{' } else { b',' });
        push_json(&mut self.out, key);
        self.out.push(b':');
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

fn push_json(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = serde_json::to_writer(&mut *out, text);
    if text.contains(['&', '<', '>']) {
        let written = String::from_utf8_lossy(out.get(start..).unwrap_or_default());
        let escaped =
            written.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        out.truncate(start);
        out.extend_from_slice(escaped.as_bytes());
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

fn rfc3339(at: SystemTime) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}

fn rfc3339_seconds(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let format = &time::format_description::well_known::Rfc3339;
    at.replace_nanosecond(0).unwrap_or(at).format(format).unwrap_or_default()
}
