//! Log records.

use super::span::SpanContext;
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
    /// When it happened, in nanoseconds since 1970.
    pub time: u64,
    /// When it was written down, likewise.
    pub observed: u64,
    /// How grave.
    pub severity: Severity,
    /// The same in words; may be empty.
    pub level: &'a str,
    /// What happened.
    pub body: &'a str,
    /// What is known of it.
    pub attributes: Attributes,
    /// The request that it belongs to.
    pub span: Option<SpanContext>,
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
            if let Some(of) = self.span {
                record.fixed32(8, of.is_sampled.into());
                record.bytes(9, &of.trace.0);
                record.bytes(10, &of.span.0);
            }
            record.fixed64(11, self.observed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::{Value, fields};
    use super::super::{SpanId, TraceId};
    use super::*;

    #[test]
    fn a_record_is_otlps() {
        let mut attributes = Record::attributes();
        attributes.text("k", "v");
        let of = SpanContext { trace: TraceId([1; 16]), span: SpanId([2; 8]), is_sampled: true };
        let record = Record {
            time: 5,
            observed: 6,
            severity: Severity::Info,
            level: "info",
            body: "",
            attributes,
            span: Some(of),
        };
        let mut out = Writer::default();

        record.write(&mut out);

        let (2, Value::Bytes(bytes)) = fields(out.as_bytes()).remove(0) else { panic!() };
        let bytes_of = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
        assert_eq!(
            fields(&bytes),
            [
                (1, bytes_of(&5_u64.to_le_bytes())),
                (2, Value::Number(9)),
                (3, bytes_of(b"info")),
                (5, bytes_of(b"\x0a\x00")),
                (6, bytes_of(b"\x0a\x01k\x12\x03\x0a\x01v")),
                (8, bytes_of(&1_u32.to_le_bytes())),
                (9, bytes_of(&[1; 16])),
                (10, bytes_of(&[2; 8])),
                (11, bytes_of(&6_u64.to_le_bytes())),
            ]
        );
    }
}
