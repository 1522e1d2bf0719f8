//! What holds of the framer for any bytes: no panic, and cutting them differently changes
//! nothing (`security.md` section 13).

use proptest::prelude::*;

use super::framer::{Framer, Hold};

const PARTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b=\"c\" HTTP/1.1\r\n",
    "GET /x HTTP/1.0\r\n",
    "PRI * HTTP/2.0\r\n",
    "Host: a\r\n",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\n",
    "X: y\r\n",
    " folded\r\n",
    "bad name: z\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    "5\r\nhello\r\n",
    "5;x=y\r\nhello\r\n",
    "-1\r\n",
    "0\r\n\r\n",
    "0\r\nT: v\r\n\r\n",
    "\0",
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        20 => proptest::sample::select(PARTS).prop_map(|part| part.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(part, 0..14).prop_map(|parts| parts.concat())
}

/// How many bytes and heads passed, and how it ended.
fn feed(bytes: &[u8], cut: impl Fn(usize) -> usize) -> (usize, u64, Hold) {
    let mut framer = Framer::new(4096);
    let (mut bytes_left, mut passed, mut heads, mut at) = (Vec::new(), 0, 0, 0);
    let mut hold = Hold::Nothing;
    while at < bytes.len() {
        let end = (at + cut(at).max(1)).min(bytes.len());
        bytes_left.extend_from_slice(&bytes[at..end]);
        at = end;
        loop {
            let progress = framer.advance(&bytes_left, true);
            assert!(progress.pass <= bytes_left.len());
            bytes_left.drain(..progress.pass);
            passed += progress.pass;
            heads += progress.heads;
            hold = progress.hold;
            if progress.pass == 0 || bytes_left.is_empty() {
                break;
            }
        }
        if !matches!(hold, Hold::Nothing | Hold::Partial) {
            break;
        }
    }
    (passed, heads, hold)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn cutting_the_bytes_differently_changes_nothing(bytes in bytes(), seed in any::<usize>()) {
        let whole = feed(&bytes, |_| usize::MAX / 2);

        prop_assert_eq!(feed(&bytes, |_| 1), whole);
        prop_assert_eq!(feed(&bytes, |at| seed.wrapping_mul(at | 1) % 7 + 1), whole);
    }
}
