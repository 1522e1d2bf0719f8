//! The port and the address that a container's server is reached at.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::sync::LazyLock;

use super::{Container, Network};
use crate::problem::{Code, Origin, Problem};

/// Which addresses are used.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice<'o> {
    /// The network that the container's label names.
    pub(super) label: Option<(&'o str, Origin)>,
    /// The network that the provider names; empty: none.
    pub(super) provider: &'o str,
    /// Published host addresses instead of the container's own.
    pub(super) host_ports: bool,
}

/// The port: the label's, else the lowest exposed one.
pub(super) fn port(
    container: &Container,
    label: Option<(&str, &Origin)>,
    service: &str,
) -> Result<u16, Problem> {
    if let Some((text, origin)) = label {
        return text.trim().parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            Problem::error(Code::Port, origin.clone(), format!("{text:?} is no port"))
                .mend("write the number that the container listens on, 1 to 65535")
        });
    }
    let lowest = container.exposed.iter().map(|(port, _)| *port).min();
    lowest.ok_or_else(|| {
        let origin = Origin::Container(container.container.clone());
        // As Traefik's words, which people search for.
        Problem::error(Code::Port, origin, format!("service \"{service}\" error: port is missing"))
            .mend(format!(
                "the image exposes none: set traefik.http.services.{service}.loadbalancer.server.port"
            ))
    })
}

/// The address and port of a container, and what deserves a second look.
pub(super) fn address<'c>(
    container: &'c Container,
    port: u16,
    choice: &Choice<'_>,
    other: &dyn Fn(&str) -> Option<&'c Container>,
    warnings: &mut Vec<Problem>,
) -> Result<(String, u16), Problem> {
    if choice.host_ports {
        let bound = container.bindings.iter().find(|binding| {
            binding.inner == port && binding.address.is_some_and(|ip| !ip.is_unspecified())
        });
        if let Some((address, outer)) = bound.and_then(|b| Some((b.address?, b.outer))) {
            return Ok((literal(address), outer));
        }
    }
    let address = inner(container, choice, other, warnings)?;
    Ok((address, port))
}

fn inner<'c>(
    container: &'c Container,
    choice: &Choice<'_>,
    other: &dyn Fn(&str) -> Option<&'c Container>,
    warnings: &mut Vec<Problem>,
) -> Result<String, Problem> {
    if container.network_mode == "host" {
        return Ok(host());
    }
    if let Some(id) = container.network_mode.strip_prefix("container:") {
        let Some(host) = other(id) else { return Err(no_address(container)) };
        // As Traefik: the other one's own label goes first. One step only: the engine lets
        // nobody join a container that has joined a third.
        let named = super::root_value(&host.labels, "docker.network");
        let origin = Origin::Container(host.container.clone());
        let choice = match named {
            Some(name) => Choice { label: Some((name, origin)), ..choice.clone() },
            None => choice.clone(),
        };
        if host.network_mode == "host" {
            return Ok(self::host());
        }
        return networked(host, container, &choice, warnings);
    }
    networked(container, container, choice, warnings)
}

fn networked(
    host: &Container,
    container: &Container,
    choice: &Choice<'_>,
    warnings: &mut Vec<Problem>,
) -> Result<String, Problem> {
    let origin = Origin::Container(container.container.clone());
    let (wanted, origin) = match &choice.label {
        Some((name, origin)) => (*name, origin.clone()),
        None => (choice.provider, origin),
    };
    if !wanted.is_empty() {
        if let Some(address) = host.networks.get(wanted).and_then(of) {
            return Ok(literal(address));
        }
        warnings.push(missing(wanted, host, origin.clone()));
    }
    let mut found = host.networks.iter().filter_map(|(name, network)| Some((name, of(network)?)));
    let Some((name, address)) = found.next() else { return Err(no_address(container)) };
    let others = found.count();
    if others > 0 && wanted.is_empty() {
        let text = format!("in {} networks and none is named: {name} is used", others + 1);
        warnings.push(
            Problem::warning(Code::Network, origin, text)
                .mend("say which with traefik.docker.network or providers.docker.network"),
        );
    }
    Ok(literal(address))
}

fn missing(wanted: &str, host: &Container, origin: Origin) -> Problem {
    let names: Vec<_> = host.networks.keys().map(String::as_str).collect();
    // Compose puts the project's name in front, and people leave it out.
    let suffix = format!("_{wanted}");
    let near = names.iter().find(|name| name.ends_with(&suffix));
    let mend = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "connect the container to it".to_owned(),
        None => format!("connect the container to it, or name one of: {}", names.join(", ")),
    };
    let text = format!(
        "Could not find network named \"{wanted}\" for container \"/{}\"; the first one is used",
        host.container.name
    );
    Problem::warning(Code::Network, origin, text).mend(mend)
}

fn no_address(container: &Container) -> Problem {
    let name = &container.container.name;
    let text = format!("unable to find the IP address for the container \"/{name}\"");
    Problem::error(Code::Network, Origin::Container(container.container.clone()), text)
        .mend("connect it to a network that Wharf is in, too")
}

