//! Where in a cluster a key is, and what a node says that has it not.
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use super::Address;

/// Keys are kept in so many slots, each on one node.
const SLOTS: u16 = 16_384;

/// A node's answer that another one is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) to: Address,
    /// The slot is there for good; else for this command only.
    pub(super) is_for_good: bool,
}

impl Redirect {
    /// Reads `MOVED 3999 10.0.0.1:6381` and `ASK ...`. A node that does not know how it is
    /// reached leaves the host out: it is that of `from`.
    pub(super) fn parse(error: &str, from: &Address) -> Option<Self> {
        let mut words = error.split(' ');
        let is_for_good = match words.next()? {
            "MOVED" => true,
            "ASK" => false,
            _ => return None,
        };
        words.next()?.parse::<u16>().ok().filter(|slot| *slot < SLOTS)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let host = match host.trim_start_matches('[').trim_end_matches(']') {
            "" | "?" => from.host()?,
            host => host,
        };
        Some(Self { to: Address::of_node(host, port.parse().ok()?)?, is_for_good })
    }
}

/// The slot of a key: of what stands in its first braces, where there is anything in them.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tagged = memchr::memchr(b'{', key).and_then(|open| {
        let rest = key.get(open + 1..)?;
        rest.get(..memchr::memchr(b'}', rest)?).filter(|tag| !tag.is_empty())
    });
    crc16(tagged.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` says.
        for (key, wanted) in [
            ("123456789", 0x31c3),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("a{foo}{bar}", 12_182),
            ("{}foo", 9_500),
            ("rate:l@file:127.0.0.1", 7_254),
            ("", 0),
        ] {
            assert_eq!(slot(key.as_bytes()), wanted, "{key}");
        }
    }

    #[test]
    fn redirects_are_read() {
        let from = Address::parse("first:7000").unwrap();
        for (error, to) in [
            ("MOVED 3999 10.0.0.1:6381", Some(("10.0.0.1:6381", true))),
            ("ASK 3999 node.test:6381", Some(("node.test:6381", false))),
            ("MOVED 3999 :6381", Some(("first:6381", true))),
            ("MOVED 3999 ?:6381", Some(("first:6381", true))),
            ("MOVED 3999 ::1:6381", Some(("[::1]:6381", true))),
            ("MOVED 16384 10.0.0.1:6381", None),
            ("MOVED 1 10.0.0.1", None),
            ("MOVED 1 10.0.0.1:0", None),
            ("MOVED 1 a/b:1", None),
            ("MOVED", None),
            ("ERR MOVED 1 10.0.0.1:1", None),
        ] {
            let read = Redirect::parse(error, &from);

            let read = read.as_ref().map(|found| (found.to.as_str(), found.is_for_good));
            assert_eq!(read, to, "{error}");
        }
    }
}
