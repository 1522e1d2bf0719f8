//! The MD5-based `crypt`: `$1$` as FreeBSD made it, `$apr1$` as Apache's `htpasswd` does.

use md5::{Digest, Md5};

const ROUNDS: u32 = 1000;
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Hashes a password: the 22 characters behind `$apr1$salt$`. Of the salt, eight
/// characters count.
pub(super) fn hash(password: &[u8], salt: &[u8], magic: &[u8]) -> String {
    let salt = salt.get(..8).unwrap_or(salt);
    let mut sum = first(password, salt, magic);
    for round in 0..ROUNDS {
        let mut hasher = Md5::new();
        let is_odd = round % 2 == 1;
        hasher.update(if is_odd { password } else { &sum });
        if round % 3 != 0 {
            hasher.update(salt);
        }
        if round % 7 != 0 {
            hasher.update(password);
        }
        hasher.update(if is_odd { &sum[..] } else { password });
        sum = hasher.finalize().into();
    }
    encode(sum)
}

fn first(password: &[u8], salt: &[u8], magic: &[u8]) -> [u8; 16] {
    let mut inner = Md5::new();
    for part in [password, salt, password] {
        inner.update(part);
    }
    let inner: [u8; 16] = inner.finalize().into();

    let mut outer = Md5::new();
    for part in [password, magic, salt] {
        outer.update(part);
    }
    for chunk in password.chunks(16) {
        outer.update(inner.get(..chunk.len()).unwrap_or(&inner));
    }
    let mut bits = password.len();
    while bits > 0 {
        // Meant to be a byte of the sum, but the first version cleared it; all others follow.
        let byte = if bits & 1 == 1 { &[0][..] } else { password.get(..1).unwrap_or_default() };
        outer.update(byte);
        bits >>= 1;
    }
    outer.finalize().into()
}

/// Base 64 of its own: another alphabet, the bytes shuffled, the low bits first.
fn encode(sum: [u8; 16]) -> String {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let at = |index: usize| u32::from(sum.get(index).copied().unwrap_or_default());
    let mut out = String::with_capacity(22);
    for [high, middle, low] in ORDER {
        push(&mut out, at(high) << 16 | at(middle) << 8 | at(low), 4);
    }
    push(&mut out, at(11), 2);
    out
}

fn push(out: &mut String, mut bits: u32, characters: u32) {
    for _ in 0..characters {
        let character = ALPHABET.get((bits & 63) as usize);
        out.extend(character.map(|byte| char::from(*byte)));
        bits >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_openssl() {
        for (magic, salt, password, hashed) in [
            ("$apr1$", "abcdefgh", "test", "/cesMUEGhga5MgaTGywaW0"),
            ("$apr1$", "a", "long password 0123456789 abcdef", "VO5PdzRfckwB0rVp6EDNw/"),
            ("$apr1$", "12345678", "", "sHuPAw7VA9xjRbJz7zKV7/"),
            ("$apr1$", "12345678longer", "", "sHuPAw7VA9xjRbJz7zKV7/"),
            ("$apr1$", "H6uskkkW", "test", "IgXLP6ewTrSuBkTrqE8wj/"),
            ("$1$", "saltsalt", "test", "tTWg0JeO/sYmHvtKmZE8c."),
        ] {
            let result = hash(password.as_bytes(), salt.as_bytes(), magic.as_bytes());

            assert_eq!(result, hashed, "{magic}{salt}");
        }
    }
}
