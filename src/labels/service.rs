//! Services of one container: the load balancer's settings and the container's own server.

use std::sync::Arc;

use serde::Deserialize;

use super::Container;
use super::address::{self, Choice};
use super::container::{Part, bad_name};
use super::reach::{SCHEMES, check_url};
use crate::balance::Deploy;
use crate::model::{LoadBalancer, Name, Provider, ReplicaFacts, ReplicaState, Server};
use crate::problem::{Code, Origin, Problem};
use crate::tree::{self, Node};

/// A service as one container declares it.
#[derive(Debug, PartialEq)]
pub(super) struct Pool {
    /// What requests go through first, as written.
    pub(super) middlewares: Vec<String>,
    /// Without servers.
    pub(super) settings: LoadBalancer,
    /// The container's; `None` when its address is not known: it is stopped, or in no network.
    pub(super) server: Option<Server>,
}

/// `loadbalancer.server`: what labels say instead of a list of servers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LabelServer {
    port: String,
    scheme: String,
    url: String,
    weight: Option<i64>,
    preserve_path: bool,
}

/// Reads the services of a container.
pub(super) struct Reader<'r, 'c> {
    pub(super) container: &'c Container,
    pub(super) choice: Choice<'r>,
    pub(super) deploy: Option<Arc<Deploy>>,
    /// Leave out what has no address, as Traefik does.
    pub(super) as_traefik: bool,
    pub(super) other: &'r dyn Fn(&str) -> Option<&'c Container>,
    pub(super) problems: &'r mut Vec<Problem>,
}

impl Reader<'_, '_> {
    /// Everything below `services`.
    pub(super) fn services(&mut self, section: &Node) -> Vec<Part<Pool>> {
        let mut parts = Vec::new();
        for (name, node) in section.entries() {
            if let Some(problem) = bad_name("service", name, node) {
                self.problems.push(problem);
                continue;
            }
            if let Some(value) = self.service(name, node) {
                let name = Name::new(name, Provider::Docker);
                // Of a service's labels the one that says where its server is says most.
                let telling = ["loadbalancer.server.port", "loadbalancer.server.url"];
                let telling = telling.iter().find_map(|path| node.get(path)).unwrap_or(node);
                parts.push(Part { name, value, origin: telling.origin.clone() });
            }
        }
        parts
    }

    /// The service of a container that names none. `is_needed` is false when all its routers
    /// lead elsewhere (`api@internal`): then it may lack a port, where Traefik leaves the
    /// container out.
    pub(super) fn own(&mut self, own: &str, is_needed: bool) -> Option<Part<Pool>> {
        let origin = Origin::Container(self.container.container.clone());
        let node = Node::new(origin.clone());
        match self.server(own, &LabelServer::default(), &node) {
            Ok(server) => {
                let settings = LoadBalancer::default();
                let value = Pool { middlewares: Vec::new(), settings, server };
                Some(Part { name: Name::new(own, Provider::Docker), value, origin })
            }
            Err(problem) => {
                self.problems.extend(is_needed.then_some(problem));
                None
            }
        }
    }

