//! Every option of Traefik's is taken from every source, or refused by its name.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use wharf::problem::Problem;
use wharf::settings::{Read, Start, options, read};
use wharf::tree::known::State;

struct Row {
    tier: u8,
    path: &'static str,
    kind: &'static str,
}

fn rows() -> Vec<Row> {
    let rows = include_str!("reference/static-config.tsv").lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        Row { tier: columns[0].parse().unwrap(), path: columns[2], kind: columns[4] }
    });
    rows.filter(|row| row.path != "(none)").collect()
}

/// An option at a real place, with a value.
#[derive(Clone)]
struct Setting {
    path: String,
    value: String,
    kind: &'static str,
}

fn setting(path: &str, value: &str, kind: &'static str) -> Setting {
    Setting { path: path.to_owned(), value: value.to_owned(), kind }
}

fn sample(row: &Row) -> Setting {
    let path = row
        .path
        .replace("<name>", "web")
        .replace("<provider>", "consul")
        .replace("[n]", "[0]")
        .replace(".*", ".x");
    let value = match (row.path, row.kind) {
        ("api.basePath", _) => "/base",
        ("ping.entryPoint" | "metrics.prometheus.entryPoint", _) => "web",
        ("entryPoints.<name>.address", _) => ":8082",
        ("entryPoints.<name>.http.redirections.entryPoint.to", _) => ":443",
        ("providers.precedence", _) => "file,docker",
        ("accessLog.filters.statusCodes", _) => "200,300-302",
        ("ping.terminatingStatusCode", _) => "299",
        (_, "list of float") => "0.5,2.5",
        (_, "float") => "0.5",
        (_, "list") => "a,b",
        (_, "int") => "7",
        (_, "duration") => "7s",
        (_, "bool" | "struct" | "group" | "removed" | "list of struct") => "true",
        (_, kind) if kind.starts_with("enum(") => {
            kind.trim_end_matches(')').rsplit([',', '(']).next().unwrap()
        }
        _ => "x",
    };
    setting(&path, value, row.kind)
}

/// What the sample needs beside it to make sense.
fn with_company(sample: &Setting) -> Vec<Setting> {
    let mut all = vec![sample.clone()];
    let mut add = |path: &str, value: &str| {
        let is_there = all.iter().any(|setting| setting.path == path);
        if !is_there {
            all.push(setting(path, value, "string"));
        }
    };
    add("entryPoints.web.address", ":8081");
    if sample.path.starts_with("providers.file") {
        add("providers.file.filename", "/dynamic.yml");
    }
    if sample.path.starts_with("log.otlp") || sample.path.starts_with("accessLog.otlp") {
        add("experimental.otlplogs", "true");
    }
    if sample.path.contains("redirections") {
        add("entryPoints.web.http.redirections.entryPoint.to", ":443");
    }
    all
}

fn start() -> Start {
    Start::default()
}

fn from_flags(settings: &[Setting]) -> Result<Read, Vec<Problem>> {
    let arguments = settings
        .iter()
        .map(|Setting { path, value, .. }| format!("--{}={value}", path.to_lowercase()));
    read(&Start { arguments: arguments.collect(), ..start() })
}

fn from_environment(settings: &[Setting]) -> Result<Read, Vec<Problem>> {
    let variables = settings.iter().map(|Setting { path, value, .. }| {
        let name = path.replace('[', "_").replace(']', "").replace('.', "_").to_uppercase();
        (format!("TRAEFIK_{name}"), value.clone())
    });
    read(&Start { variables: variables.collect(), ..start() })
}

fn document(settings: &[Setting]) -> Value {
    let mut root = Value::Object(Map::new());
    for Setting { path, value, kind } in settings {
        let mut place = &mut root;
        for key in path.replace('[', ".[").split('.') {
            place = if key == "[0]" {
                if !place.is_array() {
                    *place = json!([{}]);
                }
                &mut place[0]
            } else {
                if !place.is_object() {
                    *place = json!({});
                }
                &mut place[key]
            };
        }
        if !place.is_null() {
            continue;
        }
        *place = match *kind {
            "bool" => json!(value == "true"),
            "int" => json!(value.parse::<i64>().unwrap()),
            "float" => json!(value.parse::<f64>().unwrap()),
            "list" => json!(value.split(',').collect::<Vec<_>>()),
            "list of float" => {
                json!(value.split(',').map(|v| v.parse::<f64>().unwrap()).collect::<Vec<_>>())
            }
            "struct" => json!({}),
            _ => json!(value),
        };
    }
    root
}

fn from_file(ending: &str, text: &str) -> Result<Read, Vec<Problem>> {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("traefik");
    std::fs::write(name.with_extension(ending), text).unwrap();
    read(&Start { candidates: vec![name], ..start() })
}

