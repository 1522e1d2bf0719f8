//! Files into a tree, by their kind.

use std::path::Path;
use std::sync::Arc;

use super::{Node, toml as toml_file, yaml as yaml_file};
use crate::problem::{Code, Origin, Problem};

/// Places in one file.
pub(super) struct Places {
    path: Arc<std::path::PathBuf>,
}

impl Places {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_owned()) }
    }

    pub(super) fn at(&self, line: u64, column: u64) -> Origin {
        let number = |value: u64| u32::try_from(value).unwrap_or(0);
        Origin::File {
            path: Arc::clone(&self.path),
            line: number(line),
            column: if line == 0 { 0 } else { number(column) },
        }
    }
}

/// Reads YAML; every key and list item keeps its line and column.
pub fn yaml(path: &Path, text: &str) -> Result<Node, Problem> {
    yaml_file::read(path, text)
}

/// Reads TOML; every key and list item keeps its line and column.
pub fn toml(path: &Path, text: &str) -> Result<Node, Problem> {
    toml_file::read(path, text)
}

/// Reads a file's text by the ending of its name: `.toml`, `.yaml` or `.yml`.
pub fn by_name(path: &Path, text: &str) -> Result<Node, Problem> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "toml" => toml(path, text),
        "yaml" | "yml" => yaml(path, text),
        _ => {
            let text = format!("unsupported file extension: {ending:?}");
            Err(Problem::error(Code::File, Origin::file(path), text)
                .mend("name it .yaml, .yml or .toml"))
        }
    }
}

/// Two keys that differ in case only would hide one another.
pub(super) fn twice(key: &str, origin: Origin, first: &Origin) -> Problem {
    Problem::error(Code::Conflict, origin, format!("`{key}` is here a second time"))
        .mend(format!("keep one of the two; the first is at {first}"))
}
