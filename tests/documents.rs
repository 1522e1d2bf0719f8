//! The parts of the documents that are made from the tables of known keys. A stale one fails;
//! `WHARF_WRITE_DOCS=1 cargo test --test documents` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wharf::middleware::KINDS;
use wharf::tree::known::{KnownOption, Schema, State};
use wharf::{labels, middleware, provider, settings};

/// Where something is there and yet not as in Traefik; `docs/differences.md` has the reasons.
const DIFFERS: &[(&str, &str)] = &[
    ("entryPoints", "an unset `readTimeout` limits the head and stalls, not the whole request"),
    ("metrics", "`addRoutersLabels` is on by default"),
    ("providers", "`providersThrottleDuration` only bounds the wait from above"),
    ("providers.docker", "one inspect per change, no list per event"),
    ("providers.file", "a bad field leaves out its own thing, not the file; no Go templates"),
    ("http.routers", "the router of a stopped container stays, and answers 503"),
    (
        "http.services.<service>.loadBalancer",
        "every byte goes on at once, whatever `flushInterval` says; the sticky value is no hash of \
         an address",
    ),
];

/// Groups of the migration table; an option belongs to the longest that it begins with.
const STATIC: &[(&str, &str)] = &[
    ("entryPoints", "Entry points"),
    ("providers", "Providers, in general"),
    ("providers.docker", "Docker provider"),
    ("providers.file", "File provider"),
    ("providers.swarm", "Swarm provider"),
    ("providers.http", "HTTP provider"),
    ("providers.redis", "Redis provider"),
    ("providers.consul", "Consul provider"),
    ("providers.consulCatalog", "Consul Catalog provider"),
    ("providers.etcd", "etcd provider"),
    ("providers.zooKeeper", "ZooKeeper provider"),
    ("providers.nomad", "Nomad provider"),
    ("providers.ecs", "ECS provider"),
    ("providers.kubernetesIngress", "Kubernetes Ingress provider"),
    ("providers.kubernetesIngressNGINX", "Kubernetes Ingress NGINX provider"),
    ("providers.kubernetesCRD", "Kubernetes CRD provider"),
    ("providers.kubernetesGateway", "Kubernetes Gateway provider"),
    ("providers.knative", "Knative provider"),
    ("providers.rest", "REST provider"),
    ("providers.plugin", "Provider plugins"),
    ("api", "API and dashboard"),
    ("ping", "Ping"),
    ("log", "Log"),
    ("accessLog", "Access log"),
    ("metrics", "Metrics"),
    ("tracing", "Tracing"),
    ("certificatesResolvers", "ACME and Tailscale certificates"),
    ("serversTransport", "Default transport to servers"),
    ("tcpServersTransport", "Default TCP transport"),
    ("global", "Global"),
    ("core", "Core"),
    ("experimental", "Experimental features and plugins"),
    ("hostResolver", "Host resolver (CNAME flattening)"),
    ("ocsp", "OCSP stapling"),
    ("spiffe", "SPIFFE"),
];

/// The same for what labels and files say.
const DYNAMIC: &[(&str, &str)] = &[
    ("enable", "`traefik.enable`"),
    ("docker", "`traefik.docker.*`"),
    ("http.routers", "Routers"),
    ("http.services", "Middlewares of a service"),
    ("http.services.<service>.loadBalancer", "Load balancers"),
    ("http.services.<service>.weighted", "Weighted services (files)"),
    ("http.services.<service>.mirroring", "Mirroring (files)"),
    ("http.services.<service>.failover", "Failover (files)"),
    ("http.services.<service>.highestRandomWeight", "Highest random weight (files)"),
    ("http.serversTransports", "Transports to servers (files)"),
    ("tls.certificates", "Certificates (files)"),
    ("tls.stores", "Certificate stores (files)"),
    ("tls.options", "TLS options (files)"),
    ("tcp", "TCP routers, services, middlewares"),
    ("udp", "UDP routers and services"),
];

const BEGIN: &str = "<!-- begin generated: ";
const END: &str = "<!-- end generated -->";

