//! Wharf's own routers and middlewares: API, dashboard, ping, metrics, redirections, named
//! and ordered as in Traefik.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use crate::acme;
use crate::middleware::Spec;
use crate::model::{Desired, Name, Provider, Router, Sourced};
use crate::problem::{Code, Origin, Problem};
use crate::settings::{self, RedirectTo};
use crate::tree::{Key, Node};

/// The entry point of everything that is not routed by hand.
const ADMIN: &str = "traefik";

/// Adds them to what the providers want.
pub(super) fn add(cx: &Context, desired: &mut Desired, problems: &mut Vec<Problem>) {
    let settings = &cx.settings;
    let mut maker = Maker { desired, problems };
    if let Some(api) = settings.api.as_ref().filter(|api| api.insecure) {
        maker.api(api);
    }
    if let Some(ping) = settings.ping.as_ref().filter(|ping| !ping.manual_routing) {
        maker.router("ping", &ping.entry_point, "PathPrefix(`/ping`)", "ping@internal", i64::MAX);
    }
    let prometheus = settings.metrics.prometheus.as_ref();
    if let Some(prometheus) = prometheus.filter(|prometheus| !prometheus.manual_routing) {
        let (rule, service) = ("PathPrefix(`/metrics`)", "prometheus@internal");
        maker.router("prometheus", &prometheus.entry_point, rule, service, i64::MAX);
    }
    maker.challenges(settings);
    for (name, entry_point) in &settings.entry_points {
        let redirections = entry_point.http.redirections.as_ref();
        if let Some(to) = redirections.and_then(|redirections| redirections.entry_point.as_ref()) {
            maker.redirection(cx, name, to);
        }
    }
}

struct Maker<'a> {
    desired: &'a mut Desired,
    problems: &'a mut Vec<Problem>,
}

impl Maker<'_> {
    fn api(&mut self, api: &settings::Api) {
        let api_priority = i64::MAX - 1;
        // Traefik's API can't be reached with both options; nobody can depend on that.
        let below = api.base_path.trim_end_matches('/');
        let rule = if below.is_empty() || below.contains('`') {
            "PathPrefix(`/api`)".to_owned()
        } else {
            format!("PathPrefix(`/api`) || PathPrefix(`{below}`)")
        };
        self.router("api", ADMIN, &rule, "api@internal", api_priority);
        if api.debug {
            self.router("debug", ADMIN, "PathPrefix(`/debug`)", "api@internal", api_priority);
        }
        if !api.dashboard {
            return;
        }
        let middlewares = ["dashboard_redirect@internal", "dashboard_stripprefix@internal"];
        let router = Router {
            middlewares: middlewares.map(str::to_owned).to_vec(),
            ..router(ADMIN, "PathPrefix(`/`)", "dashboard@internal", i64::MAX - 2)
        };
        self.put_router("dashboard", router);
        let redirect = section([
            ("regex", text(r"^(http:\/\/(\[[\w:.]+\]|[\w\._-]+)(:\d+)?)\/$")),
            ("replacement", text("${1}/dashboard/")),
            ("permanent", text("true")),
        ]);
        self.middleware("dashboard_redirect", "redirectRegex", redirect);
        let prefixes = section([("[0]", text("/dashboard/")), ("[1]", text("/dashboard"))]);
        let strip = section([("prefixes", prefixes)]);
        self.middleware("dashboard_stripprefix", "stripPrefix", strip);
    }

    /// As Traefik: the answers of HTTP-01 come before everything else on their entry point,
    /// or where `allowACMEByPass` is on, in the order of priorities as anybody's.
    fn challenges(&mut self, settings: &settings::Settings) {
        let resolvers = settings.certificates_resolvers.values();
        let acme = resolvers.filter_map(|resolver| resolver.acme.as_ref());
        let ways = acme.filter(|acme| acme.dns_challenge.is_none());
        let mut on: Vec<_> = ways
            .filter_map(|acme| Some(acme.http_challenge.as_ref()?.entry_point.clone()))
            .filter(|on| settings.entry_points.contains_key(on))
            .collect();
        on.sort();
        on.dedup();
        let (open, first): (Vec<_>, Vec<_>) = on
            .into_iter()
            .partition(|on| settings.entry_points.get(on).is_some_and(|on| on.allow_acme_by_pass));
        let rule = format!("PathPrefix(`{}`)", acme::PATH);
        for (name, on, priority) in [("acme-http", first, i64::MAX), ("acme-http-bypass", open, 0)]
        {
            if !on.is_empty() {
                let router = router("", &rule, "acme-http@internal", priority);
                self.put_router(name, Router { entry_points: on, ..router });
            }
        }
    }

    fn redirection(&mut self, cx: &Context, from: &str, to: &RedirectTo) {
        let port = match redirect_port(cx, from, to) {
            Ok(port) => port,
            Err(problem) => {
                self.problems.push(*problem);
                return;
            }
        };
        let name = normalize(&format!("{from}-to-{}", to.to));
        let redirect = section([
            ("scheme", text(&to.scheme)),
            ("port", text(&port)),
            ("permanent", text(if to.permanent { "true" } else { "false" })),
        ]);
        let middleware = format!("redirect-{name}");
        let is_open = cx.settings.entry_points.get(from).is_some_and(|on| on.allow_acme_by_pass);
        let rule = if is_open {
            "HostRegexp(`^.+$`) && !PathPrefix(`/.well-known/acme-challenge/`)"
        } else {
            "HostRegexp(`^.+$`)"
        };
        self.middleware(&middleware, "redirectScheme", redirect);
        let router = Router {
            middlewares: vec![middleware],
            ..router(from, rule, "noop@internal", to.priority)
        };
        self.put_router(&name, router);
    }

    fn router(&mut self, name: &str, on: &str, rule: &str, service: &str, priority: i64) {
        self.put_router(name, router(on, rule, service, priority));
    }

    fn put_router(&mut self, name: &str, value: Router) {
        let sourced = Sourced::new(value, vec![Origin::Internal]);
        self.desired.routers.insert(Name::new(name, Provider::Internal), Arc::new(sourced));
    }

    fn middleware(&mut self, name: &str, kind: &str, settings: Node) {
        let node = section([(kind, settings)]);
        if let Some(value) = Spec::decode(&node, self.problems) {
            let sourced = Sourced::new(value, vec![Origin::Internal]);
            self.desired.middlewares.insert(Name::new(name, Provider::Internal), Arc::new(sourced));
        }
    }
}

