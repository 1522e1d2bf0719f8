//! One container's labels to routers, middlewares and services.

use std::collections::BTreeMap;

use super::address::Choice;
use super::merge::Manners;
use super::service::{self, Pool};
use super::template::{self, Template};
use super::{Container, bounds, deploy, name, reach, read};
use crate::middleware::Spec;
use crate::model::{Name, Provider, ReplicaState, Router, Store};
use crate::problem::{Code, Origin, Problem, Severity};
use crate::rule::constraint::Constraint;
use crate::settings::{self, Conflicts};
use crate::tree::{self, Node};

/// What the provider's options say, read once.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) exposed_by_default: bool,
    pub(super) network: String,
    pub(super) host_ports: bool,
    pub(super) allow_empty_services: bool,
    /// Leave out what is not running, as Traefik does.
    pub(super) as_traefik: bool,
    pub(super) manners: Manners,
    pub(super) rule: Result<Template, Problem>,
    pub(super) constraint: Result<Option<Constraint>, Problem>,
}

impl Options {
    pub(super) fn new(docker: &settings::Docker, wharf: &settings::Wharf) -> Self {
        Self {
            exposed_by_default: docker.exposed_by_default,
            network: docker.network.clone(),
            host_ports: docker.use_bind_port_ip,
            allow_empty_services: docker.allow_empty_services,
            as_traefik: wharf.not_found_when_down,
            manners: Manners {
                drops: wharf.conflicts == Conflicts::Drop,
                isolates: wharf.isolate_projects,
            },
            rule: default_rule(&docker.default_rule),
            constraint: constraint(&docker.constraints),
        }
    }
}

fn default_rule(text: &str) -> Result<Template, Problem> {
    Template::parse(text).map_err(|template::Error(error)| {
        let text = format!("defaultRule {text:?}: {error}");
        Problem::error(Code::BadRule, Origin::Internal, text).mend(
            "mend providers.docker.defaultRule; until then only routers with a rule are served",
        )
    })
}

fn constraint(text: &str) -> Result<Option<Constraint>, Problem> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    crate::rule::constraint::parse(text).map(Some).map_err(|error| {
        let mend = error.mend.clone().unwrap_or_else(|| "mend providers.docker.constraints".into());
        let text = format!("constraints {text:?}: {error}; no container is taken");
        Problem::error(Code::BadRule, Origin::Internal, text).mend(mend)
    })
}

/// What one container declares.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parts {
    pub(super) routers: Vec<Part<Router>>,
    pub(super) middlewares: Vec<Part<Spec>>,
    pub(super) services: Vec<Part<Pool>>,
    pub(super) stores: Vec<Part<Store>>,
    pub(super) problems: Vec<Problem>,
    /// `docker.allownonrunning`.
    pub(super) allow_non_running: bool,
}

impl Parts {
    /// Whether there is nothing to serve and nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.routers.is_empty()
            && self.middlewares.is_empty()
            && self.services.is_empty()
            && self.stores.is_empty()
            && self.problems.is_empty()
    }
}

/// One declared thing.
#[derive(Debug, PartialEq)]
pub(super) struct Part<T> {
    pub(super) name: Name,
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// Whether a container is to be served at all. An `enable` that can't be read counts as yes,
/// so that it is reported.
pub(super) fn is_wanted(options: &Options, labels: &BTreeMap<String, String>) -> bool {
    let enabled = super::root_value(labels, "enable")
        .map_or(options.exposed_by_default, |text| boolean(text).unwrap_or(true));
    enabled
        && match &options.constraint {
            Ok(Some(constraint)) => constraint.matches(labels),
            Ok(None) => true,
            Err(_) => false,
        }
}

/// Go's booleans.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads a container. One label that can't be understood leaves all of it out, as in Traefik:
/// a router must not be served without the middleware that was misspelt.
pub(super) fn decode<'c>(
    options: &Options,
    container: &'c Container,
    other: &dyn Fn(&str) -> Option<&'c Container>,
) -> Parts {
    if !is_wanted(options, &container.labels) {
        return Parts::default();
    }
    let mut problems = Vec::new();
    let mut root = read::labels(container, &mut problems);
    let mut parts = Parts::default();
    let docker = docker_section(root.take("docker"), &mut problems);
    parts.allow_non_running = docker.allow_non_running;
    if let Some(enable) = root.take("enable") {
        check_enable(&enable, &mut problems);
    }
    let mut http = root.take("http").unwrap_or_else(|| Node::new(root.origin.clone()));
    let own = name::service(&container.container.name, &container.labels);
    let network = docker.network.as_ref().map(|(name, origin)| (name.as_str(), origin.clone()));
    let choice =
        Choice { label: network, provider: &options.network, host_ports: options.host_ports };
    parts.middlewares =
        named(http.take("middlewares"), "middleware", &mut problems, reach::middleware);
    let stores = root.take("tls").and_then(|mut tls| tls.take("stores"));
    parts.stores = named(stores, "TLS store", &mut problems, tree::decode::<Store>);
    let routers = named(http.take("routers"), "router", &mut problems, tree::decode::<Router>);
    let deploy = deploy::read(container, root.take("deploy").as_ref(), &mut problems);
    let as_traefik = options.as_traefik;
    let mut reader =
        service::Reader { container, choice, deploy, as_traefik, other, problems: &mut problems };
    if let Some(services) = http.take("services") {
        parts.services = reader.services(&services);
    } else {
        let is_needed =
            routers.is_empty() || routers.iter().any(|router| !router.value.service.contains('@'));
        parts.services.extend(reader.own(&own, is_needed));
    }
    let this = Origin::Container(container.container.clone());
    problems.extend(bounds::exceeded(&routers, &parts, &this));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Parts { problems, ..Parts::default() };
    }
    parts.routers = link(options, container, routers, &parts.services, &own, &mut problems);
    parts.problems = problems;
    parts
}

