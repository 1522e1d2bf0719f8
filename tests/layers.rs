//! Holds the one-way rule: a module imports only modules that stand above it, and
//! only some modules may name some crates.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The modules, from those that know least to those that know most.
const ORDER: [&str; 25] = [
    "problem",
    "tree",
    "rule",
    "settings",
    "dns",
    "otlp",
    "spiffe",
    "message",
    "observe",
    "upstream",
    "redis",
    "balance",
    "middleware",
    "model",
    "labels",
    "provider",
    "route",
    "tls",
    "acme",
    "table",
    "compile",
    "api",
    "listen",
    "control",
    "cli",
];

/// Crates that only some places may name: the crate, then path prefixes below `src/`.
/// `cli/demo` stands in for the user's project and, without an engine, for the engine;
/// `balance/tests` for the clients and servers at both ends, `provider/docker/fake` for the engine
/// of tests. `provider/docker` bounds what is
/// read from the engine, for which bollard takes a transport made of hyper-util's traits.
const NAMED_BY: [(&str, &[&str]); 5] = [
    (
        "hyper",
        &["listen", "upstream", "message", "cli/demo", "balance/tests", "provider/docker/fake"],
    ),
    (
        "hyper_util",
        &["listen", "upstream", "message", "cli/demo", "balance/tests", "provider/docker"],
    ),
    ("bollard", &["provider/docker", "cli/demo"]),
    ("prometheus_client", &["observe"]),
    ("hickory_proto", &["dns"]),
];

/// Crates that every test build has but the crate itself must not use.
const NAMED_NOWHERE: [&str; 2] = ["anyhow", "openssl"];

struct Source {
    /// Below `src/`, with forward slashes.
    path: String,
    /// The module at the top: `balance`; `lib` and `main` for the two roots.
    module: String,
    /// The text without comments, newlines kept.
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let path = file
                .strip_prefix(&root)
                .expect("collected below src")
                .to_string_lossy()
                .replace('\\', "/");
            let module =
                path.split(['/', '.']).next().expect("split gives at least one part").to_owned();
            let text = without_comments(&fs::read_to_string(&file).expect("source is readable"));
            Source { path, module, text }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("source folder is readable") {
        let path = entry.expect("entry is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Blanks whole-line comments and those after code; doc links may name any module.
fn without_comments(text: &str) -> String {
    let comment = Regex::new(r"(^\s*//.*$)|(\s//[/!]?\s.*$)").expect("the pattern is ours");
    text.lines().map(|line| comment.replace(line, "")).fold(String::new(), |mut all, line| {
        all.push_str(&line);
        all.push('\n');
        all
    })
}

/// Every module named by a `crate::` path, with its line, groups included.
fn imports(text: &str) -> Vec<(usize, String)> {
    let path = Regex::new(r"\bcrate::(?:(\w+)|\{)").expect("the pattern is ours");
    let mut found = Vec::new();
    for hit in path.captures_iter(text) {
        let whole = hit.get(0).expect("group 0 always matches");
        let line = text[..whole.start()].lines().count().max(1);
        match hit.get(1) {
            Some(name) => found.push((line, name.as_str().to_owned())),
            None => found.extend(group(&text[whole.end()..]).into_iter().map(|name| (line, name))),
        }
    }
    found
}

/// First path segments of `a, b::{c, d}, e}`.
fn group(text: &str) -> Vec<String> {
    let (mut depth, mut name, mut names, mut reading) = (0_usize, String::new(), vec![], true);
    for character in text.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                reading = true;
            }
            ':' if depth == 0 => reading = false,
            other if depth == 0 && reading && (other.is_alphanumeric() || other == '_') => {
                name.push(other);
            }
            _ => {}
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|known| *known == module)
}

#[test]
fn a_module_imports_only_modules_above_it() {
    let mut offences = Vec::new();
    for source in sources() {
        let Some(own) = rank(&source.module) else {
            assert!(
                ["lib", "main"].contains(&source.module.as_str()),
                "src/{}: `{}` has no place in the order of modules",
                source.path,
                source.module
            );
            continue;
        };
        for (line, name) in imports(&source.text) {
            if rank(&name).is_some_and(|named| named > own) {
                offences.push(format!(
                    "src/{}:{line}: `{}` stands above `{name}` and must not import it",
                    source.path, source.module
                ));
            }
        }
    }

    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut offences = Vec::new();
    for source in sources() {
        for (name, places) in NAMED_BY {
            let used = Regex::new(&format!(r"\b{name}::")).expect("the pattern is ours");
            let allowed = places.iter().any(|place| {
                source.path == format!("{place}.rs")
                    || source.path.starts_with(&format!("{place}/"))
            });
            if !allowed && used.is_match(&source.text) {
                offences.push(format!("src/{}: names `{name}`", source.path));
            }
        }
        for name in NAMED_NOWHERE {
            let used = Regex::new(&format!(r"\b{name}::")).expect("the pattern is ours");
            if used.is_match(&source.text) {
                offences.push(format!("src/{}: names `{name}`", source.path));
            }
        }
    }

    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn groups_and_comments_are_read_right() {
    let text = without_comments(
        "use crate::{model::{Name, Router}, table};\n/// see crate::api\nlet x = crate::tls::Index; // crate::cli\n",
    );

    let names: Vec<String> = imports(&text).into_iter().map(|(_, name)| name).collect();

    assert_eq!(names, ["model", "table", "tls"]);
}
