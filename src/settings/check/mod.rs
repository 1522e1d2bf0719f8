//! What only shows when all options are together: entry points that others name, addresses,
//! ranges. Fills in what Traefik adds by itself.

mod otlp;

use std::collections::BTreeMap;

use super::{EntryPoint, EntryPointHttp, Settings};
use crate::problem::{Code, Origin, Problem};
use crate::tree::{Node, suggest};

const INTERNAL: &str = "traefik";

/// Those of Traefik's default `providers.precedence`.
const PROVIDERS: [&str; 17] = [
    "kubernetesgateway",
    "kubernetescrd",
    "kubernetes",
    "kubernetesingressnginx",
    "swarm",
    "docker",
    "file",
    "redis",
    "knative",
    "consul",
    "consulcatalog",
    "nomad",
    "etcd",
    "ecs",
    "http",
    "zookeeper",
    "rest",
];

/// Adds the entry points that are there without being written, and checks the rest.
pub(super) fn complete(settings: &mut Settings, node: &Node, problems: &mut Vec<Problem>) {
    let mut check = Check { node, problems };
    add_entry_points(settings);
    check.addresses(&settings.entry_points);
    check.redirections(&settings.entry_points);
    check.named_entry_points(settings);
    check.values(settings);
    check.provider_order(&settings.providers.precedence);
    for (name, point) in &settings.entry_points {
        check.aliases(name, &point.http);
    }
    check.log(settings);
}

// As Traefik: `http` on :80 when none is written, `traefik` on :8080 when something needs it.
fn add_entry_points(settings: &mut Settings) {
    let at = |address: &str| EntryPoint { address: address.to_owned(), ..EntryPoint::default() };
    let points = &mut settings.entry_points;
    if points.is_empty() {
        points.insert("http".to_owned(), at(":80"));
    }
    let api = settings.api.as_ref().is_some_and(|api| api.insecure);
    let ping = settings.ping.as_ref().map(|ping| (ping.manual_routing, &ping.entry_point));
    let metrics = settings.metrics.prometheus.as_ref();
    let metrics = metrics.map(|metrics| (metrics.manual_routing, &metrics.entry_point));
    let is_needed = |of: Option<(bool, &String)>| {
        of.is_some_and(|(is_manual, name)| !is_manual && name == INTERNAL)
    };
    if api || is_needed(ping) || is_needed(metrics) {
        points.entry(INTERNAL.to_owned()).or_insert_with(|| at(":8080"));
    }
}

/// Why an address is none, if it is not `[host]:port` with an optional `/tcp`.
fn address_fault(address: &str) -> Option<(Code, String)> {
    let bad = |text: &str| Some((Code::BadValue, text.to_owned()));
    if address.is_empty() {
        return bad("has no address; write it as `:80` or `127.0.0.1:80`");
    }
    let (socket, network) = address.split_once('/').unwrap_or((address, "tcp"));
    match network.to_ascii_lowercase().as_str() {
        "tcp" => {}
        "udp" => {
            let text = format!("{address:?} is a UDP entry point; Wharf does not support it yet");
            return Some((Code::NotBuilt, text));
        }
        _ => return bad(&format!("invalid protocol in {address:?}; use /tcp or nothing")),
    }
    match socket.rsplit_once(':') {
        None => bad(&format!("address {address:?} has no port; write it as `:80`")),
        Some((_, port)) if port.parse::<u16>().is_err() => {
            bad(&format!("address {address:?}: invalid port; it is a number from 0 to 65535"))
        }
        Some(_) => None,
    }
}

struct Check<'c> {
    node: &'c Node,
    problems: &'c mut Vec<Problem>,
}