#[derive(Default)]
struct DockerSection {
    network: Option<(String, Origin)>,
    allow_non_running: bool,
}

fn docker_section(node: Option<Node>, problems: &mut Vec<Problem>) -> DockerSection {
    let mut section = DockerSection::default();
    let Some(node) = node else { return section };
    if let Some(network) = node.child("network") {
        let name = network.value.as_deref().unwrap_or_default().trim();
        if !name.is_empty() {
            section.network = Some((name.to_owned(), network.origin.clone()));
        }
    }
    if let Some(allow) = node.child("allownonrunning") {
        section.allow_non_running = check_enable(allow, problems).unwrap_or_default();
    }
    section
}

fn check_enable(node: &Node, problems: &mut Vec<Problem>) -> Option<bool> {
    let text = node.value.as_deref().unwrap_or_default();
    let value = boolean(text);
    if value.is_none() {
        problems.push(
            Problem::error(
                Code::BadValue,
                node.origin.clone(),
                format!("{text:?} is neither true nor false"),
            )
            .mend("write true or false"),
        );
    }
    value
}

/// Decodes everything below `routers` or `middlewares`.
fn named<T>(
    section: Option<Node>,
    kind: &str,
    problems: &mut Vec<Problem>,
    decode: impl Fn(&Node, &mut Vec<Problem>) -> Option<T>,
) -> Vec<Part<T>> {
    let mut parts = Vec::new();
    let Some(section) = section else { return parts };
    for (name, node) in section.entries() {
        if let Some(problem) = bad_name(kind, name, node) {
            problems.push(problem);
            continue;
        }
        if let Some(value) = decode(node, problems) {
            let name = Name::new(name, Provider::Docker);
            // Of a router's labels the rule says most; a middleware has none.
            let telling = node.child("rule").unwrap_or(node);
            parts.push(Part { name, value, origin: telling.origin.clone() });
        }
    }
    parts
}

/// What is wrong with the name of a declared thing. Names are shown, logged and counted, and
/// must be one word of one provider.
pub fn bad_name(kind: &str, name: &str, node: &Node) -> Option<Problem> {
    let text = if name.contains('@') {
        format!("the {kind} name {name:?} holds an @")
    } else if name.chars().any(char::is_control) || name.trim().is_empty() {
        format!("the {kind} name {name:?} can't be used")
    } else {
        return None;
    };
    Some(
        Problem::error(Code::BadValue, node.origin.clone(), text)
            .mend("use letters, digits, - and _; what is behind the @ is added"),
    )
}

/// Gives routers their rule and service, as Traefik does.
fn link(
    options: &Options,
    container: &Container,
    mut routers: Vec<Part<Router>>,
    services: &[Part<Pool>],
    own: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Part<Router>> {
    let this = Origin::Container(container.container.clone());
    if routers.is_empty() {
        if services.len() > 1 {
            let text = "Could not create a router for the container: too many services";
            problems.push(
                Problem::warning(Code::Notice, this, text)
                    .mend("declare a router for each: traefik.http.routers.<name>.service"),
            );
            return routers;
        }
        let name = Name::new(own, Provider::Docker);
        routers.push(Part { name, value: Router::default(), origin: this });
    }
    routers.retain_mut(|router| match complete(options, container, router, services, own) {
        Ok(()) => true,
        Err(problem) => {
            problems.push(problem.about(format!("router {}", router.name)));
            false
        }
    });
    routers
}

fn complete(
    options: &Options,
    container: &Container,
    router: &mut Part<Router>,
    services: &[Part<Pool>],
    own: &str,
) -> Result<(), Problem> {
    if router.value.rule.is_empty() {
        router.value.rule = render(options, container, own, &router.origin)?;
        router.value.default_rule = true;
    }
    if router.value.service.is_empty() {
        let [service] = services else {
            let names: Vec<_> = services.iter().map(|s| format!("{:?}", s.name.local())).collect();
            let text = format!(
                "Router {} cannot be linked automatically with multiple Services: [{}]",
                router.name.local(),
                names.join(" ")
            );
            let mend = format!("set traefik.http.routers.{}.service", router.name.local());
            return Err(Problem::error(Code::UnknownName, router.origin.clone(), text).mend(mend));
        };
        service.name.local().clone_into(&mut router.value.service);
    }
    Ok(())
}

fn render(
    options: &Options,
    container: &Container,
    own: &str,
    origin: &Origin,
) -> Result<String, Problem> {
    let refuse = |text: String| {
        Problem::error(Code::BadRule, origin.clone(), text)
            .mend("give the router a rule, or mend providers.docker.defaultRule")
    };
    let model = template::Model {
        name: own,
        container: &container.container.name,
        labels: &container.labels,
    };
    let template = options
        .rule
        .as_ref()
        .map_err(|_| refuse("no rule, and the default rule can't be used".to_owned()))?;
    let rule = template.render(&model).map_err(|error| refuse(format!("default rule: {error}")))?;
    if rule.trim().is_empty() {
        return Err(refuse("Undefined rule: the default rule came out empty".to_owned()));
    }
    Ok(rule)
}

/// Whether a container counts for what is served.
pub(super) fn is_eligible(options: &Options, container: &Container, parts: &Parts) -> bool {
    if !options.as_traefik {
        return true;
    }
    match container.state {
        ReplicaState::Running | ReplicaState::Stopping => true,
        ReplicaState::Starting | ReplicaState::Unhealthy => options.allow_empty_services,
        ReplicaState::Paused | ReplicaState::Gone => parts.allow_non_running,
    }
}
