//! A line in the common log format, with Traefik's further fields or without.

use std::io::Write as _;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::macros::format_description;

use super::{Line, client_host, clip};
use crate::observe::fields::Plan;

/// The line; `count` is the request's number, which `genericCLF` and what follows it lack. As
/// in Traefik a field that is dropped is `-`, but for the duration, which is 0.
pub(super) fn line(plan: &Plan, line: &Line<'_>, target: &str, count: Option<u64>) -> Vec<u8> {
    let exchange = line.exchange;
    let mut out = Out { bytes: Vec::with_capacity(256), plan };
    out.text("ClientHost", &client_host(line));
    out.raw(" - ");
    out.text("ClientUsername", exchange.user.as_deref().unwrap_or("-"));
    out.raw(" [");
    out.text("StartUTC", &clf_time(exchange.started_at));
    out.raw("] \"");
    out.text("RequestMethod", line.method);
    out.raw(" ");
    out.text("RequestPath", target);
    out.raw(" ");
    out.shown("RequestProtocol", format_args!("{:?}", line.version));
    out.raw("\" ");
    out.shown("DownstreamStatus", format_args!("{}", line.status));
    out.raw(" ");
    out.shown("DownstreamContentSize", format_args!("{}", line.response_bytes));
    // Headers have modes of their own, by which they were captured.
    out.raw(" \"");
    push_escaped(&mut out.bytes, line.request_headers.get("Referer"));
    out.raw("\" \"");
    push_escaped(&mut out.bytes, line.request_headers.get("User-Agent"));
    out.raw("\"");
    if let Some(count) = count {
        out.raw(" ");
        out.shown("RequestCount", format_args!("{count}"));
        out.raw(" \"");
        out.text("RouterName", line.router.unwrap_or("-"));
        out.raw("\" \"");
        out.text("ServiceURL", exchange.served.server.as_deref().unwrap_or("-"));
        let millis = if plan.keeps("Duration") { line.duration.as_millis() } else { 0 };
        let _ = write!(out.bytes, "\" {millis}ms");
    }
    out.raw("\n");
    out.bytes
}

struct Out<'p> {
    bytes: Vec<u8>,
    plan: &'p Plan,
}

impl Out<'_> {
    fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, field: &str, value: &str) {
        push_escaped(&mut self.bytes, if self.plan.keeps(field) { value } else { "-" });
    }

    fn shown(&mut self, field: &str, value: std::fmt::Arguments<'_>) {
        if self.plan.keeps(field) {
            // Writing to a vector does not fail.
            let _ = self.bytes.write_fmt(value);
        } else {
            self.bytes.push(b'-');
        }
    }
}

/// Quotes, backslashes and control bytes as `\xNN`, so that one record stays one line.
fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in clip(text).bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            _ => out.push(byte),
        }
    }
}

fn clf_time(at: SystemTime) -> String {
    let format =
        format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}
