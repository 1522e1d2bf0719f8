//! Compose files as Compose reads them: `docker compose config` resolves variables, `extends`,
//! several files and `.env`; what it prints is read here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::problem::{Code, Origin, Problem};
use crate::tree::{self, Node};

/// Both generations of Compose.
const TOOLS: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];

/// A project as Compose resolved it.
pub(super) struct Compose {
    /// `services`, `networks`, ...
    pub(super) root: Node,
    /// The project's name.
    pub(super) project: String,
    /// The files as written, for the places of labels.
    pub(super) files: Vec<Node>,
    /// What Compose itself warned of.
    pub(super) warnings: Vec<Problem>,
}

/// Reads the files together.
pub(super) fn read(files: &[PathBuf]) -> Result<Compose, Problem> {
    let first = files.first().map_or(Path::new(""), PathBuf::as_path);
    for file in files {
        std::fs::File::open(file).map_err(|error| {
            Problem::error(Code::File, Origin::file(file), format!("can't be read: {error}"))
                .mend("check the path and that the file may be read by this user")
        })?;
    }
    let Some(tool) = TOOLS.iter().find(|tool| answers(tool)) else {
        let text = "neither `docker compose` nor `docker-compose` is here, and only they read \
                    Compose files right";
        return Err(Problem::error(Code::File, Origin::file(first), text).mend(
            "install one of them, or leave the files out to check the labels of the running \
             engine",
        ));
    };
    let output = run(tool, files).map_err(|error| {
        Problem::error(Code::File, Origin::file(first), format!("{}: {error}", tool.join(" ")))
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let text = format!("{} config: {}", tool.join(" "), said.trim().replace('\n', " "));
        return Err(Problem::error(Code::File, Origin::file(first), text).mend("mend the file"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut root = tree::file::yaml(first, &text)?;
    unescape(&mut root);
    let project = project(&root, first);
    let warnings = said.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        let text = format!("{}: {}", tool.join(" "), line.trim());
        Problem::warning(Code::File, Origin::file(first), text)
    });
    Ok(Compose {
        project,
        warnings: warnings.collect(),
        files: files.iter().filter_map(|file| as_written(file)).collect(),
        root,
    })
}

fn answers(tool: &[&str]) -> bool {
    command(tool)
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn run(tool: &[&str], files: &[PathBuf]) -> std::io::Result<Output> {
    let mut command = command(tool);
    for file in files {
        command.arg("-f").arg(file);
    }
    command.arg("config").output()
}

fn command(tool: &[&str]) -> Command {
    let mut words = tool.iter();
    let mut command = Command::new(words.next().copied().unwrap_or_default());
    command.args(words).stdin(Stdio::null());
    command
}

/// Compose prints texts so that they could be read once more: every `$` is doubled.
fn unescape(node: &mut Node) {
    if let Some(value) = node.value.as_mut().filter(|value| value.contains("$$")) {
        *value = value.replace("$$", "$").into();
    }
    node.children.values_mut().for_each(unescape);
}

/// As Compose: the environment, the file's own name, `.env`, the folder.
fn project(root: &Node, first: &Path) -> String {
    let folder = first.canonicalize().ok().and_then(|file| Some(file.parent()?.to_owned()));
    let in_env_file = || {
        let text = std::fs::read_to_string(folder.as_ref()?.join(".env")).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix("COMPOSE_PROJECT_NAME="))?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    };
    let is_said = |name: &String| !name.is_empty();
    let named = std::env::var("COMPOSE_PROJECT_NAME").ok().filter(is_said);
    let written = || root.child("name").and_then(|node| node.value.as_deref().map(str::to_owned));
    named.or_else(written).or_else(in_env_file).filter(is_said).unwrap_or_else(|| {
        let name = folder.as_ref().and_then(|folder| folder.file_name()).unwrap_or_default();
        let name = name.to_string_lossy().to_lowercase();
        let is_kept = |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter);
        let name: String = name.chars().filter(is_kept).collect();
        if name.is_empty() { "default".to_owned() } else { name }
    })
}

/// The file before Compose resolved it. One that only Compose can read has no places.
fn as_written(file: &Path) -> Option<Node> {
    tree::file::yaml(file, &std::fs::read_to_string(file).ok()?).ok()
}

impl Compose {
    /// Where a service's label stands in the files, or the service itself without one.
    pub(super) fn place(&self, service: &str, key: Option<&str>) -> Option<Origin> {
        let services = self.files.iter().rev().filter_map(|file| file.child("services"));
        let written: Vec<&Node> = services.filter_map(|all| all.child(service)).collect();
        let of_label = |key: &str| {
            written.iter().filter_map(|node| node.child("labels")).find_map(|all| label(all, key))
        };
        let found = key.and_then(of_label).or(written.first().copied());
        found.map(|node| node.origin.clone())
    }
}

fn label<'n>(labels: &'n Node, key: &str) -> Option<&'n Node> {
    let is_item = |node: &&Node| {
        let written = node.value.as_deref().unwrap_or_default();
        written.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(key))
    };
    labels.child(key).or_else(|| labels.children.values().find(is_item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_where_they_stand() {
        let text = "services:\n  a:\n    labels:\n      - traefik.enable=true\n  b:\n    labels:\n      \
                    traefik.enable: true\n";
        let path = Path::new("compose.yml");
        let compose = Compose {
            root: Node::new(Origin::Internal),
            project: "p".to_owned(),
            files: vec![tree::file::yaml(path, text).unwrap()],
            warnings: Vec::new(),
        };
        let place = |service: &str, key: Option<&str>| {
            compose.place(service, key).map(|origin| origin.to_string())
        };

        assert_eq!(place("a", Some("traefik.enable")).as_deref(), Some("compose.yml:4:9"));
        assert_eq!(place("b", Some("traefik.enable")).as_deref(), Some("compose.yml:7:7"));
        assert_eq!(place("b", Some("traefik.x")).as_deref(), Some("compose.yml:5:3"));
        assert_eq!(place("c", None), None);
    }

    #[test]
    fn doubled_dollars_become_one() {
        let mut node = tree::file::yaml(Path::new("x.yml"), "a: [ $$2y$$10, $ ]\n").unwrap();

        unescape(&mut node);

        let values: Vec<_> =
            node.child("a").unwrap().entries().map(|(_, item)| item.value.as_deref()).collect();
        assert_eq!(values, [Some("$2y$10"), Some("$")]);
    }
}
