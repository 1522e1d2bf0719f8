//! Protobuf's wire format, read as far as the agent's answers need it; and what they hold.
//! <https://protobuf.dev/programming-guides/encoding/>

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the workload API")]
pub struct Malformed;

/// The answer to `FetchX509SVID`, as far as it is used.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Response<'a> {
    pub(super) svids: Vec<Given<'a>>,
    /// Roots of other trust domains.
    pub(super) federated: Vec<(&'a str, &'a [u8])>,
}

/// One identity of several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Given<'a> {
    pub(super) id: &'a str,
    /// Certificates one behind the other, in DER.
    pub(super) chain: &'a [u8],
    pub(super) key: &'a [u8],
    /// Roots of its trust domain, like the chain.
    pub(super) bundle: &'a [u8],
}

/// Reads an answer.
pub(super) fn response(message: &[u8]) -> Result<Response<'_>, Malformed> {
    let mut response = Response::default();
    let mut rest = message;
    while let Some((field, value)) = next(&mut rest)? {
        match (field, value) {
            (1, Some(message)) => response.svids.push(given(message)?),
            (3, Some(message)) => response.federated.push(entry(message)?),
            _ => {}
        }
    }
    Ok(response)
}

fn given(message: &[u8]) -> Result<Given<'_>, Malformed> {
    let mut given = Given::default();
    let mut rest = message;
    while let Some((field, value)) = next(&mut rest)? {
        match (field, value) {
            (1, Some(id)) => given.id = text(id)?,
            (2, Some(chain)) => given.chain = chain,
            (3, Some(key)) => given.key = key,
            (4, Some(bundle)) => given.bundle = bundle,
            _ => {}
        }
    }
    Ok(given)
}

fn entry(message: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let mut entry: (&str, &[u8]) = ("", &[]);
    let mut rest = message;
    while let Some((field, value)) = next(&mut rest)? {
        match (field, value) {
            (1, Some(key)) => entry.0 = text(key)?,
            (2, Some(value)) => entry.1 = value,
            _ => {}
        }
    }
    Ok(entry)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// The next field and its bytes, where it has a length.
type Field<'a> = (u64, Option<&'a [u8]>);

/// Takes a field off; `None` at the end.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, Malformed> {
    if rest.is_empty() {
        return Ok(None);
    }
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => take(rest, 8).map(|_| None)?,
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| Malformed)?;
            Some(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| None)?,
        // Groups are of long ago.
        _ => return Err(Malformed),
    };
    Ok(Some((key >> 3, value)))
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for at in 0..10 {
        let (byte, left) = rest.split_first().ok_or(Malformed)?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::otlp::Writer;

    /// A message with these fields of bytes.
    pub(crate) fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::default();
        for (field, bytes) in fields {
            writer.bytes(*field, bytes);
        }
        writer.into_bytes()
    }

    #[test]
    fn an_answer_is_read_and_what_is_not_known_is_passed_over() {
        let svid = message(&[
            (1, b"spiffe://a/b"),
            (2, b"chain"),
            (3, b"key"),
            (4, b"roots"),
            (5, b"hint"),
        ]);
        let other = message(&[(1, b"b.test"), (2, b"theirs")]);
        let mut whole = message(&[(1, &svid), (2, b"crl"), (3, &other)]);
        whole.extend([0x48, 0xff, 0x01, 0x51, 1, 2, 3, 4, 5, 6, 7, 8, 0x55, 1, 2, 3, 4]);

        let read = response(&whole).unwrap();

        let given = Given { id: "spiffe://a/b", chain: b"chain", key: b"key", bundle: b"roots" };
        assert_eq!(read, Response { svids: vec![given], federated: vec![("b.test", b"theirs")] });
        assert_eq!(response(&[]), Ok(Response::default()));
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        let svid = message(&[(1, b"spiffe://a/b")]);
        let whole = message(&[(1, &svid)]);
        for end in 1..whole.len() {
            assert_eq!(response(&whole[..end]), Err(Malformed), "{end}");
        }
        for bytes in [&[0x80; 11][..], &[0x0b], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            assert_eq!(response(bytes), Err(Malformed), "{bytes:?}");
        }
        let not_text = message(&[(1, &message(&[(1, &[0xff])]))]);
        assert_eq!(response(&not_text), Err(Malformed));
    }
}
