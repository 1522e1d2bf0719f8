//! The engine's descriptions of a container to the [`Container`] that labels are read from.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryStateEnum, EndpointSettings, HealthStatusEnum, ImageInspect, NetworkSettings,
    PortBinding,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::event;
use super::images::Image;
use crate::labels::{Binding, Container, Network};
use crate::model::ReplicaState;
use crate::problem::ContainerRef;

/// What an inspect says. `None` without an id.
pub(super) fn from_inspect(found: ContainerInspectResponse) -> Option<Container> {
    let state = found.state.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let settings = found.network_settings.unwrap_or_default();
    let (exposed, bindings) = ports(&settings);
    Some(Container {
        container: reference(found.name.as_deref().unwrap_or_default(), &found.id?),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        state: replica_state(&state),
        has_health_check: has_health_check(&state),
        stop_signal: Some(config.stop_signal.as_deref().map_or(15, event::signal)),
        created: found.created.as_deref().and_then(timestamp),
        started: state.started_at.as_deref().and_then(timestamp),
        networks: networks(settings.networks),
        exposed,
        bindings,
        network_mode: found.host_config.and_then(|config| config.network_mode).unwrap_or_default(),
    })
}

/// What a list says, which is nearly as much. `None` without an id.
pub(super) fn from_summary(found: ContainerSummary) -> Option<Container> {
    let health = health_in(found.status.as_deref().unwrap_or_default());
    let ports = found.ports.unwrap_or_default();
    let mut exposed: Vec<_> = ports
        .iter()
        .map(|port| (port.private_port, port.typ.map(|kind| kind.to_string()).unwrap_or_default()))
        .collect();
    exposed.sort();
    exposed.dedup();
    let mut bindings: Vec<_> = ports
        .iter()
        .filter_map(|port| {
            let address = port.ip.as_deref().and_then(|ip| ip.parse().ok());
            Some(Binding { inner: port.private_port, address, outer: port.public_port? })
        })
        .collect();
    bindings.sort();
    let created = found.created.and_then(|seconds| u64::try_from(seconds).ok());
    let name = found.names.unwrap_or_default().into_iter().min_by_key(|name| {
        // Links add names such as `/other/alias`; its own has one slash.
        name.matches('/').count()
    });
    Some(Container {
        container: reference(name.as_deref().unwrap_or_default(), &found.id?),
        labels: found.labels.unwrap_or_default().into_iter().collect(),
        state: match found.state {
            Some(ContainerSummaryStateEnum::RUNNING) => health.unwrap_or(ReplicaState::Running),
            Some(ContainerSummaryStateEnum::PAUSED) => ReplicaState::Paused,
            Some(ContainerSummaryStateEnum::STOPPING) => ReplicaState::Stopping,
            _ => ReplicaState::Gone,
        },
        has_health_check: health.is_some(),
        stop_signal: None,
        created: created.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
        started: None,
        networks: networks(found.network_settings.and_then(|settings| settings.networks)),
        exposed,
        bindings,
        network_mode: found.host_config.and_then(|config| config.network_mode).unwrap_or_default(),
    })
}

/// What an image says.
pub(super) fn from_image(found: ImageInspect) -> Image {
    let config = found.config.unwrap_or_default();
    let ports = config.exposed_ports.iter().flatten();
    let mut exposed: Vec<_> = ports.filter_map(|port| exposed_port(port)).collect();
    exposed.sort();
    let test = config.healthcheck.and_then(|check| check.test).unwrap_or_default();
    Image {
        exposed,
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        has_health_check: test.first().is_some_and(|first| first != "NONE"),
    }
}

/// `80/tcp`; without a protocol it is TCP.
fn exposed_port(text: &str) -> Option<(u16, String)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some((number.parse().ok()?, protocol.to_owned()))
}

fn reference(name: &str, id: &str) -> ContainerRef {
    ContainerRef { name: name.trim_start_matches('/').into(), id: id.into() }
}

fn has_health_check(state: &ContainerState) -> bool {
    state.health.as_ref().is_some_and(|health| {
        !matches!(health.status, None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE))
    })
}

fn replica_state(state: &ContainerState) -> ReplicaState {
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING) if state.paused == Some(true) => {
            ReplicaState::Paused
        }
        Some(ContainerStateStatusEnum::RUNNING) => {
            match state.health.as_ref().and_then(|health| health.status) {
                Some(HealthStatusEnum::STARTING) => ReplicaState::Starting,
                Some(HealthStatusEnum::UNHEALTHY) => ReplicaState::Unhealthy,
                _ => ReplicaState::Running,
            }
        }
        Some(ContainerStateStatusEnum::PAUSED) => ReplicaState::Paused,
        Some(ContainerStateStatusEnum::STOPPING) => ReplicaState::Stopping,
        _ => ReplicaState::Gone,
    }
}