fn is_built(option: &KnownOption) -> bool {
    option.state == State::Built
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A default as it is shown: values as code, descriptions as text.
fn default(option: &KnownOption) -> String {
    let text = option.default.replace('|', "\\|");
    match text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        Some("none" | "absent") => String::new(),
        Some(words) => words.to_owned(),
        None if text.contains(' ') => text,
        None => code(&text),
    }
}

fn kind(option: &KnownOption) -> String {
    match option.kind.strip_prefix("enum(").and_then(|kind| kind.strip_suffix(')')) {
        Some(values) => values.split(',').map(code).collect::<Vec<_>>().join(", "),
        None if option.kind == "struct" => "section".to_owned(),
        None => option.kind.to_owned(),
    }
}

/// Rows of options, with what is in front of all their paths left out.
fn table<'o>(
    options: impl Iterator<Item = &'o KnownOption>,
    name: impl Fn(&str) -> String,
) -> String {
    let mut text =
        String::from("| option | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for option in options {
        let meaning = option.meaning.replace('|', "\\|");
        let (kind, default) = (kind(option), default(option));
        writeln!(text, "| `{}` | {kind} | {default} | {meaning} |", name(&option.path)).unwrap();
    }
    text
}

/// Static options, which also need something when they change.
fn static_table<'o>(options: impl Iterator<Item = &'o KnownOption>) -> String {
    let mut text = String::from(
        "| option | type | default | meaning | a change needs |\n| --- | --- | --- | --- | --- |\n",
    );
    for option in options {
        let meaning = option.meaning.replace('|', "\\|");
        let (path, kind, default) = (&option.path, kind(option), default(option));
        let needs = settings::needs(path).unwrap().as_str();
        writeln!(text, "| `{path}` | {kind} | {default} | {meaning} | {needs} |").unwrap();
    }
    text
}

/// The names of what is not there; a section of the group of which nothing is there is named
/// once.
fn missing<'o>(
    options: impl Iterator<Item = &'o KnownOption>,
    group: &str,
    is_there: impl Fn(&KnownOption) -> bool,
) -> Vec<String> {
    let schema = Schema::new(options.cloned());
    let mut names = Vec::new();
    walk(&schema, "", group, &is_there, &mut names);
    names
}

fn walk(
    schema: &Schema,
    path: &str,
    group: &str,
    is_there: &impl Fn(&KnownOption) -> bool,
    names: &mut Vec<String>,
) {
    for below in &schema.below {
        let join = if path.is_empty() || below.name.starts_with('[') { "" } else { "." };
        let path = format!("{path}{join}{}", below.name);
        if path.starts_with(group) && !holds(below, is_there) {
            names.push(path.trim_end_matches(".*").to_owned());
            continue;
        }
        names.extend(below.option.iter().filter(|option| !is_there(option)).map(|_| path.clone()));
        walk(below, &path, group, is_there, names);
    }
}

/// Whether anything of it is there.
fn holds(schema: &Schema, is_there: &impl Fn(&KnownOption) -> bool) -> bool {
    schema.option.iter().any(is_there) || schema.below.iter().any(|below| holds(below, is_there))
}

/// The group of an option: the longest that it begins with.
fn group(groups: &[(&'static str, &'static str)], path: &str) -> Option<&'static str> {
    let is_in = |group: &str| {
        path.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    groups.iter().map(|(group, _)| *group).filter(|group| is_in(group)).max_by_key(|g| g.len())
}

/// Names without what is said by the group itself.
fn short(group: &str, names: Vec<String>) -> String {
    let shorten = |name: String| match name.strip_prefix(group) {
        Some("") => "all of it".to_owned(),
        Some(rest) => {
            let rest = rest.trim_start_matches('.');
            let below = rest.split_once(">.").filter(|_| rest.starts_with('<'));
            code(below.map_or(rest, |(_, below)| below))
        }
        None => code(&name),
    };
    names.into_iter().map(shorten).collect::<Vec<_>>().join(", ")
}

