//! As much of DER (X.690) as OCSP needs: definite lengths and tags of one byte.

/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// Values that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value; `None` at the end, and for what is no DER.
    pub(super) fn next(&mut self) -> Option<Item<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            // Four bytes are more than any answer that is read.
            let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            rest = rest.get(count..)?;
            bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte))
        };
        if tag & 0x1f == 0x1f {
            return None;
        }
        let content = rest.get(..length)?;
        let rest = rest.get(length..)?;
        let whole = self.0.get(..self.0.len() - rest.len())?;
        self.0 = rest;
        Some(Item { tag, content, whole })
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag)
    }

    /// The same where it may be missing: nothing is taken then.
    pub(super) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let item = ahead.next().filter(|item| item.tag == tag)?;
        *self = ahead;
        Some(item.content)
    }

    /// What is in the next value, which must be a `SEQUENCE`.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.take(SEQUENCE).map(Reader)
    }
}

/// A value of these parts.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes: Vec<u8> = bytes.iter().copied().skip_while(|&byte| byte == 0).collect();
            // A `usize` has eight bytes at most.
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            out.extend(bytes);
        }
    }
    out.extend(parts.iter().flat_map(|part| part.iter()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_and_read() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let text = value(OCTET_STRING, &[&content]);
            let mut reader = Reader(&text);

            let item = reader.next().unwrap();

            assert_eq!((item.tag, item.content, item.whole), (OCTET_STRING, &*content, &*text));
            assert_eq!(reader.next(), None);
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_none() {
        for text in [
            &[][..],
            &[0x30],
            &[0x30, 0x01],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x82, 0x01],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 7],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 7],
            &[0x1f, 0x01, 0x00],
        ] {
            assert_eq!(Reader(text).next(), None, "{text:x?}");
        }
    }

    #[test]
    fn a_value_that_is_not_there_takes_nothing() {
        let text = value(INTEGER, &[&[5]]);
        let mut reader = Reader(&text);

        assert_eq!(reader.optional(0xa0), None);
        assert_eq!(reader.take(INTEGER), Some(&[5][..]));
    }
}
