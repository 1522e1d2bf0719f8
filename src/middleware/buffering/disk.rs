//! A file without a name, for what memory is too small for. Nothing here blocks a worker.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

/// Names that are tried for a new file.
const NAMES: usize = 8;

/// A temporary file that nobody else can open; it goes when the last that uses it does.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner(Option<File>);

impl Disk {
    /// A new, empty file.
    pub(super) async fn open() -> io::Result<Self> {
        let file = spawn_blocking(|| create(&std::env::temp_dir())).await??;
        Ok(Self(Arc::new(Inner(Some(file)))))
    }

    /// Writes these bytes at this place.
    pub(super) async fn write(&self, bytes: Bytes, at: u64) -> io::Result<()> {
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || inner.file()?.write_all_at(&bytes, at)).await?
    }

    /// Begins to read so many bytes from this place.
    pub(super) fn read(&self, bytes: usize, at: u64) -> JoinHandle<io::Result<Bytes>> {
        let inner = Arc::clone(&self.0);
        spawn_blocking(move || {
            let mut buffer = vec![0; bytes];
            inner.file()?.read_exact_at(&mut buffer, at)?;
            Ok(buffer.into())
        })
    }
}

impl Inner {
    fn file(&self) -> io::Result<&File> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Giving a large file back takes time; outside of a runtime nobody waits for it.
        if let (Some(file), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

/// Readable by us alone, and without a name as soon as it is there.
fn create(folder: &Path) -> io::Result<File> {
    let mut error = io::ErrorKind::AlreadyExists.into();
    for _ in 0..NAMES {
        let path = folder.join(format!("wharf-{:016x}", rand::random::<u64>()));
        let new =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        match new {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => error = taken,
            Err(other) => {
                return Err(io::Error::new(other.kind(), format!("{}: {other}", folder.display())));
            }
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn sec_a_file_is_ours_alone_and_has_no_name() {
        let folder = tempfile::tempdir().unwrap();

        let file = create(folder.path()).unwrap();

        let about = file.metadata().unwrap();
        assert_eq!((about.mode() & 0o777, about.nlink()), (0o600, 0));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = create(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }

    #[tokio::test]
    async fn what_was_written_is_read_from_any_place() {
        let disk = Disk::open().await.unwrap();
        disk.write(Bytes::from_static(b"abc"), 0).await.unwrap();
        disk.write(Bytes::from_static(b"def"), 3).await.unwrap();

        assert_eq!(disk.read(4, 1).await.unwrap().unwrap(), "bcde");
        assert!(disk.read(4, 4).await.unwrap().is_err());
    }
}
