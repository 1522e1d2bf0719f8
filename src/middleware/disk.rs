//! Files that settings name, read with care: the path may come from a label, and so from
//! anyone who may start a container (`security.md` L3).

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Largest file in bytes.
const LARGEST: u64 = 1 << 20;

/// Where no file of anybody's can be.
const REFUSED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Reads a text. The error never shows what the file holds.
pub(super) fn read(path: &str) -> Result<String, String> {
    let told = |error: io::Error| format!("open {path}: {}", in_gos_words(&error));
    let real = Path::new(path).canonicalize().map_err(told)?;
    if REFUSED.iter().any(|root| real.starts_with(root)) {
        return Err(format!("open {path}: not a place for such a file"));
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
