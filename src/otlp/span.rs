//! Spans.

use std::fmt;

use super::wire::{Attributes, Writer};

/// Which trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// Which span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Within the process.
    Internal,
    /// A request that came.
    Server,
    /// A request that was sent.
    Client,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is said of it.
    #[default]
    Unset,
    /// It failed.
    Error,
}

/// Which span something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// The trace is told to a collector.
    pub is_sampled: bool,
}

/// A span that has begun.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its id.
    pub id: SpanId,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// That one is another process's.
    pub is_parent_remote: bool,
    /// What it is called.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// What is known of it.
    pub attributes: Attributes,
    /// How it went.
    pub outcome: Outcome,
}

/// The field of a span that its attributes are.
const ATTRIBUTES: u32 = 9;
/// The field of a scope that spans are.
const SPAN: u32 = 2;
/// It was sampled, and it is said whether the parent is another process's.
const SAMPLED: u32 = 0x101;
/// The parent is another process's.
const REMOTE: u32 = 0x200;

impl Span {
    /// A span that begins.
    pub fn new(
        id: SpanId,
        parent: Option<SpanId>,
        name: &'static str,
        kind: Kind,
        start: u64,
    ) -> Self {
        Self {
            id,
            parent,
            is_parent_remote: false,
            name,
            kind,
            start,
            attributes: Attributes::of(ATTRIBUTES),
            outcome: Outcome::Unset,
        }
    }

    /// Writes the span, which has ended, as one of the items of a scope. `name` is what it is
    /// called in place of its own name, where that is not known beforehand.
    pub fn write(&self, out: &mut Writer, trace: TraceId, state: &str, name: &str, end: u64) {
        out.message(SPAN, |span| {
            span.bytes(1, &trace.0);
            span.bytes(2, &self.id.0);
            span.text(3, state);
            if let Some(parent) = self.parent {
                span.bytes(4, &parent.0);
            }
            span.text(5, name);
            let kind = match self.kind {
                Kind::Internal => 1,
                Kind::Server => 2,
                Kind::Client => 3,
            };
            span.number(6, kind);
            span.fixed64(7, self.start);
            span.fixed64(8, end.max(self.start));
            span.raw(self.attributes.as_bytes());
            if self.outcome == Outcome::Error {
                span.message(15, |status| status.number(3, 2));
            }
            span.fixed32(16, if self.is_parent_remote { SAMPLED | REMOTE } else { SAMPLED });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::{Value, fields};
    use super::*;

    #[test]
    fn a_span_is_otlps() {
        let trace = TraceId([1; 16]);
        let mut span = Span::new(SpanId([2; 8]), Some(SpanId([3; 8])), "GET", Kind::Server, 10);
        span.is_parent_remote = true;
        span.outcome = Outcome::Error;
        span.attributes.text("k", "v");
        let mut out = Writer::default();

        span.write(&mut out, trace, "a=b", "GET", 30);

        let (2, Value::Bytes(bytes)) = fields(out.as_bytes()).remove(0) else { panic!() };
        let bytes_of = |text: &[u8]| Value::Bytes(text.to_vec());
        assert_eq!(
            fields(&bytes),
            [
                (1, bytes_of(&[1; 16])),
                (2, bytes_of(&[2; 8])),
                (3, bytes_of(b"a=b")),
                (4, bytes_of(&[3; 8])),
                (5, bytes_of(b"GET")),
                (6, Value::Number(2)),
                (7, bytes_of(&10_u64.to_le_bytes())),
                (8, bytes_of(&30_u64.to_le_bytes())),
                (9, bytes_of(b"\x0a\x01k\x12\x03\x0a\x01v")),
                (15, bytes_of(&[0x18, 2])),
                (16, bytes_of(&0x301_u32.to_le_bytes())),
            ]
        );
    }

    #[test]
    fn ids_are_printed_in_hex_with_their_zeros() {
        assert_eq!(SpanId([0, 0, 0, 0, 0, 0, 1, 0xab]).to_string(), "00000000000001ab");
        assert_eq!(TraceId([0; 16]).to_string().len(), 32);
    }
}
