//! Which files there are and what is in them. A file that can't be read keeps its last good
//! content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::{Source, decode};
use crate::model::Desired;
use crate::problem::{Code, Origin, Problem};
use crate::tree;

/// Larger files are refused.
const MAX_BYTES: u64 = 64 << 20;
/// Files that are read from a folder, and how deep it may be.
const MAX_FILES: usize = 10_000;
const MAX_DEPTH: usize = 16;

/// All files of a source.
pub(super) struct Files {
    source: Source,
    known: BTreeMap<PathBuf, File>,
    /// Why the folder itself can't be read.
    problem: Option<Problem>,
}

#[derive(Default)]
struct File {
    text: String,
    good: Option<Arc<Desired>>,
    problem: Option<Problem>,
    stamp: Option<Stamp>,
    /// The files that it names (certificates), as they were when it was read.
    named: BTreeMap<PathBuf, Option<Stamp>>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|found| Self::from(&found))
    }

    fn from(found: &Metadata) -> Self {
        Self { modified: found.modified().ok(), length: found.len() }
    }
}

impl Files {
    pub(super) fn new(source: Source) -> Self {
        Self { source, known: BTreeMap::new(), problem: None }
    }

    /// Whether anything looks different from when it was read, without reading it.
    pub(super) fn is_stale(&self) -> bool {
        let paths = match self.paths() {
            Ok(paths) => paths,
            Err(problem) => return self.problem.as_ref() != Some(&problem),
        };
        paths.len() != self.known.len()
            || self.problem.is_some()
            || paths.iter().any(|path| {
                let known = self.known.get(path);
                known.is_none_or(|file| {
                    file.stamp != Stamp::of(path)
                        || file.named.iter().any(|(path, stamp)| *stamp != Stamp::of(path))
                })
            })
    }

    /// Whether a file that had content is empty now: it may be in the middle of a write.
    pub(super) fn is_suspect(&self) -> bool {
        self.known.iter().any(|(path, file)| {
            !file.text.is_empty() && Stamp::of(path).is_some_and(|stamp| stamp.length == 0)
        })
    }

    /// Reads what changed; true when there is something new to say.
    pub(super) fn read(&mut self) -> bool {
        let paths = match self.paths() {
            Ok(paths) => paths,
            Err(problem) => {
                let is_new = self.problem.as_ref() != Some(&problem);
                self.problem = Some(problem);
                return is_new;
            }
        };
        let mut is_new = self.problem.take().is_some();
        let before = self.known.len();
        self.known.retain(|path, _| paths.contains(path));
        is_new |= before != self.known.len();
        for path in paths {
            is_new |= self.known.entry(path.clone()).or_default().read(&path);
        }
        is_new
    }

    /// Everything together.
    pub(super) fn desired(&self) -> Desired {
        let mut all = Desired::default();
        for file in self.known.values() {
            if let Some(good) = &file.good {
                decode::join(&mut all, good);
            }
            all.problems.extend(file.problem.clone());
        }
        all.problems.extend(self.problem.clone());
        all
    }

    /// Where changes are to be looked for.
    pub(super) fn places(&self) -> BTreeSet<PathBuf> {
        let mut places = BTreeSet::new();
        // A file's folder, for one that is replaced, and where a link leads to.
        let mut add = |path: &Path| {
            for path in [Some(path.to_owned()), fs::canonicalize(path).ok()].into_iter().flatten() {
                places.extend(path.parent().map(|parent| match parent.as_os_str().len() {
                    0 => PathBuf::from("."),
                    _ => parent.to_owned(),
                }));
            }
        };
        self.known.keys().for_each(|path| add(path));
        // The source itself: a single file may be mounted alone.
        let (Source::File(path) | Source::Folder(path)) = &self.source;
        add(path);
        places.insert(path.clone());
        places
    }