fn of(network: &Network) -> Option<IpAddr> {
    network.ipv4.or(network.ipv6)
}

/// An address as a URL's host.
fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The engine's host, seen from here: Docker's and Podman's names for it where they are
/// known, else this very host. Looked up once: a name server may be slow.
fn host() -> String {
    static HOST: LazyLock<String> = LazyLock::new(|| {
        let known = ["host.docker.internal", "host.containers.internal"]
            .into_iter()
            .find_map(|name| (name, 0).to_socket_addrs().ok()?.next());
        known.map_or_else(|| Ipv4Addr::LOCALHOST.to_string(), |address| literal(address.ip()))
    });
    HOST.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Binding;

    fn container(networks: &[(&str, &str)], exposed: &[u16]) -> Container {
        let networks = networks.iter().map(|(name, address)| {
            let address: IpAddr = address.parse().unwrap();
            let network = Network {
                id: "n".into(),
                ipv4: Some(address).filter(IpAddr::is_ipv4),
                ipv6: Some(address).filter(IpAddr::is_ipv6),
            };
            ((*name).to_owned(), network)
        });
        Container {
            networks: networks.collect(),
            exposed: exposed.iter().map(|port| (*port, "tcp".to_owned())).collect(),
            ..Container::named("web", "0123456789abcdef")
        }
    }

    fn reach(container: &Container, choice: &Choice<'_>) -> (Result<(String, u16), String>, usize) {
        let mut warnings = Vec::new();
        let found = address(container, 80, choice, &|_| None, &mut warnings);
        (found.map_err(|problem| problem.to_string()), warnings.len())
    }

    fn label(name: &str) -> Choice<'_> {
        Choice { label: Some((name, Origin::Internal)), ..Choice::default() }
    }

    #[test]
    fn the_port_is_the_labels_else_the_lowest_exposed() {
        let with = container(&[], &[8081, 8080, 9000]);
        assert_eq!(port(&with, None, "web"), Ok(8080));
        assert_eq!(port(&with, Some(("3000", &Origin::Internal)), "web"), Ok(3000));

        for text in ["0", "-1", "99999", "http"] {
            assert!(port(&with, Some((text, &Origin::Internal)), "web").is_err(), "{text}");
        }
        let missing = port(&container(&[], &[]), None, "web").unwrap_err();
        assert!(missing.text.contains("port is missing"));
    }

    #[test]
    fn the_network_is_the_labels_the_providers_or_the_first_by_name() {
        let two = container(&[("back", "10.0.0.2"), ("app", "10.1.0.2")], &[]);

        assert_eq!(reach(&two, &label("back")), (Ok(("10.0.0.2".to_owned(), 80)), 0));
        let provider = Choice { provider: "back", ..Choice::default() };
        assert_eq!(reach(&two, &provider), (Ok(("10.0.0.2".to_owned(), 80)), 0));
        assert_eq!(reach(&two, &Choice::default()), (Ok(("10.1.0.2".to_owned(), 80)), 1));
        assert_eq!(reach(&two, &label("nope")), (Ok(("10.1.0.2".to_owned(), 80)), 1));
    }

    #[test]
    fn a_network_without_the_projects_prefix_is_guessed() {
        let one = container(&[("shop_back", "10.0.0.2")], &[]);
        let mut warnings = Vec::new();

        address(&one, 80, &label("back"), &|_| None, &mut warnings).unwrap();

        assert_eq!(warnings[0].mend.as_deref(), Some("did you mean `shop_back`?"));
    }

    #[test]
    fn without_an_address_there_is_no_server_and_ipv6_goes_into_brackets() {
        assert!(reach(&container(&[], &[]), &Choice::default()).0.is_err());

        let six = container(&[("a", "fd00::2")], &[]);
        assert_eq!(reach(&six, &Choice::default()).0, Ok(("[fd00::2]".to_owned(), 80)));
    }

    #[test]
    fn a_joined_containers_address_is_used() {
        let host = container(&[("a", "10.0.0.9")], &[]);
        let joined = Container { network_mode: "container:x".to_owned(), ..container(&[], &[]) };
        let mut warnings = Vec::new();

        let found = address(
            &joined,
            80,
            &Choice::default(),
            &|id| (id == "x").then_some(&host),
            &mut warnings,
        );

        assert_eq!(found.unwrap().0, "10.0.0.9");
    }

    #[test]
    fn a_published_port_is_used_when_it_has_an_address() {
        let choice = Choice { host_ports: true, ..Choice::default() };
        for (address, expected) in
            [("127.0.0.9", ("127.0.0.9", 8080)), ("0.0.0.0", ("10.0.0.2", 80))]
        {
            let binding = Binding { inner: 80, address: address.parse().ok(), outer: 8080 };
            let published =
                Container { bindings: vec![binding], ..container(&[("a", "10.0.0.2")], &[]) };

            let (found, _) = reach(&published, &choice);

            assert_eq!(found, Ok((expected.0.to_owned(), expected.1)), "{address}");
        }
    }
}
