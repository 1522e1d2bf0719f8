use super::*;
use crate::settings::{self, Start, options};
use crate::tree::known::State;

fn by(flags: &[&str]) -> Settings {
    let arguments = flags.iter().map(|flag| (*flag).to_owned()).collect();
    settings::read(&Start { arguments, ..Start::default() }).unwrap().settings
}

fn told(before: &[&str], now: &[&str]) -> (Vec<String>, Settings) {
    let compared = compare(&by(before), &by(now)).unwrap();
    let told = compared.differences.iter().map(|one| {
        let sign = if one.needs == Needs::Upgrade { "!" } else { "" };
        format!("{sign}{}: {} -> {}", one.option, one.before, one.now)
    });
    (told.collect(), compared.adopted)
}

/// A value of this kind that is not the default, and another.
fn values<'k>(kind: &'k str, path: &str) -> Option<(&'k str, &'k str)> {
    Some(match kind {
        "bool" => ("true", "false"),
        "int" => ("7", "8"),
        "float" => ("0.25", "0.5"),
        "duration" => ("7s", "8s"),
        "list of float" => ("0.25,0.5", "0.75"),
        "list" if path.ends_with("IPs") => ("10.0.0.1", "10.0.0.2"),
        "list" if path.ends_with("precedence") => ("file,docker", "docker,file"),
        "string" if path.ends_with("address") => (":8081", ":8082"),
        "string" if path.contains("ntryPoint") && !path.contains("http.tls") => ("web", "other"),
        "list" | "string" => ("a", "b"),
        _ => {
            let values = kind.strip_prefix("enum(")?.strip_suffix(')')?;
            let (first, rest) = values.split_once(',')?;
            (first, rest.split(',').next()?)
        }
    })
}

#[test]
fn every_option_has_its_place_in_the_table() {
    for option in options().filter(|option| option.state == State::Built) {
        assert!(needs(&option.path).is_some(), "{}: add it to change.tsv", option.path);
    }
    let known: Vec<_> = options().map(|option| option.path.into_owned()).collect();
    for (path, _) in rules() {
        assert!(known.iter().any(|one| one.starts_with(path)), "{path} is no option");
    }
}

/// Each option that takes a value is changed alone: it is found under its name, and taken over
/// unless it needs an upgrade.
#[test]
fn every_option_that_changes_is_found_by_its_name() {
    let base = ["--entrypoints.web.address=:8000", "--entrypoints.other.address=:8001"];
    let mut count = 0;
    for option in options().filter(|option| option.state == State::Built) {
        let Some((one, two)) = values(option.kind, &option.path) else { continue };
        let path = option.path.replace("<name>", "web");
        let node = |value: &str| {
            let mut node = Node::new(Origin::Internal);
            for flag in base {
                let (other, value) = flag.trim_start_matches("--").split_once('=').unwrap();
                if !other.eq_ignore_ascii_case(&path) {
                    node.insert(other, value, Origin::Internal).unwrap();
                }
            }
            node.insert(&path.replace("[n]", "[0]"), value, Origin::Internal).unwrap();
            tree::decode::<Settings>(&node, &mut Vec::new())
        };
        let (Some(before), Some(now)) = (node(one), node(two)) else {
            panic!("{path} takes neither {one} nor {two}");
        };
        // What has no effect is not kept.
        if before == now {
            continue;
        }
        let compared = compare(&before, &now).unwrap();

        let expected = path.split("[n]").next().unwrap().to_owned();
        let found: Vec<_> = compared.differences.iter().map(|one| one.option.as_str()).collect();
        assert_eq!(found, [expected.as_str()]);
        let is_taken = needs(&option.path) == Some(Needs::Nothing);
        assert_eq!(compared.adopted, if is_taken { now } else { before }, "{path}");
        count += 1;
    }
    assert!(count > 150, "{count}");
}

#[test]
fn what_needs_an_upgrade_stays_as_it_is_and_the_rest_is_taken() {
    let before = ["--entrypoints.web.address=:80", "--log.level=INFO"];
    let now = [
        "--entrypoints.web.address=:81",
        "--entrypoints.web.http.middlewares=a@file",
        "--entrypoints.new.address=:82",
        "--log.level=DEBUG",
    ];

    let (told, adopted) = told(&before, &now);

    assert_eq!(
        told,
        [
            "!entryPoints.new: not set -> set",
            "!entryPoints.web.address: :80 -> :81",
            "entryPoints.web.http.middlewares: none -> a@file",
            "log.level: INFO -> DEBUG",
        ]
    );
    assert_eq!(adopted.entry_points.len(), 1);
    assert_eq!(adopted.entry_points["web"].address, ":80");
    assert_eq!(adopted.entry_points["web"].http.middlewares, ["a@file"]);
    assert_eq!(adopted.log.unwrap().level, "DEBUG");
}

#[test]
fn what_names_an_entry_point_or_a_resolver_waits_with_it() {
    let before = ["--entrypoints.web.address=:80"];
    let now = [
        "--entrypoints.web.address=:80",
        "--entrypoints.web.http.redirections.entrypoint.to=:443",
        "--entrypoints.websecure.address=:443",
        "--ping.entrypoint=websecure",
        "--log.level=DEBUG",
    ];

    let (waits, adopted) = told(&before, &now);

    let waits = waits.iter().filter(|one| one.starts_with('!'));
    let names: Vec<_> = waits.filter_map(|one| one.split(':').next()).collect();
    assert_eq!(names, ["!entryPoints.web.http.redirections", "!entryPoints.websecure", "!ping"]);
    let mut only_log = by(&before);
    only_log.log = by(&now).log;
    assert_eq!(adopted, only_log);
    let (taken, adopted) = told(&[before[0], now[2]], &now);
    assert!(taken.iter().all(|one| !one.starts_with('!')), "{taken:?}");
    assert_eq!(adopted, by(&now));

    let (waits, _) = told(
        &before,
        &[
            before[0],
            "--entrypoints.web.http.tls.certresolver=le",
            "--certificatesresolvers.le.acme.email=a@example.com",
        ],
    );
    assert!(waits.iter().all(|one| one.starts_with('!')), "{waits:?}");
}

#[test]
fn sections_are_switched_on_and_off_with_what_is_below_them() {
    let on = ["--accesslog.format=json", "--accesslog.filters.statuscodes=500-599,404"];

    let (told_on, adopted) = told(&[], &on);
    assert_eq!(
        told_on,
        [
            "accessLog: not set -> set",
            "accessLog.format: common -> json",
            "accessLog.filters.statusCodes: none -> 500-599, 404",
        ]
    );
    assert_eq!(adopted, by(&on));

    let (told_off, adopted) = told(&on, &[]);
    assert_eq!(told_off, ["accessLog: set -> not set"]);
    assert_eq!(adopted, by(&[]));
}

#[test]
fn secrets_are_not_shown() {
    let (told, _) = told(
        &["--providers.docker.password=old"],
        &[
            "--providers.docker.password=new",
            "--providers.docker.endpoint=https://me:secret@engine",
        ],
    );

    assert_eq!(
        told,
        [
            "providers.docker.endpoint: not set -> (not shown)",
            "providers.docker.password: (not shown) -> (not shown)",
        ]
    );
}
