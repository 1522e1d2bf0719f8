//! The running binary as the root file system of an image: itself, and the shared
//! libraries it was started with, if any.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A root file system as a tar archive, and what to start in it.
pub(super) struct Image {
    /// The archive.
    pub(super) tar: Vec<u8>,
    /// The start of the command line.
    pub(super) entrypoint: Vec<String>,
}

/// Makes the image of this process's own binary.
pub(super) fn of_this_binary() -> io::Result<Image> {
    let binary = fs::read("/proc/self/exe")?;
    let libraries = libraries(&fs::read_to_string("/proc/self/maps")?);
    let mut tar = Tar::default();
    tar.file(Path::new("/wharf"), &binary);
    for library in &libraries {
        tar.file(library, &fs::read(library)?);
    }
    Ok(Image { tar: tar.end(), entrypoint: entrypoint(&libraries) })
}

/// The shared objects in a `/proc/<pid>/maps`: whatever the loader found, it is there.
fn libraries(maps: &str) -> BTreeSet<PathBuf> {
    maps.lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
        .filter(|path| file_name(path).contains(".so"))
        .collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// A dynamic binary is started through its loader, wherever that lies; so the image needs
/// no links and no cache of libraries.
fn entrypoint(libraries: &BTreeSet<PathBuf>) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let loader = libraries.iter().find(|path| file_name(path).starts_with("ld-"));
    let Some(loader) = loader else { return vec!["/wharf".to_owned()] };
    let folders: BTreeSet<String> =
        libraries.iter().filter_map(|library| library.parent()).map(text).collect();
    let folders = folders.into_iter().collect::<Vec<_>>().join(":");
    vec![text(loader), "--library-path".to_owned(), folders, "/wharf".to_owned()]
}

/// A tar archive (POSIX ustar) of executable files.
#[derive(Default)]
struct Tar {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
}

impl Tar {
    fn file(&mut self, path: &Path, content: &[u8]) {
        let parents: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_path_buf).collect();
        for parent in parents.into_iter().rev().filter(|parent| parent != Path::new("/")) {
            if self.folders.insert(parent.clone()) {
                self.head(&parent, b'5', 0);
            }
        }
        self.head(path, b'0', content.len());
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn head(&mut self, path: &Path, kind: u8, size: usize) {
        let mut head = [0_u8; 512];
        let name = path.to_string_lossy();
        put(&mut head, 0, name.trim_start_matches('/').as_bytes(), 100);
        put(&mut head, 100, b"0000755", 8);
        put(&mut head, 108, b"0000000", 8);
        put(&mut head, 116, b"0000000", 8);
        put(&mut head, 124, format!("{size:011o}").as_bytes(), 12);
        put(&mut head, 136, b"00000000000", 12);
        // The sum is taken with its own field blank.
        put(&mut head, 148, b"        ", 8);
        put(&mut head, 156, &[kind], 1);
        put(&mut head, 257, b"ustar\x0000", 8);
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut head, 148, format!("{sum:06o}\0").as_bytes(), 7);
        self.bytes.extend_from_slice(&head);
    }

    fn pad(&mut self) {
        let full = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(full, 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

fn put(head: &mut [u8; 512], at: usize, value: &[u8], room: usize) {
    for (slot, byte) in head.iter_mut().skip(at).take(room).zip(value) {
        *slot = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
5581d0000000-5581d0001000 r--p 00000000 08:01 12 /home/ada/target/release/wharf
7f0000000000-7f0000001000 r--p 00000000 08:01 13 /usr/lib/x86_64-linux-gnu/libc.so.6
7f0000002000-7f0000003000 r-xp 00000000 08:01 13 /usr/lib/x86_64-linux-gnu/libc.so.6
7f0000004000-7f0000005000 r--p 00000000 08:01 14 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0  [stack]
";

    #[test]
    fn a_dynamic_binary_takes_its_libraries_along_and_starts_through_the_loader() {
        let folder = "/usr/lib/x86_64-linux-gnu";

        let libraries = libraries(MAPS);

        assert_eq!(libraries.len(), 2);
        assert_eq!(
            entrypoint(&libraries),
            [&format!("{folder}/ld-linux-x86-64.so.2"), "--library-path", folder, "/wharf"]
        );
    }

    #[test]
    fn a_static_binary_is_started_as_it_is() {
        assert_eq!(entrypoint(&libraries("1-2 r--p 0 08:01 12 /wharf\n")), ["/wharf"]);
    }

    #[test]
    fn an_archive_has_each_folder_once_and_whole_blocks() {
        let mut tar = Tar::default();

        tar.file(Path::new("/usr/lib/a.so"), b"abc");
        tar.file(Path::new("/usr/lib/b.so"), &[7; 600]);
        let bytes = tar.end();

        // usr, usr/lib, a head + 1 block, b head + 2 blocks, 2 blocks of end.
        assert_eq!(bytes.len(), 512 * (2 + 2 + 3 + 2));
        assert_eq!(&bytes[..4], b"usr\0");
        assert_eq!(&bytes[512..520], b"usr/lib\0");
    }
}