    fn paths(&self) -> Result<BTreeSet<PathBuf>, Problem> {
        match &self.source {
            Source::File(path) => Ok([path.clone()].into()),
            Source::Folder(path) => {
                let mut found = BTreeSet::new();
                walk(path, 0, &mut found).map_err(|error| {
                    let text = format!("the folder can't be read: {error}");
                    Problem::error(Code::File, Origin::file(path), text)
                        .mend("see providers.file.directory, and that it is mounted and readable")
                })?;
                Ok(found)
            }
        }
    }
}

fn walk(folder: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Mounted ConfigMaps keep the files in `..2026_…` and link to them.
        if name.starts_with("..") || found.len() >= MAX_FILES {
            continue;
        }
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if is_folder && depth < MAX_DEPTH {
            // A subfolder that is not ours to read hides nothing else.
            if let Err(error) = walk(&path, depth + 1, found) {
                tracing::warn!("{}: {error}", path.display());
            }
        } else if is_ours(&path) {
            found.insert(path);
        }
    }
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["yaml", "yml", "toml"].iter().any(|known| ending == *known)
}

impl File {
    /// Reads the file if it changed; true when there is something new to say.
    fn read(&mut self, path: &Path) -> bool {
        self.stamp = Stamp::of(path);
        let touched = self.named.iter().any(|(path, stamp)| *stamp != Stamp::of(path));
        let text = match text_of(path) {
            Ok(text) => text,
            Err(problem) => return self.fail(problem),
        };
        if self.good.is_some() && self.problem.is_none() && text == self.text && !touched {
            return false;
        }
        match parse(path, &text) {
            Ok(good) => {
                self.named = named(&good);
                self.good = Some(Arc::new(good));
                self.problem = None;
                self.text = text;
                true
            }
            Err(problem) => self.fail(problem),
        }
    }

    fn fail(&mut self, mut problem: Problem) -> bool {
        if self.good.is_some() {
            let text = format!("{}; its last good content stays in force", problem.text);
            problem.text = text.into();
        }
        let is_new = self.problem.as_ref() != Some(&problem);
        self.problem = Some(problem);
        is_new
    }
}

fn text_of(path: &Path) -> Result<String, Problem> {
    let refuse =
        |text: String, mend: &str| Problem::error(Code::File, Origin::file(path), text).mend(mend);
    let unreadable = |error: std::io::Error| {
        refuse(format!("can't be read: {error}"), "see that it is there, mounted and readable")
    };
    // A pipe or device would never end.
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(refuse("is no plain file".to_owned(), "name a YAML or TOML file"));
    }
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(refuse(format!("is larger than {MAX_BYTES} bytes"), "split it"));
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Desired, Problem> {
    if let Some((at, action)) = template(text) {
        let line = text.get(..at).unwrap_or_default().lines().count().max(1);
        let origin = Origin::File {
            path: Arc::new(path.to_owned()),
            line: u32::try_from(line).unwrap_or(0),
            column: 0,
        };
        return Err(Problem::error(
            Code::NotBuilt,
            origin,
            format!("Go templates in files are not built: `{action}`"),
        )
        .mend("write the value itself"));
    }
    let root = tree::file::by_name(path, text)?;
    Ok(decode::decode(&root))
}

/// The first template action. Traefik runs every dynamic file as a template, so that `{{` is
/// never anything else.
fn template(text: &str) -> Option<(usize, String)> {
    let at = text.find("{{")?;
    let rest = text.get(at..)?;
    let line = rest.lines().next().unwrap_or_default();
    let action = line.split_inclusive("}}").next().unwrap_or(line);
    Some((at, action.chars().take(60).collect()))
}

