//! Services of one container: the load balancer's settings and the container's own server.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::address::{self, Choice};
use super::container::{Part, bad_name};
use super::{Container, name};
use crate::model::{LoadBalancer, Name, Provider, ReplicaFacts, ReplicaState, Server};
use crate::problem::{Code, Origin, Problem};
use crate::tree::{self, Node};

/// A service as one container declares it.
#[derive(Debug, PartialEq)]
pub(super) struct Pool {
    /// Without servers.
    pub(super) settings: LoadBalancer,
    /// The container's; `None` when it is stopped and its address is not known.
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
                let value = Pool { settings: LoadBalancer::default(), server };
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
        let server = check_probe(&settings, &balancer)
            .and_then(|()| self.server(name, &label, server_node.as_ref().unwrap_or(node)));
        match server {
            Ok(server) => Some(Pool { settings, server }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// The container's server; `None` while it is stopped and has no address.
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
            generation: container.labels.get(name::GENERATION).map(|hash| Arc::from(hash.as_str())),
        }
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

const SCHEMES: [&str; 3] = ["http", "https", "h2c"];

/// A URL that a label may send requests to: no link-local address (cloud metadata), no
/// password, no other protocol.
fn check_url(text: &str) -> Result<(), String> {
    let uri: http::Uri =
        text.parse().map_err(|error| format!("error parsing server URL {text}: {error}"))?;
    if !uri.scheme_str().is_some_and(|scheme| SCHEMES.contains(&scheme)) {
        return Err(format!(
            "error parsing server URL {text}: the scheme must be http, https or h2c"
        ));
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err(format!("server URL {text}: user names and passwords are not taken"));
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(format!("error parsing server URL {text}: no host"));
    }
    // Resolvers read 2852039166 and 0xa9fea9fe as addresses, too.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.bytes().all(|b| b.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X"));
    match host.parse::<IpAddr>() {
        Ok(address) if is_link_local(address) => {
            Err(format!("server URL {text}: link-local addresses are refused"))
        }
        Err(_) if is_number => Err(format!("server URL {text}: {host} is no plain address")),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_url_is_http_without_password_and_not_link_local() {
        for url in ["http://10.0.0.5:80", "https://example.test/base", "h2c://[fd00::1]:81"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for (url, text) in [
            ("::bad", "error parsing server URL"),
            ("ftp://a", "the scheme must be"),
            ("foo:80", "the scheme must be"),
            ("http://me:secret@a", "passwords are not taken"),
            ("http://169.254.169.254/latest", "link-local"),
            ("http://[fe80::1]", "link-local"),
            ("http://[::ffff:169.254.169.254]", "link-local"),
            ("http://2852039166", "no plain address"),
            ("http://169.254.43518", "no plain address"),
            ("http://0xa9fea9fe", "no plain address"),
        ] {
            let error = check_url(url).unwrap_err();
            assert!(error.contains(text), "{url}: {error}");
        }
    }
}
