//! Every option of the dynamic configuration that only files can say, from the reference
//! table: seen in the model or refused by its name, and never with the rest of the file.

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

use std::fmt::Write;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wharf::model::Desired;
use wharf::provider::{self, Change};
use wharf::settings::{File, Settings};
use wharf::tree::known::State;

struct Row {
    tier: u8,
    /// With its placeholders.
    written: String,
    path: String,
    kind: String,
    default: String,
}

fn rows() -> Vec<Row> {
    let table = include_str!("reference/dynamic-file.tsv");
    let row = |line: &str| {
        let [tier, path, kind, default, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let written = path.to_owned();
        let path = ["<router>", "<service>", "<transport>", "<store>", "<options>"]
            .iter()
            .fold(path.to_owned(), |path, name| path.replace(name, "x"));
        Row {
            tier: tier.parse().unwrap(),
            written,
            path,
            kind: kind.to_owned(),
            default: default.to_owned(),
        }
    };
    table.lines().skip(1).map(row).collect()
}

fn value(row: &Row) -> String {
    match row.kind.as_str() {
        "bool" if row.default == "true" => "false".to_owned(),
        "bool" => "true".to_owned(),
        "int" => "47".to_owned(),
        "duration" => "47s".to_owned(),
        "list" => "[alpha, beta]".to_owned(),
        "struct" => "{}".to_owned(),
        kind => match kind.strip_prefix("enum(") {
            Some(names) => names.trim_end_matches(')').rsplit(',').next().unwrap().to_owned(),
            None => "seen".to_owned(),
        },
    }
}

/// The path and its value as YAML in flow style, and what must stand beside it.
fn yaml(row: &Row, value: &str) -> String {
    let mut text = String::from("http:\n  routers:\n    good: {rule: x, service: y}\n");
    let (head, rest) = row.path.split_once('.').unwrap();
    let mut open = String::new();
    let mut close = String::new();
    let keys: Vec<_> = rest.split('.').collect();
    for (depth, key) in keys.iter().enumerate() {
        let is_last = depth + 1 == keys.len();
        let (name, is_item) = match key.strip_suffix("[n]") {
            Some(name) => (name, true),
            None => (*key, false),
        };
        let beside = if is_last { companions(row, name) } else { "" };
        if is_item {
            write!(open, "{{{name}: [").unwrap();
            close.insert_str(0, "]}");
        } else {
            write!(open, "{{{beside}{name}: ").unwrap();
            close.insert(0, '}');
        }
    }
    let section = format!("{open}{value}{close}");
    if head == "http" {
        // One level of the flow style becomes part of the section above.
        let inner = section.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
        let (name, below) = inner.split_once(": ").unwrap();
        if name == "routers" {
            let inner = below.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
            writeln!(text, "    {inner}").unwrap();
        } else {
            writeln!(text, "  {name}: {below}").unwrap();
        }
    } else {
        writeln!(text, "{head}: {section}").unwrap();
    }
    text
}

/// The same in TOML.
fn toml(yaml: &str) -> String {
    let value: serde_json::Value = serde_saphyr::from_str(yaml).unwrap();
    toml::to_string(&value).unwrap()
}

fn companions(row: &Row, name: &str) -> &'static str {
    match name {
        "certFile" => "keyFile: k, ",
        "keyFile" => "certFile: c, ",
        "stores" if row.path.contains("certificates[n]") => "certFile: c, keyFile: k, ",
        _ => "",
    }
}

async fn load(text: &str) -> Arc<Desired> {
    load_as("dynamic.yml", text).await
}

async fn load_as(name: &str, text: &str) -> Arc<Desired> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let file =
        File { filename: path.to_string_lossy().into_owned(), watch: false, ..File::default() };
    let mut settings = Settings::default();
    settings.providers.file = Some(file);
    let (sender, mut changes) = mpsc::channel(1);
    let (_held, settings) = watch::channel(Arc::new(settings));
    let token = CancellationToken::new();
    let run = provider::file::run(settings, sender, token.clone());
    let first = async {
        let change = changes.recv().await;
        token.cancel();
        change
    };
    match tokio::join!(run, first).1 {
        Some(Change::Desired(_, desired)) => desired,
        other => panic!("{other:?}"),
    }
}

