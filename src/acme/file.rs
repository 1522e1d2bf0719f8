//! A file that holds keys: read with care for its mode, replaced as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

/// Largest file read; a thousand certificates are some ten megabytes.
const LARGEST: u64 = 64 << 20;

/// What a rename over a file says that is mounted into a container by itself (EBUSY, EXDEV),
/// and what its directory says there when nothing may be made in it (EROFS, EACCES, EPERM).
const IRREPLACEABLE: [i32; 5] = [16, 18, 30, 13, 1];

/// A file as found.
#[derive(Debug)]
pub(super) enum Found {
    /// There is none yet.
    Nothing,
    /// Its content, and whether its mode had to be made narrower.
    Text { text: Zeroizing<Vec<u8>>, was_open: Option<u32> },
}

/// Reads the file. One that others may read is made private if it is ours; else it is not
/// used, as in Traefik. The error says how to mend it.
pub(super) fn read(path: &Path) -> Result<Found, String> {
    let shown = path.display();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(format!("{shown}: {error}")),
    };
    let about = file.metadata().map_err(|error| format!("{shown}: {error}"))?;
    if !about.is_file() {
        return Err(format!("{shown} is no file; mount a file, or the directory it is to be in"));
    }
    let mode = about.mode() & 0o777;
    let mut was_open = None;
    if mode & 0o077 != 0 {
        let mine = rustix::process::geteuid().as_raw();
        if about.uid() != mine {
            return Err(format!(
                "permissions {mode:o} for {shown} are too open, and it belongs to user {}; \
                 use 600: chown {mine} {shown} && chmod 600 {shown}",
                about.uid()
            ));
        }
        file.set_permissions(Permissions::from_mode(0o600)).map_err(|error| {
            format!("permissions {mode:o} for {shown} are too open, please use 600 ({error})")
        })?;
        was_open = Some(mode);
    }
    let mut text = Zeroizing::new(Vec::new());
    let read = Read::by_ref(&mut file).take(LARGEST + 1).read_to_end(&mut text);
    read.map_err(|error| format!("{shown}: {error}"))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("{shown} is longer than {LARGEST} bytes"));
    }
    Ok(Found::Text { text, was_open })
}

/// Puts the text in the file's place: whoever reads it, also after a crash, sees the old
/// text or the new one. What stood there before is kept beside it as `.bak`.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = directory(path);
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    }
    if let Ok(Found::Text { text: before, .. }) = read(path).map_err(io::Error::other) {
        if serde_json::from_slice::<serde::de::IgnoredAny>(&before).is_ok() {
            // Where nothing can be put beside it, the file itself may still be written.
            let _ = swap(&beside(path, "bak"), &before);
        } else if !before.trim_ascii().is_empty() {
            // Somebody broke it since it was read: kept for whoever wants to look into it.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let _ = fs::rename(path, beside(path, &format!("corrupt-{}", now.as_secs())));
        }
    }
    match swap(path, text) {
        Err(error) if IRREPLACEABLE.iter().any(|one| error.raw_os_error() == Some(*one)) => {
            in_place(path, text).map_err(|_| error)
        }
        result => result,
    }
}

/// Sets a file aside that can't be understood; gives its new name.
pub(super) fn set_aside(path: &Path, now: u64) -> io::Result<PathBuf> {
    let aside = beside(path, &format!("corrupt-{now}"));
    match fs::rename(path, &aside) {
        Err(error) if IRREPLACEABLE.iter().any(|one| error.raw_os_error() == Some(*one)) => {
            let Ok(Found::Text { text, .. }) = read(path) else { return Err(error) };
            swap(&aside, &text)?;
        }
        result => result?,
    }
    Ok(aside)
}

/// `acme.json.bak`.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    path.with_file_name(name)
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn swap(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = beside(path, "new");
    // A leftover of a crash; never a link that somebody put there.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    drop(file);
    if let Err(error) = written.and_then(|()| fs::rename(&new, path)) {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    File::open(directory(path))?.sync_all()
}

/// For a file that can't be replaced: where that can be, its new text stands beside it as
/// `.bak` while this goes on.
fn in_place(path: &Path, text: &[u8]) -> io::Result<()> {
    let _ = swap(&beside(path, "bak"), text);
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    #[test]
    fn a_file_is_replaced_whole_private_and_with_the_last_good_one_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/acme.json");

        replace(&path, b"{}").unwrap();
        replace(&path, b"{\"a\": 1}").unwrap();

        assert_eq!(text(&path).as_deref(), Some("{\"a\": 1}"));
        assert_eq!(text(&beside(&path, "bak")).as_deref(), Some("{}"));
        assert_eq!(text(&beside(&path, "new")), None);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_never_becomes_the_last_good_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.json");
        replace(&path, b"{\"good\": 1}").unwrap();
        replace(&path, b"{\"good\": 2}").unwrap();
        fs::write(&path, b"{\"good\":").unwrap();

        replace(&path, b"{\"good\": 3}").unwrap();

        assert_eq!(text(&beside(&path, "bak")).as_deref(), Some("{\"good\": 1}"));
        assert_eq!(text(&path).as_deref(), Some("{\"good\": 3}"));
        let names = fs::read_dir(directory.path()).unwrap().map(|one| one.unwrap().path());
        let aside = names.filter(|path| path.to_string_lossy().contains("json.corrupt-"));
        let aside: Vec<_> = aside.filter_map(|path| text(&path)).collect();
        assert_eq!(aside, ["{\"good\":"], "never overwritten");
    }

    #[test]
    fn a_file_that_others_may_read_is_made_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.json");
        fs::write(&path, b"{}").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();

        let Ok(Found::Text { was_open, .. }) = read(&path) else { panic!("not read") };

        assert_eq!(was_open, Some(0o644));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(read(directory.path()).unwrap_err().contains("is no file"));
    }

    #[test]
    fn a_file_that_is_no_use_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.json");
        fs::write(&path, b"nonsense").unwrap();

        let aside = set_aside(&path, 17).unwrap();

        assert_eq!(aside, directory.path().join("acme.json.corrupt-17"));
        assert_eq!(text(&aside).as_deref(), Some("nonsense"));
        assert!(!path.exists());
    }
}
