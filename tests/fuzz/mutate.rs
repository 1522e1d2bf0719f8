//! Texts grown from seeds: bytes flipped, cut, doubled, swapped, and words of the grammar
//! put in, as a small copy of what coverage-guided fuzzers do.

use std::time::{SystemTime, UNIX_EPOCH};

/// Longest text made.
const LONGEST: usize = 4096;

/// Makes inputs.
pub(crate) struct Mutator {
    state: u64,
    pool: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

/// A seed from the clock.
pub(crate) fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) << 20 ^ now.as_secs()
}

impl Mutator {
    pub(crate) fn new(seed: u64, seeds: &[&str], words: &'static [&'static str]) -> Self {
        let pool = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
        // A multiplier spreads small seeds; zero would stay zero.
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, pool, words }
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// The next text. Now and then one is kept to grow from.
    pub(crate) fn next_input(&mut self) -> Vec<u8> {
        let from = self.below(self.pool.len());
        let mut input = self.pool.get(from).cloned().unwrap_or_default();
        for _ in 0..=self.below(6) {
            self.edit(&mut input);
        }
        input.truncate(LONGEST);
        if self.below(64) == 0 && self.pool.len() < 256 {
            self.pool.push(input.clone());
        }
        input
    }

    fn edit(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        match self.below(8) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = u8::try_from(self.random() & 0xff).unwrap_or(0);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.random() & 7);
                }
            }
            2 => {
                let end = at + self.below(input.len() - at + 1).min(16);
                input.drain(at..end);
            }
            3 => {
                let end = at + self.below(input.len() - at + 1).min(64);
                let copy: Vec<u8> = input.get(at..end).unwrap_or_default().to_vec();
                input.splice(at..at, copy);
            }
            4 => input.truncate(at),
            5 => {
                let odd = [0, b'\n', b'\r', b'`', b'"', b'\\', b'(', b')', b'[', b'%', 0xc3, 0xff];
                let byte = odd.get(self.below(odd.len())).copied().unwrap_or(0);
                input.insert(at, byte);
            }
            _ => {
                let word = self.words.get(self.below(self.words.len())).copied().unwrap_or("");
                input.splice(at..at, word.bytes());
            }
        }
    }
}
