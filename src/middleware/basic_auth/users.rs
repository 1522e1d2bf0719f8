//! Who may pass: from the settings and from a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use super::secret::Secret;

/// Largest users file in bytes.
const LARGEST: u64 = 1 << 20;

/// Where no users file can be: what is there are no files of anybody's.
const REFUSED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Names and their secrets.
pub(super) struct Users {
    known: HashMap<Box<str>, Arc<Secret>, ahash::RandomState>,
    /// The costliest secret of all. Unknown users are compared with it, so that the time
    /// does not tell who is known.
    decoy: Arc<Secret>,
}

impl Users {
    /// Reads them; those in the settings win. The error is in Traefik's words where it has
    /// any, and never shows what a file holds: its path may come from a label.
    pub(super) fn load(users: &[String], file: &str) -> Result<Self, String> {
        let mut known = HashMap::default();
        if !file.is_empty() {
            let text = read(file)?;
            for (number, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let (name, secret) = parse(line).ok_or_else(|| {
                    format!("error parsing BasicUser: line {} of {file}", number + 1)
                })?;
                known.insert(name, secret);
            }
        }
        for user in users {
            let (name, secret) =
                parse(user).ok_or_else(|| format!("error parsing BasicUser: {user}"))?;
            known.insert(name, secret);
        }
        let decoy = known.values().max_by_key(|secret| secret.cost());
        let decoy = decoy.cloned().ok_or_else(|| format!("no users found in {file}"))?;
        Ok(Self { known, decoy })
    }

    /// The secret to compare with, and whether the name is known at all.
    pub(super) fn secret(&self, name: &str) -> (&Arc<Secret>, bool) {
        self.known.get(name).map_or((&self.decoy, false), |secret| (secret, true))
    }
}

fn parse(user: &str) -> Option<(Box<str>, Arc<Secret>)> {
    let (name, hash) = user.split_once(':')?;
    // As Traefik: no known hash has a colon, so a second one is a mistake.
    (!hash.contains(':')).then(|| (name.into(), Arc::new(Secret::parse(hash))))
}

fn read(path: &str) -> Result<String, String> {
    let told = |error: io::Error| format!("open {path}: {}", in_gos_words(&error));
    let real = Path::new(path).canonicalize().map_err(told)?;
    if REFUSED.iter().any(|root| real.starts_with(root)) {
        return Err(format!("open {path}: not a place for a users file"));
    }
    // Looked at before it is opened, since to open a pipe can wait for ever.
    if !real.metadata().map_err(told)?.is_file() {
        return Err(format!("open {path}: not a regular file"));
    }
    let file = File::open(&real).map_err(told)?;
    if !file.metadata().map_err(told)?.is_file() {
        return Err(format!("open {path}: not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("open {path}: larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| format!("open {path}: not a text file"))
}

fn in_gos_words(error: &io::Error) -> String {
    if error.kind() == ErrorKind::NotFound {
        "no such file or directory".to_owned()
    } else if error.kind() == ErrorKind::PermissionDenied {
        "permission denied".to_owned()
    } else {
        error.to_string()
    }
}