/// The health in a list's status text: `Up 3 minutes (healthy)`, `Up 1 second (health: starting)`.
fn health_in(status: &str) -> Option<ReplicaState> {
    let (_, inside) = status.rsplit_once('(')?;
    match inside.trim_end_matches(')') {
        "healthy" => Some(ReplicaState::Running),
        "unhealthy" => Some(ReplicaState::Unhealthy),
        "health: starting" => Some(ReplicaState::Starting),
        _ => None,
    }
}

fn networks(found: Option<HashMap<String, EndpointSettings>>) -> BTreeMap<String, Network> {
    found
        .unwrap_or_default()
        .into_iter()
        .map(|(name, endpoint)| {
            let network = Network {
                id: endpoint.network_id.unwrap_or_default().into(),
                ipv4: address(endpoint.ip_address.as_deref()),
                ipv6: address(endpoint.global_ipv6_address.as_deref()),
            };
            (name, network)
        })
        .collect()
}

fn address(text: Option<&str>) -> Option<IpAddr> {
    text?.parse().ok()
}

type Ports = (Vec<(u16, String)>, Vec<Binding>);

fn ports(settings: &NetworkSettings) -> Ports {
    let mut exposed = Vec::new();
    let mut bindings = Vec::new();
    for (port, published) in settings.ports.iter().flatten() {
        let Some((inner, protocol)) = exposed_port(port) else { continue };
        exposed.push((inner, protocol));
        bindings.extend(published.iter().flatten().filter_map(|published| {
            let outer = published.host_port.as_deref()?.parse().ok()?;
            Some(Binding { inner, address: host_address(published), outer })
        }));
    }
    exposed.sort();
    bindings.sort();
    (exposed, bindings)
}

fn host_address(published: &PortBinding) -> Option<IpAddr> {
    address(published.host_ip.as_deref())
}

/// A time as the engine writes it; its zero (year 1) is none.
fn timestamp(text: &str) -> Option<SystemTime> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    (time.year() > 1).then(|| time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_text_of_a_list_tells_the_health() {
        for (status, expected) in [
            ("Up 3 minutes", None),
            ("Up 3 minutes (healthy)", Some(ReplicaState::Running)),
            ("Up 1 second (health: starting)", Some(ReplicaState::Starting)),
            ("Up 2 hours (unhealthy)", Some(ReplicaState::Unhealthy)),
            ("Exited (137) 2 hours ago", None),
            ("Up 2 hours (Paused)", None),
        ] {
            assert_eq!(health_in(status), expected, "{status}");
        }
    }

    #[test]
    fn an_inspect_and_a_list_entry_tell_the_same() {
        let inspected = from_inspect(
            serde_json::from_str(
                r#"{"Id":"0123","Name":"/web-1","Created":"2026-01-02T03:04:05.6Z",
                "State":{"Status":"running","Running":true,"StartedAt":"2026-01-02T03:04:06Z",
                         "Health":{"Status":"healthy"}},
                "Config":{"Labels":{"traefik.enable":"true"},"StopSignal":"SIGQUIT"},
                "HostConfig":{"NetworkMode":"back"},
                "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],
                                            "53/udp":null},
                  "Networks":{"back":{"NetworkID":"n","IPAddress":"10.0.0.2","GlobalIPv6Address":""}}}}"#,
            )
            .unwrap(),
        )
        .unwrap();
        let listed = from_summary(
            serde_json::from_str(
                r#"{"Id":"0123","Names":["/other/web","/web-1"],"Created":1767323045,
                "State":"running","Status":"Up 1 second (healthy)",
                "Labels":{"traefik.enable":"true"},"HostConfig":{"NetworkMode":"back"},
                "Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                         {"PrivatePort":53,"Type":"udp"}],
                "NetworkSettings":{"Networks":{"back":{"NetworkID":"n","IPAddress":"10.0.0.2"}}}}"#,
            )
            .unwrap(),
        )
        .unwrap();

        assert_eq!(inspected.stop_signal, Some(3));
        assert!(inspected.started > inspected.created);
        let plain = |container: &Container| Container {
            created: None,
            started: None,
            stop_signal: None,
            ..container.clone()
        };
        assert_eq!(plain(&inspected), plain(&listed));
    }

    #[test]
    fn only_running_containers_are_not_gone() {
        for (state, expected) in [
            ("running", ReplicaState::Running),
            ("paused", ReplicaState::Paused),
            ("created", ReplicaState::Gone),
            ("exited", ReplicaState::Gone),
            ("restarting", ReplicaState::Gone),
            ("dead", ReplicaState::Gone),
        ] {
            let json = format!(r#"{{"Id":"1","State":{{"Status":"{state}"}}}}"#);

            let container = from_inspect(serde_json::from_str(&json).unwrap()).unwrap();

            assert_eq!(container.state, expected, "{state}");
        }
    }
}
