//! A Compose project's services to the containers that they would become.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::labels::{Binding, Container, Network};
use crate::model::ReplicaState;
use crate::problem::ContainerRef;
use crate::provider::docker::Image;
use crate::tree::Node;

/// More replicas of a service say nothing new.
const REPLICAS: u64 = 2;
/// Ports of one range that are looked at.
const PORTS: usize = 1000;

/// A container that does not run, and what is known of its image.
pub(super) struct Planned {
    /// As the engine would describe it.
    pub(super) container: Container,
    /// Its image's name, when that is known here.
    pub(super) has_image: bool,
}

/// The images that services name, each once.
pub(super) fn images(root: &Node) -> Vec<&str> {
    let services = root.child("services").into_iter().flat_map(Node::entries);
    let mut names: Vec<_> = services.filter_map(|(_, node)| text(node, "image")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Services whose command holds flags of a proxy: their containers, and how many flags.
pub(super) fn proxies(root: &Node) -> Vec<(ContainerRef, usize)> {
    const FLAGS: [&str; 3] = ["--entrypoints.", "--providers.", "--certificatesresolvers."];
    let is_flag = |word: &&str| {
        let word = word.to_ascii_lowercase();
        FLAGS.iter().any(|flag| word.starts_with(flag))
    };
    let services = root.child("services").into_iter().flat_map(Node::entries);
    let counted = services.filter_map(|(service, node)| {
        let command = node.child("command")?;
        let items = command.entries().filter_map(|(_, item)| item.value.as_deref());
        let words = items.chain(command.value.as_deref()).flat_map(str::split_whitespace);
        let count = words.filter(is_flag).count();
        let container = ContainerRef { name: service.into(), id: id(service, 1).into() };
        (count > 0).then_some((container, count))
    });
    counted.collect()
}

/// All containers of the project.
pub(super) fn containers(
    root: &Node,
    project: &str,
    images: &BTreeMap<String, Image>,
    profiles: &str,
) -> Vec<Planned> {
    let services = root.child("services").into_iter().flat_map(Node::entries);
    let mut planned = Vec::new();
    for (service, node) in services.filter(|(_, node)| is_active(node, profiles)) {
        let image = text(node, "image").and_then(|name| images.get(name));
        let reader = Reader { root, project, service, node, image };
        for number in 1..=replicas(node).min(REPLICAS) {
            let order = planned.len() as u64;
            let container = reader.container(number, order);
            planned.push(Planned { container, has_image: image.is_some() });
        }
    }
    planned
}

fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.child(key)?.value.as_deref()
}

/// Whether one of the service's profiles is on; a service without any always is.
fn is_active(node: &Node, profiles: &str) -> bool {
    let Some(own) = node.child("profiles").filter(|own| !own.children.is_empty()) else {
        return true;
    };
    let mut on = profiles.split(',').map(str::trim);
    on.any(|on| on == "*" || own.entries().any(|(_, own)| own.value.as_deref() == Some(on)))
}

fn replicas(node: &Node) -> u64 {
    let deployed = node.get("deploy.replicas").and_then(|node| node.value.as_deref());
    let count = text(node, "scale").or(deployed).and_then(|count| count.trim().parse().ok());
    count.unwrap_or(1)
}

/// The id of a service's container: no engine's, and readable.
fn id(service: &str, number: u64) -> String {
    match number {
        1 => format!("service {service}"),
        _ => format!("service {service}, replica {number}"),
    }
}

struct Reader<'n> {
    root: &'n Node,
    project: &'n str,
    service: &'n str,
    node: &'n Node,
    image: Option<&'n Image>,
}

