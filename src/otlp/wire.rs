//! Protobuf's wire format, as far as OTLP uses it. Writing by hand is a page of code; the
//! generated types of `opentelemetry-proto` would cost `prost`, `opentelemetry` and its sdk,
//! and an allocation for each attribute of each span.

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty message with room for that many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Fields that were written before.
    pub fn raw(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    /// A whole number; 0 is the default and not written.
    pub fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.key(field, VARINT);
            self.varint(value);
        }
    }

    /// Eight bytes, also when they are 0.
    pub fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, FIXED64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Four bytes, also when they are 0.
    pub fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, FIXED32);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A floating point number, also when it is 0.
    pub fn double(&mut self, field: u32, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// Text; empty is the default and not written.
    pub fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// Bytes, or a message that was written before.
    pub fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// Many numbers of eight bytes each.
    pub fn packed(&mut self, field: u32, values: impl ExactSizeIterator<Item = u64>) {
        self.key(field, LENGTH);
        self.varint(values.len() as u64 * 8);
        for value in values {
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A message in this one. Its length is written behind what came before, then moved: most
    /// are shorter than 128 bytes, for which one byte was kept.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.key(field, LENGTH);
        let start = self.out.len();
        self.out.push(0);
        write(self);
        let length = self.out.len() - start - 1;
        if let (Ok(short @ 0..0x80), Some(place)) = (u8::try_from(length), self.out.get_mut(start))
        {
            *place = short;
            return;
        }
        let end = self.out.len();
        self.varint(length as u64);
        let size = self.out.len() - end;
        if let Some(written) = self.out.get_mut(start + 1..) {
            written.rotate_right(size);
        }
        self.out.remove(start);
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven bits are kept on purpose")]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// A list of attributes: which field of its message it is differs from message to message.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    out: Writer,
    field: u32,
}

impl Attributes {
    /// An empty list, to be that field of its message.
    pub fn of(field: u32) -> Self {
        Self { out: Writer::default(), field }
    }

    /// The list as fields of its message.
    pub fn as_bytes(&self) -> &[u8] {
        self.out.as_bytes()
    }

    /// Text, also when empty.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.put(key, |any| any.bytes(1, value.as_bytes()))
    }

    /// A whole number, also when it is 0.
    pub fn int(&mut self, key: &str, value: i64) -> &mut Self {
        self.put(key, |any| {
            any.key(3, VARINT);
            any.varint(value.cast_unsigned());
        })
    }

    /// Yes or no.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.put(key, |any| {
            any.key(2, VARINT);
            any.varint(value.into());
        })
    }

    /// A list of texts.
    pub fn texts<'v>(&mut self, key: &str, values: impl Iterator<Item = &'v str>) -> &mut Self {
        self.put(key, |any| {
            any.message(5, |list| {
                for value in values {
                    list.message(1, |any| any.bytes(1, value.as_bytes()));
                }
            });
        })
    }

    fn put(&mut self, key: &str, value: impl FnOnce(&mut Writer)) -> &mut Self {
        self.out.message(self.field, |pair| {
            pair.text(1, key);
            pair.message(2, value);
        });
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a field holds.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) enum Value {
        Number(u64),
        Bytes(Vec<u8>),
    }

    /// The fields of a message, by protobuf's rules and not by the writer's.
    pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, Value)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in 0.. {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << (7 * shift);
                if byte < 0x80 {
                    return value;
                }
            }
            unreachable!()
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                wire => {
                    let length = match wire {
                        1 => 8,
                        5 => 4,
                        2 => usize::try_from(varint(&mut bytes)).unwrap(),
                        other => panic!("wire type {other}"),
                    };
                    let (value, rest) = bytes.split_at(length);
                    bytes = rest;
                    Value::Bytes(value.to_vec())
                }
            };
            found.push((key >> 3, value));
        }
        found
    }

    #[test]
    fn numbers_texts_and_messages_are_protobufs() {
        let mut writer = Writer::default();
        writer.number(1, 150);
        writer.text(2, "testing");
        writer.message(3, |inner| inner.number(1, 150));
        writer.fixed32(4, 1);
        writer.text(5, "");
        writer.number(6, 0);

        // The first three are the examples of protobuf's own documentation.
        let bytes = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01\x25\x01\0\0\0";
        assert_eq!(writer.as_bytes(), bytes);
    }

    proptest! {
        #[test]
        fn a_message_of_any_length_is_read_back(lengths in prop::collection::vec(0_usize..40_000, 0..4)) {
            let mut writer = Writer::default();
            writer.message(7, |outer| {
                for length in &lengths {
                    outer.message(1, |inner| inner.raw(&vec![9; *length]));
                }
                outer.number(2, 5);
            });

            let Value::Bytes(outer) = fields(writer.as_bytes()).remove(0).1 else { panic!() };
            let mut wanted: Vec<_> =
                lengths.iter().map(|length| (1, Value::Bytes(vec![9; *length]))).collect();
            wanted.push((2, Value::Number(5)));
            prop_assert_eq!(fields(&outer), wanted);
        }
    }

    #[test]
    fn attributes_are_pairs_of_a_key_and_any_value() {
        let mut attributes = Attributes::of(9);
        attributes.text("a", "").int("b", -1).texts("c", ["x", "y"].into_iter());

        let values: Vec<_> = fields(attributes.as_bytes())
            .into_iter()
            .map(|(field, pair)| {
                let Value::Bytes(pair) = pair else { panic!() };
                let [(1, Value::Bytes(key)), (2, Value::Bytes(any))] = &fields(&pair)[..] else {
                    panic!("{pair:?}")
                };
                (field, String::from_utf8(key.clone()).unwrap(), fields(any))
            })
            .collect();

        let list = b"\x0a\x03\x0a\x01x\x0a\x03\x0a\x01y".to_vec();
        assert_eq!(
            values,
            [
                (9, "a".to_owned(), vec![(1, Value::Bytes(Vec::new()))]),
                (9, "b".to_owned(), vec![(3, Value::Number(u64::MAX))]),
                (9, "c".to_owned(), vec![(5, Value::Bytes(list))]),
            ]
        );
    }
}