fn from_all(settings: &[Setting]) -> [(&'static str, Result<Read, Vec<Problem>>); 4] {
    let document = document(settings);
    [
        ("flags", from_flags(settings)),
        ("environment", from_environment(settings)),
        // JSON is YAML.
        ("yaml", from_file("yml", &document.to_string())),
        ("toml", from_file("toml", &toml::to_string(&document).unwrap())),
    ]
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.replace('[', ".[").split('.').try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.trim_matches(['[', ']']).parse::<usize>().ok()?),
        Value::Object(map) => {
            map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

fn words(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn expected(sample: &Setting) -> Value {
    match sample.kind {
        "float" => json!(sample.value.parse::<f64>().unwrap()),
        "list of float" => json!([0.5, 2.5]),
        "list" => json!(sample.value.split(',').collect::<Vec<_>>()),
        "bool" => json!(true),
        "int" => json!(sample.value.parse::<i64>().unwrap()),
        _ => json!(sample.value),
    }
}

/// Whether the value came through; else what the refusal says.
fn outcome(
    source: &str,
    sample: &Setting,
    result: Result<Read, Vec<Problem>>,
) -> Result<(), String> {
    let read = result.map_err(|problems| words(&problems))?;
    let value = serde_json::to_value(&read.settings).unwrap();
    let found = at(&value, &sample.path);
    let is_there = match sample.kind {
        "struct" => found.is_some_and(|value| !value.is_null()),
        kind if kind.starts_with("enum") => found
            .and_then(Value::as_str)
            .is_some_and(|value| value.eq_ignore_ascii_case(&sample.value)),
        _ => found == Some(&expected(sample)),
    };
    assert!(is_there, "{source}: {} = {}: found {found:?}", sample.path, sample.value);
    Ok(())
}

#[test]
fn every_option_is_taken_or_refused_by_its_name_from_every_source() {
    let (mut taken, mut refused) = (0, 0);
    for row in rows() {
        let sample = sample(&row);
        let mut outcomes = Vec::new();
        for (source, result) in from_all(&with_company(&sample)) {
            outcomes.push((source, outcome(source, &sample, result)));
        }
        let is_taken = outcomes.iter().all(|(_, outcome)| outcome.is_ok());
        let said = options().find(|option| option.path == row.path);
        let is_said = said.is_some_and(|option| option.state == State::Built);
        let name = row.path.trim_end_matches(".*").replace("<provider>", "consul").to_lowercase();
        let name = name.replace("<name>", "web").replace("[n]", "[0]");
        let is_section = matches!(
            row.path,
            "entryPoints.<name>"
                | "certificatesResolvers.<name>"
                | "entryPoints.<name>.http"
                | "entryPoints.<name>.http.tls.domains"
        );
        assert!(is_section || is_taken == is_said, "{}: the table says otherwise", row.path);
        if is_taken {
            taken += 1;
            continue;
        }
        refused += 1;
        for (source, outcome) in outcomes {
            if is_section {
                continue;
            }
            let Err(words) = outcome else {
                panic!("{}: {source} takes what others refuse", row.path);
            };
            let words = words.to_lowercase();
            assert!(
                words.contains("does not support it yet") || words.contains("was removed"),
                "{}: {source}: {words}",
                row.path
            );
            let section = words.split('`').nth(1).unwrap();
            assert!(name.starts_with(section), "{}: {source}: {words}", row.path);
        }
        assert!(row.tier > 1 || is_section, "tier 1, but refused: {}", row.path);
    }
    assert!(taken > 100 && refused > 20, "{taken} taken, {refused} refused");
}

#[test]
fn switched_on_sections_have_their_defaults() {
    let text = "api: {}\nping:\nlog: {}\naccessLog: {}\nmetrics:\n  prometheus:\n\
                providers:\n  docker: {}\n";

    let settings = from_file("yml", text).unwrap().settings;

    assert_eq!(settings.api.unwrap().base_path, "/");
    assert_eq!(settings.ping.unwrap().terminating_status_code, 503);
    assert_eq!(settings.log.unwrap().level, "ERROR");
    assert_eq!(settings.access_log.unwrap().format, "common");
    assert!(settings.metrics.prometheus.unwrap().add_routers_labels);
    assert!(settings.providers.docker.unwrap().exposed_by_default);
    let names: Vec<&String> = settings.entry_points.keys().collect();
    assert_eq!(names, ["http", "traefik"]);
}

#[test]
fn entry_points_are_added_only_when_something_needs_them() {
    let cases = [
        (vec!["--entrypoints.web.address=:80"], vec!["web"]),
        (vec!["--api.insecure"], vec!["http", "traefik"]),
        (vec!["--api"], vec!["http"]),
        (vec!["--ping", "--entrypoints.web.address=:80", "--ping.entrypoint=web"], vec!["web"]),
        (vec!["--ping", "--ping.manualrouting"], vec!["http"]),
        (vec!["--metrics.prometheus"], vec!["http", "traefik"]),
    ];
    for (arguments, expected) in cases {
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let read = read(&Start { arguments: arguments.clone(), ..start() }).unwrap();
        let names: Vec<&String> = read.settings.entry_points.keys().collect();
        assert_eq!(names, expected, "{arguments:?}");
    }
}

#[test]
fn mistakes_are_named_with_their_line_and_the_nearest_name() {
    let cases = [
        (
            "entryPoints:\n  web:\n    adress: \":80\"\n",
            "traefik.yml:3:5: no such option `entryPoints.web.adress`; did you mean `address`?",
        ),
        (
            "entryPonts: {}\n",
            "traefik.yml:1:1: no such option `entryPonts`; did you mean `entryPoints`?",
        ),
        (
            "entryPoints:\n  web:\n    address: \":80\"\n    http: {}\n",
            "http cannot be a standalone",
        ),
        (
            "providers:\n  http:\n    endpoint: http://a/\n",
            "is an option of Traefik's; Wharf does not support it yet",
        ),
        (
            "certificatesResolvers:\n  le:\n    tailscale: {}\n",
            "`certificatesResolvers.le.tailscale` is an option of Traefik's",
        ),
        (
            "providers:\n  docker:\n    swarmMode: true\n",
            "traefik.yml:3:5: `providers.docker.swarmMode` was removed",
        ),
        (
            "providers:\n  docker:\n    watch: maybe\n",
            "traefik.yml:3:5: `providers.docker.watch` takes true or false, not \"maybe\"",
        ),
        (
            "providers:\n  providersThrottleDuration: abc\n",
            "traefik.yml:2:3: `providers.providersThrottleDuration` invalid duration \"abc\"",
        ),
        (
            "api:\n  basePath: x\n",
            "traefik.yml:2:3: API basePath must be a valid absolute URL path",
        ),
        ("ping:\n  entryPoint: nope\n", "ping: no entry point is named `nope`"),
        (
            "entryPoints:\n  web:\n    address: \":80\"\n    http:\n      redirections:\n        \
             entryPoint:\n          to: webb\n",
            "traefik.yml:7:11: 'to' entry point field references a non-existing entry point: webb; did you mean `web`?",
        ),
        ("entryPoints:\n  dns:\n    address: \":53/udp\"\n", "Wharf does not support it yet"),
        (
            "entryPoints:\n  a:\n    address: \":80\"\n  b:\n    address: \":80\"\n",
            "is already that of entry point `a`",
        ),
        ("accessLog:\n  filters:\n    statusCodes: [abc]\n", "\"abc\" is no status or range"),
        ("# nothing\n", "no configuration found in file"),
        ("a: [1\nb: 2\n", "not valid YAML"),
    ];
    for (text, expected) in cases {
        let words = words(&from_file("yml", text).unwrap_err());
        assert!(words.contains(expected), "{text}\n{words}");
    }
}

#[test]
fn one_source_is_used_and_the_others_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traefik.yml");
    std::fs::write(&file, "log:\n  level: INFO\n").unwrap();
    let all = Start {
        arguments: vec!["--log.level=WARN".to_owned()],
        variables: vec![
            ("TRAEFIK_LOG_LEVEL".to_owned(), "DEBUG".to_owned()),
            ("TRAEFIK_NOSUCH".to_owned(), "1".to_owned()),
        ],
        candidates: vec![folder.path().join("wharf"), folder.path().join("traefik")],
    };

    let with_file = read(&all).unwrap();
    let with_flags = read(&Start { candidates: Vec::new(), ..all.clone() }).unwrap();
    let with_variables = read(&Start { variables: all.variables.clone(), ..start() }).unwrap();

    let level = |read: &Read| read.settings.log.clone().unwrap().level;
    assert_eq!(
        (level(&with_file), &*with_file.source),
        ("INFO".to_owned(), &*file.display().to_string())
    );
    assert_eq!((level(&with_flags), &*with_flags.source), ("WARN".to_owned(), "flags"));
    assert_eq!(
        (level(&with_variables), &*with_variables.source),
        ("DEBUG".to_owned(), "environment variables")
    );
    let warned = words(&with_file.warnings);
    assert!(warned.contains("flag --log.level: is not used"), "{warned}");
    assert!(warned.contains("environment variable TRAEFIK_LOG_LEVEL: is not used"), "{warned}");
    assert!(warned.contains("environment variable TRAEFIK_NOSUCH: no such option"), "{warned}");
    assert!(!words(&with_variables.warnings).contains("LOG_LEVEL"));
}

#[test]
fn the_file_named_by_a_flag_must_be_there() {
    let arguments = vec!["--configfile=/nowhere/traefik.yml".to_owned()];

    let problems = read(&Start { arguments, ..start() }).unwrap_err();

    assert!(words(&problems).contains("/nowhere/traefik.yml: can't be read"), "{problems:?}");
}

#[test]
fn a_file_of_wharfs_name_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["wharf.toml", "traefik.yml"] {
        std::fs::write(folder.path().join(name), "[api]\n").unwrap();
    }
    let candidates: Vec<PathBuf> = vec![folder.path().join("wharf"), folder.path().join("traefik")];

    let read = read(&Start { candidates, ..start() }).unwrap();

    assert!(read.source.ends_with("wharf.toml"), "{}", read.source);
    assert!(words(&read.warnings).contains("traefik.yml: is not used"));
}