impl Reader<'_> {
    fn container(&self, number: u64, order: u64) -> Container {
        let name = match text(self.node, "container_name") {
            Some(name) => name.to_owned(),
            None => format!("{}-{}-{number}", self.project, self.service),
        };
        let id = id(self.service, number);
        let (exposed, bindings) = self.ports();
        let mode = self.network_mode();
        Container {
            container: ContainerRef { name: name.as_str().into(), id: id.as_str().into() },
            labels: self.labels(number),
            state: ReplicaState::Running,
            has_health_check: self.has_health_check(),
            networks: self.networks(&mode, order),
            exposed,
            bindings,
            network_mode: mode,
            ..Container::named(&name, &id)
        }
    }

    fn labels(&self, number: u64) -> BTreeMap<String, String> {
        let mut labels = self.image.map(|image| image.labels.clone()).unwrap_or_default();
        let written = self.node.child("labels").into_iter().flat_map(Node::entries);
        labels.extend(written.map(|(key, node)| {
            let value = node.value.as_deref().unwrap_or_default();
            if !key.starts_with('[') {
                return (key.to_owned(), value.to_owned());
            }
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            (key.to_owned(), value.to_owned())
        }));
        let number = number.to_string();
        // The hash is Compose's secret; that there is one makes it a generation.
        for (key, value) in [
            ("project", self.project),
            ("service", self.service),
            ("container-number", &number),
            ("config-hash", "planned"),
        ] {
            labels.insert(format!("com.docker.compose.{key}"), value.to_owned());
        }
        labels
    }

    fn has_health_check(&self) -> bool {
        match self.node.child("healthcheck") {
            Some(check) => text(check, "disable") != Some("true"),
            None => self.image.is_some_and(|image| image.has_health_check),
        }
    }

    /// As the engine has it: another service's network is its container's.
    fn network_mode(&self) -> String {
        let mode = text(self.node, "network_mode").unwrap_or_default();
        match mode.strip_prefix("service:") {
            Some(service) => format!("container:{}", id(service, 1)),
            None => mode.to_owned(),
        }
    }

    /// Its networks by their real names. The addresses are made up, and shown nowhere.
    fn networks(&self, mode: &str, order: u64) -> BTreeMap<String, Network> {
        let mut names: Vec<String> = Vec::new();
        if mode == "host" || mode == "none" || mode.starts_with("container:") {
            return BTreeMap::new();
        } else if !mode.is_empty() && mode != "default" {
            names.push(mode.to_owned());
        } else if let Some(networks) = self.node.child("networks").filter(|all| !all.is_empty()) {
            let keys = networks.entries().filter_map(|(key, node)| {
                if key.starts_with('[') { node.value.as_deref() } else { Some(key) }
            });
            names.extend(keys.map(|key| self.network(key)));
        } else {
            names.push(self.network("default"));
        }
        let low = u32::try_from(order % 0x1_0000).unwrap_or_default();
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + low + 2);
        let network = |name: String| {
            let id = name.as_str().into();
            (name, Network { id, ipv4: Some(IpAddr::V4(address)), ipv6: None })
        };
        names.into_iter().map(network).collect()
    }

    fn network(&self, key: &str) -> String {
        let declared = self.root.child("networks").and_then(|networks| networks.child(key));
        let named = declared.and_then(|network| {
            let external = network.child("external");
            let is_external = external.is_some_and(|external| {
                external.value.as_deref() == Some("true") || !external.children.is_empty()
            });
            let name = external.and_then(|external| text(external, "name"));
            text(network, "name").or(name).or(is_external.then_some(key))
        });
        named.map_or_else(|| format!("{}_{key}", self.project), str::to_owned)
    }

    /// What it exposes and publishes; what is published is exposed, too.
    fn ports(&self) -> (Vec<(u16, String)>, Vec<Binding>) {
        let mut exposed = self.image.map(|image| image.exposed.clone()).unwrap_or_default();
        let mut bindings = Vec::new();
        let items = |key: &str| self.node.child(key).into_iter().flat_map(Node::entries);
        for (_, item) in items("expose") {
            let (range, protocol) = protocol(item.value.as_deref().unwrap_or_default());
            exposed.extend(span(range).map(|port| (port, protocol.to_owned())));
        }
        for (_, item) in items("ports") {
            let port = if item.children.is_empty() {
                Port::short(item.value.as_deref().unwrap_or_default())
            } else {
                Port::long(item)
            };
            exposed.extend(span(port.inner).map(|inner| (inner, port.protocol.to_owned())));
            bindings.extend(span(port.inner).zip(span(port.outer)).map(|(inner, outer)| Binding {
                inner,
                address: port.address,
                outer,
            }));
        }
        exposed.sort();
        exposed.dedup();
        (exposed, bindings)
    }
}

/// A published port.
struct Port<'n> {
    address: Option<IpAddr>,
    inner: &'n str,
    outer: &'n str,
    protocol: &'n str,
}

impl<'n> Port<'n> {
    /// `[[address:]outer:]inner[/protocol]`.
    fn short(written: &'n str) -> Self {
        let (written, protocol) = protocol(written);
        let (before, inner) = written.rsplit_once(':').unwrap_or(("", written));
        let (address, outer) = before.rsplit_once(':').unwrap_or(("", before));
        let address = address.trim_matches(['[', ']']).parse().ok();
        Self { address, inner, outer, protocol }
    }

    fn long(node: &'n Node) -> Self {
        Self {
            address: text(node, "host_ip").and_then(|address| address.parse().ok()),
            inner: text(node, "target").unwrap_or_default(),
            outer: text(node, "published").unwrap_or_default(),
            protocol: text(node, "protocol").unwrap_or("tcp"),
        }
    }
}

