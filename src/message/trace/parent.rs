//! W3C Trace Context: who asked, and whether that was sampled.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::otlp::{SpanId, TraceId};

/// Its field names.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` that is kept with a span; the standard asks for 512.
const LONGEST_STATE: usize = 512;

/// What `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) is_sampled: bool,
}

impl Parent {
    /// Reads `00-<32 hex>-<16 hex>-<2 hex>`; later versions may have more behind it. Anything
    /// else, and ids of zeros, is as if nothing had been sent.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (version, rest) = text.split_at_checked(2)?;
        let version = number(version)?;
        let (fields, more) = rest.split_at_checked(53)?;
        let is_well_formed = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|byte| *byte == b'-'),
        };
        let dash = |at: usize| fields.get(at) == Some(&b'-');
        if !(is_well_formed && dash(0) && dash(33) && dash(50)) {
            return None;
        }
        let trace = number(fields.get(1..33)?)?;
        let span = u64::try_from(number(fields.get(34..50)?)?).ok()?;
        let flags = number(fields.get(51..53)?)?;
        (trace != 0 && span != 0 && (version != 0 || flags <= 2)).then_some(Self {
            trace: TraceId(trace.to_be_bytes()),
            span: SpanId(span.to_be_bytes()),
            is_sampled: flags & 1 == 1,
        })
    }

    /// The one of these fields; several are none.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value.as_bytes())
    }

    /// As a field for whom we ask.
    pub(super) fn value(self) -> Option<HeaderValue> {
        let flags = u8::from(self.is_sampled);
        HeaderValue::try_from(format!("00-{}-{}-{flags:02x}", self.trace, self.span)).ok()
    }
}

/// Lower case hexadecimal digits.
fn number(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0_u128, |sum, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u128::from(digit))
    })
}

/// `tracestate` as sent, to go with the spans of a trace that goes on here.
pub(super) fn state(headers: &HeaderMap) -> Box<str> {
    let mut values = headers.get_all(TRACESTATE).iter().filter_map(|value| value.to_str().ok());
    let first = values.next().unwrap_or_default();
    let state = values.fold(first.to_owned(), |state, more| state + "," + more);
    if state.len() > LONGEST_STATE { Box::default() } else { state.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_and_written_as_it_came() {
        let parent = Parent::parse(GOOD.as_bytes()).unwrap();

        assert!(parent.is_sampled);
        assert_eq!(parent.value().unwrap(), GOOD);
    }

    #[test]
    fn what_is_no_parent_is_none() {
        for (text, is_parent) in [
            (GOOD.to_owned(), true),
            (GOOD.replace("-01", "-00"), true),
            (format!("{}-more", GOOD.replacen("00-", "01-", 1)), true),
            (format!("{}more", GOOD.replacen("00-", "01-", 1)), false),
            (format!("{GOOD}-more"), false),
            (GOOD.replacen("00-", "ff-", 1), false),
            (GOOD.replace('f', "F"), false),
            (GOOD.replace("-01", "-0"), false),
            (GOOD.replace("00f067aa0ba902b7", "0000000000000000"), false),
            (GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
            (GOOD.replace("-00f", "_00f"), false),
            ("00-zz-1".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(Parent::parse(text.as_bytes()).is_some(), is_parent, "{text}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(Parent::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(Parent::of(&headers), None);
    }

    #[test]
    fn the_state_of_several_fields_is_joined_and_bounded() {
        let mut headers = HeaderMap::new();
        headers.append(TRACESTATE, HeaderValue::from_static("a=b"));
        headers.append(TRACESTATE, HeaderValue::from_static("c=d"));
        assert_eq!(&*state(&headers), "a=b,c=d");
        headers.append(TRACESTATE, HeaderValue::try_from("x".repeat(600)).unwrap());
        assert_eq!(&*state(&headers), "");
    }
}
