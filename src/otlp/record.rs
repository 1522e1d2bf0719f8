//! Log records.

use super::span::{SpanId, TraceId};
use super::wire::{Attributes, Writer};

/// How grave a record is, as OpenTelemetry numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Everything.
    Trace = 1,
    /// For whoever looks for a fault.
    Debug = 5,
    /// What happened.
    Info = 9,
    /// What may go wrong.
    Warn = 13,
    /// What went wrong.
    Error = 17,
}

/// The field of a record that its attributes are.
const ATTRIBUTES: u32 = 6;
/// The field of a scope that records are.
const RECORD: u32 = 2;

/// One log record.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// How grave.
    pub severity: Severity,
    /// The same in words.
    pub level: &'a str,
    /// What happened.
    pub body: &'a str,
    /// What is known of it.
    pub attributes: Attributes,
    /// The request that it belongs to.
    pub span: Option<(TraceId, SpanId)>,
}

impl Record<'_> {
    /// An empty list of attributes for a record.
    pub fn attributes() -> Attributes {
        Attributes::of(ATTRIBUTES)
    }

    /// Writes it as one of the items of a scope.
    pub fn write(&self, out: &mut Writer) {
        out.message(RECORD, |record| {
            record.fixed64(1, self.time);
            record.number(2, self.severity as u64);
            record.text(3, self.level);
            record.message(5, |any| any.bytes(1, self.body.as_bytes()));
            record.raw(self.attributes.as_bytes());
            if let Some((trace, span)) = self.span {
                record.bytes(9, &trace.0);
                record.bytes(10, &span.0);
            }
            record.fixed64(11, self.time);
        });
    }
}