fn shown(desired: &Desired) -> String {
    let mut text = String::new();
    for (name, item) in &desired.services {
        writeln!(text, "{name} {}", serde_json::to_string(&item.value).unwrap()).unwrap();
    }
    for (name, item) in &desired.transports {
        writeln!(text, "{name} {}", serde_json::to_string(&item.value).unwrap()).unwrap();
    }
    for (name, item) in &desired.tls.options {
        writeln!(text, "{name} {}", serde_json::to_string(&item.value).unwrap()).unwrap();
    }
    for (name, item) in &desired.tls.stores {
        writeln!(text, "{name} {}", serde_json::to_string(&item.value).unwrap()).unwrap();
    }
    for item in &desired.tls.certificates {
        writeln!(text, "{}", serde_json::to_string(&item.value).unwrap()).unwrap();
    }
    text
}

#[tokio::test]
async fn every_option_is_seen_or_refused_by_name_and_the_rest_is_served() {
    let mut failures = Vec::new();
    for row in rows() {
        let value = value(&row);
        let text = yaml(&row, &value);

        let desired = load(&text).await;

        let shown = shown(&desired);
        let problems: Vec<_> = desired.problems.iter().map(ToString::to_string).collect();
        let in_toml = load_as("dynamic.toml", &toml(&text)).await;
        if self::shown(&in_toml) != shown || in_toml.problems.len() != problems.len() {
            failures.push(format!("{}: TOML differs: {:?}", row.path, in_toml.problems));
        }
        let is_said = provider::file::options()
            .any(|option| option.path == row.written && option.state == State::Built);
        if is_said != desired.problems.is_empty() {
            failures.push(format!("{}: the table says otherwise: {problems:?}", row.path));
        }
        let last = row.path.rsplit('.').next().unwrap().trim_end_matches("[n]").to_lowercase();
        let section = row.path.split('.').next().unwrap();
        let first = value.trim_matches(['[', '{', '}', ']']).split(',').next().unwrap();
        let is_seen = problems.is_empty()
            && match row.kind.as_str() {
                "bool" | "struct" => shown.to_lowercase().contains(&last),
                _ => shown.contains(first),
            };
        // A section that is not built is refused as a whole.
        let parent = row.path.split('.').rev().nth(1).unwrap().to_lowercase();
        let is_refused = problems.iter().any(|problem| {
            let problem = problem.to_lowercase();
            problem.contains(&format!(".{last}`"))
                || problem.contains(&format!("`{last}`"))
                || problem.contains(&format!("{parent}` is not built"))
                || problem.contains(&format!("{section} routers are not built"))
        });
        if !is_seen && !is_refused {
            failures.push(format!("{}\n{text}{shown}{problems:?}", row.path));
        }
        if desired.routers.len() != 1 {
            failures
                .push(format!("{}: the router beside it is gone\n{text}{problems:?}", row.path));
        }
        if row.tier == 1 && is_refused {
            failures.push(format!("{}: tier 1, not built: {problems:?}", row.path));
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n\n"));
}

#[tokio::test]
async fn a_bad_value_names_its_line_and_leaves_out_its_own_thing() {
    let mut failures = Vec::new();
    for row in rows().iter().filter(|row| row.tier < 3) {
        let bad = match row.kind.as_str() {
            "bool" => "maybe",
            "int" => "abc",
            "duration" => "notadur",
            _ => continue,
        };

        let desired = load(&yaml(row, bad)).await;

        let problem = desired.problems.first().map(ToString::to_string).unwrap_or_default();
        if !problem.contains("dynamic.yml:4") || desired.routers.len() != 1 {
            failures.push(format!("{} = {bad}: {problem}", row.path));
        }
        if shown(&desired).contains("@file") {
            failures.push(format!("{} = {bad}: taken", row.path));
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn the_table_in_the_crate_knows_every_key_of_the_reference() {
    let known: Vec<_> = provider::file::options().collect();
    for line in include_str!("reference/dynamic-file.tsv").lines().skip(1) {
        let [_, path, kind, default, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let option = known.iter().find(|option| option.path == path);
        let found = option.map(|option| (option.kind, option.default));
        assert_eq!(found, Some((kind, default)), "{path}");
    }
}
