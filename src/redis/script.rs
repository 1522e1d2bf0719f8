//! A script of one key, as it is sent: by its hash, and whole to a server that has it not.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

use super::resp;

/// A script with its arguments; all but the key is written once.
pub struct Script {
    by_hash: Vec<u8>,
    whole: Vec<u8>,
    arguments: Vec<u8>,
}

impl Script {
    /// A script in Lua that takes one key and these arguments.
    pub fn new(text: &str, arguments: &[String]) -> Self {
        let head = |command: &str, what: &str| {
            let mut out = Vec::new();
            resp::count(&mut out, arguments.len() + 4);
            for part in [command, what, "1"] {
                resp::push(&mut out, part.as_bytes());
            }
            out
        };
        let mut hash = String::new();
        for byte in Sha1::digest(text) {
            let _ = write!(hash, "{byte:02x}");
        }
        let mut written = Vec::new();
        for argument in arguments {
            resp::push(&mut written, argument.as_bytes());
        }
        Self { by_hash: head("EVALSHA", &hash), whole: head("EVAL", text), arguments: written }
    }

    pub(super) fn by_hash(&self, key: &[u8]) -> Vec<u8> {
        self.command(&self.by_hash, key)
    }

    pub(super) fn whole(&self, key: &[u8]) -> Vec<u8> {
        self.command(&self.whole, key)
    }

    fn command(&self, head: &[u8], key: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(head.len() + key.len() + self.arguments.len() + 16);
        out.extend_from_slice(head);
        resp::push(&mut out, key);
        out.extend_from_slice(&self.arguments);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_named_by_its_hash_or_sent_whole() {
        let script = Script::new("return 1", &["a".to_owned(), "bc".to_owned()]);
        let rest: [&[u8]; 4] = [b"1", b"key", b"a", b"bc"];
        let wanted = |start: [&[u8]; 2]| resp::command(&[&start[..], &rest[..]].concat());

        let hash = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(script.by_hash(b"key"), wanted([b"EVALSHA", hash]));
        assert_eq!(script.whole(b"key"), wanted([b"EVAL", b"return 1"]));
    }
}