/// The files that are named in it: a renewed certificate is a change, too.
fn named(desired: &Desired) -> BTreeMap<PathBuf, Option<Stamp>> {
    let certificates = desired.tls.certificates.iter().map(|item| &item.value);
    let stores = desired.tls.stores.values();
    let defaults = stores.filter_map(|item| item.value.default_certificate.as_ref());
    let transports = || desired.transports.values().map(|item| &item.value);
    certificates
        .chain(defaults)
        .chain(transports().flat_map(|transport| &transport.certificates))
        .flat_map(|files| [&files.cert_file, &*files.key_file])
        .chain(transports().flat_map(|transport| &transport.root_cas))
        .filter(|file| !file.contains("-----BEGIN") && !file.is_empty())
        .map(|file| (PathBuf::from(file), Stamp::of(Path::new(file))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(rule: &str) -> String {
        format!("http:\n  routers:\n    web:\n      rule: {rule}\n")
    }

    fn rules(files: &Files) -> Vec<String> {
        files.desired().routers.values().map(|item| item.value.rule.clone()).collect()
    }

    #[test]
    fn a_broken_file_keeps_its_last_good_content_and_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dynamic.yml");
        fs::write(&path, router("one")).unwrap();
        let mut files = Files::new(Source::File(path.clone()));
        assert!(files.read());
        assert!(!files.read());

        fs::write(&path, "http:\n  routers:\n   - web\n  x: [\n").unwrap();
        assert!(files.read());
        assert_eq!(rules(&files), ["one"]);
        let problem = files.desired().problems[0].to_string();
        assert!(problem.contains("dynamic.yml:") && problem.contains("last good"), "{problem}");

        fs::write(&path, router("two")).unwrap();
        assert!(files.read());
        assert_eq!((rules(&files), files.desired().problems.len()), (vec!["two".to_owned()], 0));

        fs::remove_file(&path).unwrap();
        assert!(files.read());
        assert_eq!(rules(&files), ["two"]);
    }

    #[test]
    fn a_folder_is_read_with_its_subfolders_by_ending() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("sub")).unwrap();
        fs::create_dir_all(at("..data")).unwrap();
        fs::write(at("a.yml"), router("a")).unwrap();
        fs::write(at("sub/b.toml"), "[http.routers.b]\nrule = \"b\"\n").unwrap();
        fs::write(at("c.txt"), router("c")).unwrap();
        fs::write(at("..data/d.yml"), router("d")).unwrap();
        let mut files = Files::new(Source::Folder(folder.path().to_owned()));

        files.read();
        assert_eq!(rules(&files), ["b", "a"]);

        fs::remove_file(at("a.yml")).unwrap();
        assert!(files.is_stale());
        assert!(files.read());
        assert_eq!(rules(&files), ["b"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_problem_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let mut files = Files::new(Source::Folder(inner.clone()));

        assert!(files.read());
        assert!(files.desired().problems[0].text.contains("can't be read"));
        assert!(!files.is_stale());

        fs::create_dir(&inner).unwrap();
        assert!(files.is_stale());
        assert!(files.read());
        assert!(files.desired().problems.is_empty());
    }

    #[test]
    fn templates_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dynamic.yml");
        fs::write(&path, "http:\n  routers:\n    a:\n      rule: Host(`{{ env \"X\" }}`)\n")
            .unwrap();
        let mut files = Files::new(Source::File(path));

        files.read();

        let problem = files.desired().problems[0].to_string();
        assert!(
            problem.contains("dynamic.yml:4: ") && problem.contains("{{ env \"X\" }}"),
            "{problem}"
        );
    }

    #[test]
    fn a_renewed_certificate_is_a_change() {
        for text in [
            "tls:\n  certificates:\n  - certFile: PEM\n    keyFile: PEM\n",
            "http:\n  serversTransports:\n    t: {rootCAs: [PEM]}\n",
            "http:\n  serversTransports:\n    t: {certificates: [{certFile: PEM, keyFile: PEM}]}\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (path, pem) = (folder.path().join("tls.yml"), folder.path().join("a.pem"));
            fs::write(&pem, "old").unwrap();
            fs::write(&path, text.replace("PEM", &pem.display().to_string())).unwrap();
            let mut files = Files::new(Source::File(path));
            files.read();
            assert!(!files.is_stale());

            fs::write(&pem, "longer than before").unwrap();

            assert!(files.is_stale(), "{text}");
            assert!(files.read(), "{text}");
            assert!(!files.is_stale(), "{text}");
        }
    }
}
