//! A line as a record for a collector, as Traefik tells it.

use std::time::SystemTime;

use super::line::Out;
use super::{Line, clip};
use crate::observe::push::nanos;
use crate::otlp::{Attributes, Record, Severity, Writer};

impl Out for Attributes {
    fn text(&mut self, key: &str, value: &str) {
        Self::text(self, key, clip(value));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.int(key, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn time(&mut self, key: &str, at: SystemTime) {
        self.number(key, nanos(at));
    }

    fn own(&mut self, _key: &str, _value: &str) {}
}

/// The record: the line is its body, and what it says are its attributes.
pub(super) fn record(line: &Line<'_>, text: &[u8], attributes: Attributes) -> Vec<u8> {
    let record = Record {
        time: nanos(line.exchange.started_at),
        observed: nanos(SystemTime::now()),
        severity: Severity::Info,
        level: "info",
        body: &String::from_utf8_lossy(text),
        attributes,
        span: line.exchange.trace.as_ref().map(|trace| trace.context()),
    };
    let mut out = Writer::with_capacity(2048);
    record.write(&mut out);
    out.into_bytes()
}