fn router(on: &str, rule: &str, service: &str, priority: i64) -> Router {
    Router {
        entry_points: vec![on.to_owned()],
        rule: rule.to_owned(),
        rule_syntax: "default".to_owned(),
        service: service.to_owned(),
        priority,
        ..Router::default()
    }
}

/// The port to redirect to, as text.
fn redirect_port(cx: &Context, from: &str, to: &RedirectTo) -> Result<String, Box<Problem>> {
    let subject = format!("entry point {from}");
    let problem = |code, text: String| {
        Box::new(Problem::error(code, Origin::Internal, text).about(subject.clone()))
    };
    if to.to.is_empty() {
        let text = "unable to create redirection: the entry point or the port is missing";
        let mend = "set `to` to an entry point's name or a port such as `:443`";
        return Err(Box::new(problem(Code::BadValue, text.to_owned()).mend(mend)));
    }
    if let Some(port) = to.to.strip_prefix(':')
        && port.parse::<u16>().is_ok()
    {
        return Ok(port.to_owned());
    }
    let names = || cx.entry_points.iter().map(|entry_point| &*entry_point.name);
    if let Some(target) = cx.entry_points.iter().find(|entry_point| *entry_point.name == *to.to) {
        return Ok(target.port.to_string());
    }
    let text = format!("'to' entry point field references a non-existing entry point: {}", to.to);
    Err(Box::new(problem(Code::UnknownName, text).mend(super::report::known(&to.to, names()))))
}

