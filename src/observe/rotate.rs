//! A log file: appended to, reopened on request, rotated by size, old ones cleared away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;

/// When a file is rotated, and what becomes of old ones. Zeros: never, all, for ever.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    pub(super) max_bytes: u64,
    pub(super) max_backups: usize,
    pub(super) max_age: Duration,
    pub(super) compress: bool,
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    File(LogFile),
}

/// A file that is appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    policy: Policy,
    file: File,
    bytes: u64,
}

impl Sink {
    pub(super) fn open(path: &str, policy: Policy) -> io::Result<Self> {
        if path.is_empty() {
            return Ok(Self::Stdout);
        }
        LogFile::open(PathBuf::from(path), policy).map(Self::File)
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Self::File(file) => file.write(lines),
        }
    }

    /// Opens the path anew, after somebody moved the file away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(file) => {
                *file = LogFile::open(file.path.clone(), file.policy.clone())?;
                Ok(())
            }
        }
    }
}

impl LogFile {
    fn open(path: PathBuf, policy: Policy) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, policy, file, bytes })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.policy.max_bytes > 0
            && self.bytes > 0
            && self.bytes + length > self.policy.max_bytes
        {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.bytes += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let backup = self.backup_path(OffsetDateTime::now_utc());
        fs::rename(&self.path, &backup)?;
        *self = Self::open(self.path.clone(), self.policy.clone())?;
        if self.policy.compress {
            compress(&backup)?;
        }
        self.clear()
    }

    /// `wharf-2026-11-21T07-12-29.123.log`, as Traefik's rotation names them.
    fn backup_path(&self, now: OffsetDateTime) -> PathBuf {
        let format = format_description!(
            "[year]-[month]-[day]T[hour]-[minute]-[second].[subsecond digits:3]"
        );
        let time = now.format(format).unwrap_or_default();
        let (stem, extension) = self.name_parts();
        self.path.with_file_name(format!("{stem}-{time}{extension}"))
    }

    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = text(self.path.extension());
        let extension = if extension.is_empty() { extension } else { format!(".{extension}") };
        (text(self.path.file_stem()), extension)
    }

    fn clear(&self) -> io::Result<()> {
        let mut backups = self.backups()?;
        // Names hold the time, so their order is the order of age.
        backups.sort();
        backups.reverse();
        let now = SystemTime::now();
        for (index, path) in backups.iter().enumerate() {
            let too_many = self.policy.max_backups > 0 && index >= self.policy.max_backups;
            let age =
                fs::metadata(path)?.modified().ok().and_then(|at| now.duration_since(at).ok());
            let too_old =
                !self.policy.max_age.is_zero() && age.is_some_and(|age| age > self.policy.max_age);
            if too_many || too_old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let (stem, extension) = self.name_parts();
        let prefix = format!("{stem}-");
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let entries = fs::read_dir(folder.unwrap_or(Path::new(".")))?;
        let ours = |name: &str| {
            let rest = name.strip_prefix(&prefix);
            let time = rest.and_then(|rest| {
                rest.strip_suffix(".gz").unwrap_or(rest).strip_suffix(extension.as_str())
            });
            time.is_some_and(|time| time.len() == 23 && time.as_bytes().get(10) == Some(&b'T'))
        };
        Ok(entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(ours))
            .map(|entry| entry.path())
            .collect())
    }
}

fn compress(path: &Path) -> io::Result<()> {
    let mut packed = path.as_os_str().to_owned();
    packed.push(".gz");
    let mut encoder =
        flate2::write::GzEncoder::new(File::create(&packed)?, flate2::Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_moved_aside_and_packed_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let policy =
            Policy { max_bytes: 10, max_backups: 1, max_age: Duration::ZERO, compress: true };
        fs::write(folder.path().join("access-2020-01-01T00-00-00.000.log.gz"), "old").unwrap();
        fs::write(folder.path().join("access-notes.log"), "not ours").unwrap();
        let mut sink = Sink::open(path.to_str().unwrap(), policy).unwrap();

        sink.write(b"12345678\n").unwrap();
        sink.write(b"abcdefgh\n").unwrap();

        let names = names(folder.path());
        assert_eq!(fs::read(&path).unwrap(), b"abcdefgh\n");
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.contains(&"access-notes.log".to_owned()));
        assert!(!names.contains(&"access-2020-01-01T00-00-00.000.log.gz".to_owned()));
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wharf.log");
        let mut sink = Sink::open(path.to_str().unwrap(), Policy::default()).unwrap();
        sink.write(b"one\n").unwrap();
        fs::rename(&path, folder.path().join("wharf.log.1")).unwrap();

        sink.reopen().unwrap();
        sink.write(b"two\n").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"two\n");
    }
}