    fn service(&mut self, name: &str, node: &Node) -> Option<Pool> {
        let Some(balancer) = node.child("loadbalancer") else {
            let text = format!("service \"{name}\" error: load-balancer is not defined");
            self.problems.push(
                Problem::error(Code::BadValue, node.origin.clone(), text)
                    .mend("labels can only set keys below loadbalancer"),
            );
            return None;
        };
        let mut balancer = balancer.clone();
        let server_node = balancer.take("server");
        let label: LabelServer = match &server_node {
            Some(node) => tree::decode(node, self.problems)?,
            None => LabelServer::default(),
        };
        let settings = if balancer.is_empty() {
            LoadBalancer::default()
        } else {
            tree::decode(&balancer, self.problems)?
        };
        let middlewares = match node.child("middlewares") {
            Some(list) => tree::decode(list, self.problems)?,
            None => Vec::new(),
        };
        let server = check_probe(&settings, &balancer)
            .and_then(|()| self.server(name, &label, server_node.as_ref().unwrap_or(node)));
        match server {
            Ok(server) => Some(Pool { middlewares, settings, server }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// The container's server; `None` while it has no address.
    fn server(
        &mut self,
        service: &str,
        label: &LabelServer,
        node: &Node,
    ) -> Result<Option<Server>, Problem> {
        let mut warnings = Vec::new();
        let is_gone = self.container.state == ReplicaState::Gone;
        match self.url(service, label, node, &mut warnings) {
            Ok(url) => {
                // A stopped container's networks deserve no second look.
                warnings.retain(|warning| !is_gone && !self.problems.contains(warning));
                self.problems.append(&mut warnings);
                Ok(Some(Server {
                    url,
                    weight: label.weight,
                    preserve_path: label.preserve_path,
                    replica: Some(self.facts()),
                }))
            }
            Err(Problem { code: Code::Network, .. }) if is_gone => Ok(None),
            Err(Problem { code: Code::Port, .. }) if is_gone && label.port.is_empty() => Ok(None),
            Err(problem) if problem.code == Code::Network && !self.as_traefik => {
                let warning = no_server(problem);
                if !self.problems.contains(&warning) {
                    self.problems.push(warning);
                }
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    fn url(
        &self,
        service: &str,
        label: &LabelServer,
        node: &Node,
        warnings: &mut Vec<Problem>,
    ) -> Result<String, Problem> {
        let origin = |key: &str| node.child(key).map_or(&node.origin, |child| &child.origin);
        if !label.url.is_empty() {
            if !label.port.is_empty() || !label.scheme.is_empty() {
                let text = "defining scheme or port is not allowed when URL is defined";
                return Err(Problem::error(Code::BadValue, origin("url").clone(), text)
                    .mend("write them into the URL, or leave the URL out"));
            }
            return check_url(&label.url).map(|()| label.url.clone()).map_err(|text| {
                Problem::error(Code::BadValue, origin("url").clone(), text)
                    .mend("write a URL such as http://10.0.0.5:8080")
            });
        }
        let scheme = if label.scheme.is_empty() { "http" } else { &label.scheme };
        if !SCHEMES.contains(&scheme) {
            let text = format!("unsupported scheme {scheme:?}");
            return Err(Problem::error(Code::BadValue, origin("scheme").clone(), text)
                .mend("use http, https or h2c"));
        }
        let text = (!label.port.is_empty()).then_some((label.port.as_str(), origin("port")));
        let port = address::port(self.container, text, service)?;
        let (host, port) =
            address::address(self.container, port, &self.choice, self.other, warnings)?;
        Ok(format!("{scheme}://{host}:{port}"))
    }

    fn facts(&self) -> ReplicaFacts {
        let container = self.container;
        ReplicaFacts {
            container: container.container.clone(),
            state: container.state,
            has_health_check: container.has_health_check,
            started: container.started,
            deploy: self.deploy.clone(),
        }
    }
}

/// A container that runs and can't be reached is like one that is stopped: its routers stay, and
/// answer 503.
fn no_server(problem: Problem) -> Problem {
    let text = format!("{}; what leads to it alone is answered with 503", problem.text);
    let warning = Problem::warning(problem.code, problem.origin, text);
    match problem.mend {
        Some(mend) => warning.mend(mend.to_string()),
        None => warning,
    }
}

/// A probe's path must stay on the server: a label must not aim probes at others.
fn check_probe(settings: &LoadBalancer, node: &Node) -> Result<(), Problem> {
    let path = settings.health_check.as_ref().map_or("", |check| check.path.as_str());
    let is_elsewhere = path.starts_with("//")
        || path.split(['/', '?']).next().is_some_and(|first| first.contains(':'));
    if !is_elsewhere {
        return Ok(());
    }
    let origin = node.get("healthcheck.path").map_or(&node.origin, |node| &node.origin);
    Err(Problem::error(Code::BadValue, origin.clone(), format!("{path:?} is no path"))
        .mend("write a path such as /health; port, scheme and hostname have keys of their own"))
}