impl Check<'_> {
    /// Where an option was written, or the nearest section above it.
    fn origin(&self, path: &str) -> Origin {
        let mut node = self.node;
        for key in path.split('.') {
            match node.child(key) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.origin.clone()
    }

    fn error(&mut self, code: Code, path: &str, text: impl Into<Box<str>>) {
        self.problems.push(Problem::error(code, self.origin(path), text));
    }

    fn warn(&mut self, path: &str, text: impl Into<Box<str>>, mend: &str) {
        let problem = Problem::warning(Code::BadValue, self.origin(path), text);
        self.problems.push(problem.mend(mend));
    }

    /// What is taken as written, and yet worth a word.
    fn notice(&mut self, path: &str, text: &str, mend: &str) {
        let problem = Problem::warning(Code::Notice, self.origin(path), text);
        self.problems.push(problem.mend(mend));
    }

    /// Whether an error about something below was already told: what is missing here may be
    /// just that, misspelt.
    fn is_told(&self, path: &str) -> bool {
        let below = format!("`{path}.");
        let unknown = |problem: &&Problem| problem.code == Code::UnknownKey;
        self.problems.iter().filter(unknown).any(|problem| problem.text.contains(&below))
    }

    fn addresses(&mut self, points: &BTreeMap<String, EntryPoint>) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, point) in points {
            let path = format!("entryPoints.{name}.address");
            if point.address.is_empty() && self.is_told(&format!("entryPoints.{name}")) {
                continue;
            }
            if let Some((code, fault)) = address_fault(&point.address) {
                self.error(code, &path, format!("entry point `{name}`: {fault}"));
                continue;
            }
            let is_any_port = point.address.ends_with(":0");
            if let Some(other) = seen.insert(&point.address, name).filter(|_| !is_any_port) {
                let text = format!(
                    "entry point `{name}`: address {:?} is already that of entry point `{other}`",
                    point.address
                );
                self.error(Code::Conflict, &path, text);
            }
        }
    }

    fn redirections(&mut self, points: &BTreeMap<String, EntryPoint>) {
        for (name, point) in points {
            let redirections = point.http.redirections.as_ref();
            let Some(to) = redirections.and_then(|all| all.entry_point.as_ref()) else { continue };
            let path = format!("entryPoints.{name}.http.redirections.entryPoint.to");
            if let Some(port) = to.to.strip_prefix(':') {
                if port.parse::<u16>().is_err() {
                    self.error(Code::BadValue, &path, format!("`to` has no port in {:?}", to.to));
                }
            } else if to.to.is_empty() {
                self.error(Code::BadValue, &path, "`to` names no entry point to redirect to");
            } else {
                self.known(points, &to.to, &path, |name| {
                    // As Traefik's words, though it starts without the redirection.
                    format!("'to' entry point field references a non-existing entry point: {name}")
                });
            }
        }
    }

    fn named_entry_points(&mut self, settings: &Settings) {
        let points = &settings.entry_points;
        if let Some(ping) = settings.ping.as_ref().filter(|ping| !ping.manual_routing) {
            self.known(points, &ping.entry_point, "ping.entryPoint", |name| {
                format!("ping: no entry point is named `{name}`")
            });
        }
        let prometheus = settings.metrics.prometheus.as_ref();
        if let Some(metrics) = prometheus.filter(|metrics| !metrics.manual_routing) {
            self.known(points, &metrics.entry_point, "metrics.prometheus.entryPoint", |name| {
                format!("metrics: no entry point is named `{name}`")
            });
        }
    }

    fn known(
        &mut self,
        points: &BTreeMap<String, EntryPoint>,
        name: &str,
        path: &str,
        text: impl Fn(&str) -> String,
    ) {
        if points.contains_key(name) || self.is_told(&format!("entryPoints.{name}")) {
            return;
        }
        let names = || points.keys().map(String::as_str);
        let mend = match suggest::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        let problem = Problem::error(Code::UnknownName, self.origin(path), text(name));
        self.problems.push(problem.mend(mend));
    }

    fn provider_order(&mut self, precedence: &[String]) {
        for name in precedence {
            if !PROVIDERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let path = "providers.precedence";
                // As Traefik's words.
                let text = format!("provider {name:?} is not a valid provider name");
                let problem = Problem::error(Code::UnknownName, self.origin(path), text);
                let mend = match suggest::nearest(name, PROVIDERS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "Wharf has docker and file".to_owned(),
                };
                self.problems.push(problem.mend(mend));
            }
        }
    }

    fn aliases(&mut self, name: &str, http: &EntryPointHttp) {
        let path = format!("entryPoints.{name}.http.underscoreHeadersStrategy");
        match (http.alias_headers_strategy, http.underscore_headers_strategy) {
            (_, None) => {}
            (Some(all), Some(some)) if all != some => {
                // As Traefik's words.
                let text = format!(
                    "entry point \"{name}\" cannot have both underscoreHeadersStrategy and \
                     aliasHeadersStrategy options configured with different values"
                );
                self.error(Code::Conflict, &path, text);
            }
            (_, Some(_)) => self.notice(
                &path,
                "the option is deprecated: it knows underscores only",
                "use aliasHeadersStrategy",
            ),
        }
    }

    fn core(&mut self, core: &super::Core) {
        let path = "core.defaultRuleSyntax";
        match core.default_rule_syntax.as_str() {
            "v3" => {}
            "v2" => {
                let text = "the v2 rule syntax is deprecated";
                self.notice(path, text, "write rules in the v3 syntax and drop the option");
            }
            // As Traefik's words.
            other => {
                let text = format!("unsupported default rule syntax configuration: {other:?}");
                self.error(Code::BadValue, path, text);
            }
        }
    }

    fn values(&mut self, settings: &Settings) {
        if let Some(core) = &settings.core {
            self.core(core);
        }
        if settings.experimental.fast_proxy.is_some() {
            let text = "has no effect: there is one proxy code, and it is fast";
            self.notice("experimental.fastProxy", text, "remove it");
        }
        if let Some(api) = &settings.api
            && !api.base_path.starts_with('/')
        {
            // As Traefik's words.
            let text = "API basePath must be a valid absolute URL path";
            self.error(Code::BadValue, "api.basePath", format!("{text}, not {:?}", api.base_path));
        }
        if let Some(ping) = &settings.ping
            && !(200..=599).contains(&ping.terminating_status_code)
        {
            let text = format!("{} is no status; use 200 to 599", ping.terminating_status_code);
            self.error(Code::BadValue, "ping.terminatingStatusCode", text);
        }
        let codes = settings.access_log.iter().flat_map(|log| &log.filters.status_codes);
        for code in codes.filter(|code| !is_status_range(code)) {
            let text = format!("{code:?} is no status or range; write 404 or 500-599");
            self.error(Code::BadValue, "accessLog.filters.statusCodes", text);
        }
        if let Some(file) = &settings.providers.file {
            self.file_provider(file);
        }
        self.otlp(settings);
        let buckets = settings.metrics.prometheus.iter().map(|metrics| &metrics.buckets);
        for buckets in buckets {
            let is_sorted = buckets.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
            if !is_sorted || !buckets.iter().all(|bound| bound.is_finite() && *bound > 0.0) {
                let text = "takes positive bounds in growing order, such as 0.1,0.3,1.2,5.0";
                self.error(Code::BadValue, "metrics.prometheus.buckets", text);
            }
        }
    }

    fn file_provider(&mut self, file: &super::File) {
        match (file.directory.is_empty(), file.filename.is_empty()) {
            (true, true) if self.is_told("providers.file") => {}
            (true, true) => {
                let text = "the file provider has neither `filename` nor `directory`";
                self.error(Code::BadValue, "providers.file", text);
            }
            (false, false) => {
                // As Traefik, which takes the directory and says nothing.
                let text = "`filename` is not used, since `directory` is set";
                self.notice("providers.file.filename", text, "keep one of the two");
            }
            (true, false) | (false, true) => {}
        }
    }

    // As Traefik: a wrong level or format does not stop the start.
    fn log(&mut self, settings: &mut Settings) {
        if let Some(log) = &mut settings.log {
            let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"];
            if !levels.iter().any(|level| level.eq_ignore_ascii_case(&log.level)) {
                let text = format!("no log level {:?}: the level is ERROR", log.level);
                self.warn("log.level", text, &format!("use {}", levels.join(", ")));
                "ERROR".clone_into(&mut log.level);
            }
            if !matches!(&*log.format, "common" | "json" | "") {
                let text = format!("no log format {:?}: the format is common", log.format);
                self.warn("log.format", text, "use common or json");
                "common".clone_into(&mut log.format);
            }
        }
        if let Some(log) = &mut settings.access_log
            && !matches!(&*log.format, "common" | "genericCLF" | "json" | "")
        {
            let text = format!("no access log format {:?}: the format is common", log.format);
            self.warn("accessLog.format", text, "use common, genericCLF or json");
            "common".clone_into(&mut log.format);
        }
    }
}

fn is_status_range(text: &str) -> bool {
    let status = |text: &str| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    match text.split_once('-') {
        None => status(text).is_some(),
        Some((low, high)) => match (status(low), status(high)) {
            (Some(low), Some(high)) => low <= high,
            (Some(_) | None, _) => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for address in [":80", "127.0.0.1:80", "[::1]:80", ":80/tcp", ":0"] {
            assert_eq!(address_fault(address), None, "{address}");
        }
        for (address, words) in [
            ("", "has no address"),
            ("80", "has no port"),
            (":99999", "invalid port"),
            (":x", "invalid port"),
            (":80/sctp", "invalid protocol"),
            (":53/udp", "does not support it yet"),
        ] {
            let (_, text) = address_fault(address).unwrap();
            assert!(text.contains(words), "{address}: {text}");
        }
    }

    #[test]
    fn statuses_are_single_or_ranges() {
        for text in ["200", "400-499", "500-500"] {
            assert!(is_status_range(text), "{text}");
        }
        for text in ["", "abc", "99", "600", "500-400", "2-3", "200-"] {
            assert!(!is_status_range(text), "{text}");
        }
    }
}