fn migration(groups: &[(&'static str, &'static str)], options: &[KnownOption]) -> String {
    let mut text =
        String::from("| part | taken | differs | refused by name |\n| --- | --- | --- | --- |\n");
    for (name, title) in groups {
        // What v3 itself removed is refused by both.
        let own: Vec<&KnownOption> = options
            .iter()
            .filter(|option| group(groups, &option.path) == Some(name))
            .filter(|option| option.state != State::Removed)
            .collect();
        let built = own.iter().filter(|option| is_built(option)).count();
        let taken = match own.len() {
            0 => continue,
            all if all == built => "all".to_owned(),
            _ if built == 0 => "nothing".to_owned(),
            all => format!("{built} of {all}"),
        };
        let differs = DIFFERS.iter().find(|(group, _)| group == name).map_or("", |found| found.1);
        let refused = short(name, missing(own.into_iter(), name, is_built));
        writeln!(text, "| {title} | {taken} | {differs} | {refused} |").unwrap();
    }
    text
}

fn of_files() -> Vec<KnownOption> {
    provider::file::options()
        .filter(|option| !option.path.starts_with("http.middlewares."))
        .collect()
}

/// What labels and files say together; a key that only one of them takes is taken.
fn dynamic() -> Vec<KnownOption> {
    let mut all = of_files();
    for option in labels::options().filter(|option| !option.path.starts_with("http.middlewares.")) {
        let section = option.path.trim_end_matches(".*");
        let is_known = all.iter().any(|known| known.path.starts_with(section));
        if !is_known && option.state != State::Ignored {
            all.push(option);
        }
    }
    all
}

fn kinds() -> String {
    let mut text =
        String::from("| middleware | does | options refused by name |\n| --- | --- | --- |\n");
    let options: Vec<_> = middleware::options().collect();
    for (kind, about) in KINDS {
        let own = options.iter().filter(|option| option.path.split('.').next() == Some(kind));
        let later = short(kind, missing(own, kind, is_built));
        writeln!(text, "| `{kind}` | {about} | {later} |").unwrap();
    }
    writeln!(text, "\nRefused by name: {}.", unbuilt_kinds()).unwrap();
    text
}