fn protocol(written: &str) -> (&str, &str) {
    written.trim().split_once('/').unwrap_or((written.trim(), "tcp"))
}

/// `8080` or `8080-8090`.
fn span(range: &str) -> impl Iterator<Item = u16> + use<> {
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let ends: (Option<u16>, Option<u16>) = (low.trim().parse().ok(), high.trim().parse().ok());
    let range = match ends {
        (Some(low), Some(high)) => Some(low..=high),
        (_, _) => None,
    };
    range.into_iter().flatten().take(PORTS)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tree;

    fn planned(text: &str) -> Vec<Planned> {
        let root = tree::file::yaml(Path::new("compose.yml"), text).unwrap();
        let image = Image { exposed: vec![(3000, "tcp".to_owned())], ..Image::default() };
        containers(&root, "shop", &[("known:1".to_owned(), image)].into(), "dev,all")
    }

    #[test]
    fn services_become_containers_with_composes_names_and_labels() {
        let all = planned(
            "services:\n  web:\n    image: known:1\n    deploy: {replicas: 5}\n    labels: [a.b=c=d, e]\n\
             \x20 db:\n    container_name: data\n    labels: {x: 1}\n\
             \x20 none:\n    scale: 0\n\
             \x20 off:\n    profiles: [tools]\n  on:\n    profiles: [tools, dev]\n",
        );

        let names: Vec<_> =
            all.iter().map(|planned| planned.container.container.to_string()).collect();
        assert_eq!(
            names,
            [
                "data (service db)",
                "shop-on-1 (service on)",
                "shop-web-1 (service web)",
                "shop-web-2 (service web, replica 2)"
            ]
        );
        let labels = &all[2].container.labels;
        assert_eq!((&*labels["a.b"], &*labels["e"]), ("c=d", ""));
        assert_eq!(labels["com.docker.compose.service"], "web");
        let hashes = all.iter().map(|one| &*one.container.labels["com.docker.compose.config-hash"]);
        assert!(hashes.into_iter().all(|hash| hash == "planned"));
        assert_eq!(all[0].container.labels["x"], "1");
        assert!(all[2].has_image && !all[0].has_image);
    }

    #[test]
    fn ports_are_those_of_the_image_the_exposed_and_the_published() {
        for (written, exposed, published) in [
            ("image: known:1", &[3000][..], &[][..]),
            ("expose: ['9000', 9001/udp, 7000-7002]", &[7000, 7001, 7002, 9000, 9001], &[]),
            (
                "ports: ['80:8080', '127.0.0.1:81:8081/tcp', '[::1]:82:8082', '9']",
                &[9, 8080, 8081, 8082],
                &[80, 81, 82],
            ),
            ("ports: [{target: 8080, published: 80, host_ip: 127.0.0.1}]", &[8080], &[80]),
            ("ports: ['8000-8001:9000-9001']", &[9000, 9001], &[8000, 8001]),
            ("ports: ['nonsense', '9-1']", &[], &[]),
        ] {
            let all = planned(&format!("services: {{web: {{{written}}}}}\n"));

            let container = &all[0].container;
            let found: Vec<_> = container.exposed.iter().map(|(port, _)| *port).collect();
            assert_eq!(found, exposed, "{written}");
            let found: Vec<_> = container.bindings.iter().map(|binding| binding.outer).collect();
            assert_eq!(found, published, "{written}");
        }
    }

    #[test]
    fn networks_have_the_names_that_the_engine_would_know() {
        for (service, networks, expected) in [
            ("{image: x}", "{}", &["shop_default"][..]),
            ("{image: x}", "{default: {name: mine}}", &["mine"]),
            ("{networks: [back, front]}", "{back: {}, front: {name: f}}", &["f", "shop_back"]),
            ("{networks: {out: {}}}", "{out: {external: true}}", &["out"]),
            ("{networks: {out: {}}}", "{out: {external: {name: o}}}", &["o"]),
            ("{network_mode: bridge}", "{}", &["bridge"]),
            ("{network_mode: host}", "{}", &[]),
            ("{network_mode: 'service:db'}", "{}", &[]),
        ] {
            let text = format!("services: {{web: {service}}}\nnetworks: {networks}\n");

            let all = planned(&text);

            let found: Vec<_> = all[0].container.networks.keys().map(String::as_str).collect();
            assert_eq!(found, expected, "{text}");
        }
        let joined = planned("services: {web: {network_mode: 'service:db'}}\n");
        assert_eq!(joined[0].container.network_mode, "container:service db");
    }
}
