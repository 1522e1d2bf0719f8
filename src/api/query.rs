//! Percent-encoding of queries and path segments.

use std::fmt::Write;

/// The parameters of a query, decoded, in order. A pair that is not decodable is left out.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key, Plus::Space)?, decode(value, Plus::Space)?))
        });
        Self(decoded.collect())
    }

    /// The first value; empty when there is none.
    pub(super) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }
}

/// What a `+` means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Space,
    Plus,
}

/// A path segment decoded; `None` when an escape is broken or the result is no UTF-8.
pub(super) fn decode_segment(text: &str) -> Option<String> {
    decode(text, Plus::Plus)
}

fn decode(text: &str, plus: Plus) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' if plus == Plus::Space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Encodes a text so that it can be one path segment or one query value.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'@') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("search=a%20b+c&page=2&&bad=%zz&search=second&flag"));

        assert_eq!(query.get("search"), "a b c");
        assert_eq!(query.get("page"), "2");
        assert_eq!(query.get("bad"), "");
        assert_eq!(query.get("nosuch"), "");
    }

    #[test]
    fn segments_come_back_as_they_were() {
        for text in ["web@docker", "slashed/name@file", "<script>", "ü %2F+", ".."] {
            assert_eq!(decode_segment(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(decode_segment("%f"), None);
        assert_eq!(decode_segment("%ff"), None);
    }
}