/// As Traefik: every run of other characters than letters and digits is one `-`.
fn normalize(name: &str) -> String {
    let parts = name.split(|letter: char| !letter.is_alphanumeric());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn text(value: &str) -> Node {
    Node { origin: Origin::Internal, value: Some(value.into()), children: BTreeMap::new() }
}

fn section<const N: usize>(children: [(&str, Node); N]) -> Node {
    let children = children.map(|(key, node)| (Key(key.into()), node));
    Node { origin: Origin::Internal, value: None, children: children.into() }
}

#[cfg(test)]
mod tests {
    use crate::compile::tests::{compiled, context, desired, found, outcome};
    use crate::model::Provider;
    use crate::settings::{Api, Ping, Prometheus, RedirectTo, Redirections, Settings};

    use super::*;

    fn redirect(settings: &mut Settings, to: &str) {
        let entry_point = Some(RedirectTo { to: to.into(), ..RedirectTo::default() });
        settings.entry_points.get_mut("web").unwrap().http.redirections =
            Some(Redirections { entry_point });
    }

    #[test]
    fn api_ping_and_metrics_are_where_traefik_has_them() {
        let table = compiled(
            &context(|settings| {
                settings.api = Some(Api { insecure: true, debug: true, ..Api::default() });
                settings.ping = Some(Ping { entry_point: "web".into(), ..Ping::default() });
                settings.metrics.prometheus = Some(Prometheus::default());
            }),
            desired(&[]),
        );

        let expected = [
            ("api@internal", "PathPrefix(`/api`)", i64::MAX - 1, "traefik"),
            ("dashboard@internal", "PathPrefix(`/`)", i64::MAX - 2, "traefik"),
            ("debug@internal", "PathPrefix(`/debug`)", i64::MAX - 1, "traefik"),
            ("ping@internal", "PathPrefix(`/ping`)", i64::MAX, "web"),
            ("prometheus@internal", "PathPrefix(`/metrics`)", i64::MAX, "traefik"),
        ];
        let routers = table.desired.routers.iter().map(|(name, router)| {
            let router = &router.value;
            (name.as_str(), &*router.rule, router.priority, &*router.entry_points[0])
        });
        assert_eq!(routers.collect::<Vec<_>>(), expected);
        let names: Vec<_> = table.desired.middlewares.keys().map(Name::as_str).collect();
        assert_eq!(names, ["dashboard_redirect@internal", "dashboard_stripprefix@internal"]);
        // The test has no handler for it, as if it were off.
        assert_eq!(outcome(&table, "prometheus@internal").errors, ["prometheus is not enabled"]);
        assert_eq!(found(&table, 0, "any", false), Some("dashboard@internal"));
    }

    #[test]
    fn an_entry_point_redirects_to_another_or_to_a_port() {
        for (to, name, port) in
            [("websecure", "web-to-websecure", "443"), (":8443", "web-to-8443", "8443")]
        {
            let table = compiled(&context(|settings| redirect(settings, to)), desired(&[]));

            let router = Name::new(name, Provider::Internal);
            assert_eq!(found(&table, 1, "a", false), Some(router.as_str()));
            assert_eq!(found(&table, 1, "", false), None);
            let middleware = Name::new(&format!("redirect-{name}"), Provider::Internal);
            let spec = serde_json::to_value(&table.desired.middlewares[&middleware].value).unwrap();
            let expected = serde_json::json!(
                { "redirectScheme": { "scheme": "https", "port": port, "permanent": true } }
            );
            assert_eq!(spec, expected);
        }
    }

    #[test]
    fn a_redirection_leaves_the_challenge_path_alone_when_asked_to() {
        let table = compiled(
            &context(|settings| {
                redirect(settings, "websecure");
                settings.entry_points.get_mut("web").unwrap().allow_acme_by_pass = true;
            }),
            desired(&[]),
        );

        let router = &table.desired.routers[&Name::new("web-to-websecure", Provider::Internal)];
        let rule = "HostRegexp(`^.+$`) && !PathPrefix(`/.well-known/acme-challenge/`)";
        assert_eq!(router.value.rule, rule);
        assert_eq!(found(&table, 1, "a", false), Some("web-to-websecure@internal"));
    }

    #[test]
    fn answers_of_http_01_come_first_or_by_priority_where_that_is_allowed() {
        for (by_pass, name, priority) in
            [(false, "acme-http", i64::MAX), (true, "acme-http-bypass", 0)]
        {
            let context = context(|settings| {
                settings.entry_points.get_mut("web").unwrap().allow_acme_by_pass = by_pass;
                let http =
                    settings::HttpChallenge { entry_point: "web".into(), ..Default::default() };
                let acme = settings::Acme { http_challenge: Some(http), ..Default::default() };
                let resolver = settings::Resolver { acme: Some(acme) };
                settings.certificates_resolvers.insert("le".into(), resolver);
            });
            let table = compiled(&context, desired(&[]));

            let routers = table.desired.routers.iter().map(|(name, router)| {
                let router = &router.value;
                (name.as_str().to_owned(), router.priority, router.entry_points.clone())
            });
            let expected = (format!("{name}@internal"), priority, vec!["web".to_owned()]);
            assert_eq!(routers.collect::<Vec<_>>(), [expected]);
        }
    }

    #[test]
    fn a_redirection_to_nowhere_is_named_and_the_rest_serves() {
        let table = compiled(&context(|settings| redirect(settings, "websecur")), desired(&[]));

        assert_eq!(found(&table, 1, "a", false), None);
        assert_eq!(
            &*table.problems[0].text,
            "'to' entry point field references a non-existing entry point: websecur"
        );
        assert_eq!(table.problems[0].mend.as_deref(), Some("did you mean `websecure`?"));
    }
}