fn unbuilt_kinds() -> String {
    let mut names: Vec<String> = Vec::new();
    for option in middleware::options() {
        let kind = option.path.split('.').next().unwrap();
        if KINDS.iter().all(|(known, _)| *known != kind) && !names.contains(&code(kind)) {
            names.push(code(kind));
        }
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn static_options() -> String {
    let options: Vec<_> = settings::options().collect();
    let mut text = String::new();
    let mut firsts: Vec<&str> = Vec::new();
    for option in options.iter().filter(|option| is_built(option)) {
        let first = option.path.split('.').next().unwrap();
        if !firsts.contains(&first) {
            firsts.push(first);
        }
    }
    for first in firsts {
        let own = options.iter().filter(|option| option.path.split('.').next() == Some(first));
        let own = own.filter(|option| is_built(option));
        write!(text, "### {first}\n\n{}\n", static_table(own)).unwrap();
    }
    let removed = options.iter().filter(|option| option.state == State::Removed);
    text.push_str("### Removed\n\nRefused as Traefik v3 refuses them:\n\n");
    for option in removed {
        writeln!(text, "- `{}`: {}", option.path.trim_end_matches(".*"), option.meaning).unwrap();
    }
    text
}

fn label_options() -> String {
    let options: Vec<_> = labels::options().collect();
    let name = |path: &str| path.to_lowercase();
    let below = |prefix: &str| {
        let is_below = |option: &&KnownOption| option.path.starts_with(prefix) && is_built(option);
        options.iter().filter(is_below).collect::<Vec<_>>()
    };
    let mut text = String::new();
    for (title, prefix) in [
        ("Containers", "enable"),
        ("", "docker."),
        ("Routers", "http.routers."),
        ("Services", "http.services."),
    ] {
        if !title.is_empty() {
            write!(text, "## {title}\n\n").unwrap();
        }
        writeln!(text, "{}", table(below(prefix).into_iter(), name)).unwrap();
    }
    text.push_str(
        "## Wharf's own\n\nBehind `wharf.` alone: Traefik passes over labels with that root, and would \
         leave out a container with those of services behind its own. A file may have these, too, and \
         Traefik refuses such a file; those of a [deploy](deploys.md#generations-and-canaries) are of \
         the container, and hold for all its services.\n\n",
    );
    let own: Vec<_> = labels::own_options().collect();
    writeln!(text, "{}", table(own.iter(), name)).unwrap();
    text.push_str("## Middlewares\n\nBelow `http.middlewares.<middleware>.`:\n\n");
    let kept =
        |option: &&KnownOption| option.path.starts_with("http.middlewares.") && is_built(option);
    let short =
        |path: &str| path.trim_start_matches("http.middlewares.<middleware>.").to_lowercase();
    text.push_str(&table(options.iter().filter(kept), short));
    text.push_str("\n## Refused by name\n\nA container with one of these is left out, and a problem says so:\n\n");
    for name in missing(options.iter(), "", |option| option.state != State::Later) {
        writeln!(text, "- `{}`", name.to_lowercase()).unwrap();
    }
    text.push_str("\n## Without effect\n\nTraefik reads these and does nothing with them; here a warning says so:\n\n");
    for name in missing(options.iter(), "", |option| option.state != State::Ignored) {
        writeln!(text, "- `{}`", name.to_lowercase()).unwrap();
    }
    text
}

/// What only files can say; the rest is as in labels.
fn file_options() -> String {
    let known: Vec<_> = labels::options().map(|option| option.path).collect();
    let own: Vec<_> =
        of_files().into_iter().filter(|option| !known.contains(&option.path)).collect();
    let mut text = table(own.iter().filter(|option| is_built(option)), str::to_owned);
    text.push_str("\nRefused by name:\n\n");
    for name in missing(own.iter(), "", is_built) {
        writeln!(text, "- `{name}`").unwrap();
    }
    text
}

fn generated(part: &str) -> String {
    match part {
        "static groups" => migration(STATIC, &settings::options().collect::<Vec<_>>()),
        "dynamic groups" => migration(DYNAMIC, &dynamic()),
        "middlewares" => kinds(),
        "other middlewares" => format!("{}\n", unbuilt_kinds()),
        "static options" => static_options(),
        "labels" => label_options(),
        "files" => file_options(),
        _ => panic!("no generated part {part:?}"),
    }
}

/// The page with its generated parts made anew.
fn renewed(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (part, after) = after.split_once(" -->\n").unwrap();
        let (_, after) = after.split_once(END).unwrap();
        write!(out, "{before}{BEGIN}{part} -->\n{}{END}", generated(part)).unwrap();
        rest = after;
    }
    out + rest
}

#[test]
fn what_is_made_from_tables_is_up_to_date() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut stale = Vec::new();
    let mut parts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let page = std::fs::read_to_string(&path).unwrap();
        parts += page.matches(BEGIN).count();
        let new = renewed(&page);
        if new != page {
            if std::env::var_os("WHARF_WRITE_DOCS").is_some() {
                std::fs::write(&path, new).unwrap();
            }
            stale.push(path.file_name().unwrap().to_owned());
        }
    }
    assert_eq!(parts, 7, "a generated part is gone");
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; run `WHARF_WRITE_DOCS=1 cargo test --test documents` and look at the change"
    );
}

#[test]
fn every_option_of_the_tables_is_in_a_group() {
    let known = settings::options().map(|option| (option, STATIC));
    for (option, groups) in known.chain(dynamic().into_iter().map(|option| (option, DYNAMIC))) {
        let is_own = option.path.starts_with("wharf.") || option.state == State::Removed;
        assert!(is_own || group(groups, &option.path).is_some(), "{}", option.path);
    }
}

#[test]
fn what_is_not_taken_is_named_by_its_highest_section() {
    let options: Vec<_> = settings::options().collect();
    let swarm = || options.iter().filter(|option| option.path.starts_with("providers.swarm"));

    assert_eq!(missing(swarm(), "providers.swarm", is_built), ["providers.swarm"]);
    assert!(missing(options.iter(), "", is_built).contains(&"providers.swarm".to_owned()));
    assert_eq!(missing(swarm(), "", |_| true), [""; 0]);
}
