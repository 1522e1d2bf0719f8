//! Containers and events in the words of Docker's API (1.41).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Container;

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn written(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

fn status(container: &Container) -> &'static str {
    if container.running { "running" } else { "exited" }
}

fn networks(container: &Container, network: &str) -> Value {
    let mut networks = Map::new();
    networks.insert(
        network.to_owned(),
        json!({ "IPAddress": container.address, "IPPrefixLen": 8, "NetworkID": network }),
    );
    Value::Object(networks)
}

/// One entry of `/containers/json`.
pub(super) fn listed(container: &Container, network: &str) -> Value {
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.name)],
        "Image": container.image,
        "ImageID": "",
        "Command": "demo-server",
        "Created": since_epoch(container.started).as_secs(),
        "Ports": [{ "PrivatePort": container.port, "Type": "tcp" }],
        "Labels": container.labels,
        "State": status(container),
        "Status": "Up",
        "HostConfig": { "NetworkMode": network },
        "NetworkSettings": { "Networks": networks(container, network) },
        "Mounts": [],
    })
}

/// `/containers/{id}/json`.
pub(super) fn inspected(container: &Container, network: &str) -> Value {
    let port = format!("{}/tcp", container.port);
    let mut exposed = Map::new();
    exposed.insert(port.clone(), json!({}));
    let mut ports = Map::new();
    ports.insert(port, Value::Null);
    json!({
        "Id": container.id,
        "Name": format!("/{}", container.name),
        "Created": written(container.started),
        "Image": "",
        "State": {
            "Status": status(container),
            "Running": container.running,
            "Paused": false,
            "Restarting": false,
            "Dead": false,
            "Pid": std::process::id(),
            "ExitCode": 0,
            "StartedAt": written(container.started),
        },
        "HostConfig": { "NetworkMode": network },
        "Config": {
            "Hostname": container.id.get(..12),
            "Image": container.image,
            "Labels": container.labels,
            "ExposedPorts": exposed,
        },
        "NetworkSettings": { "Networks": networks(container, network), "Ports": ports },
        "Mounts": [],
    })
}

/// One line of `/events`.
pub(super) fn event(action: &str, container: &Container) -> String {
    let mut attributes: Map<String, Value> = Map::new();
    for (key, value) in &container.labels {
        attributes.insert(key.clone(), json!(value));
    }
    attributes.insert("name".to_owned(), json!(container.name));
    attributes.insert("image".to_owned(), json!(container.image));
    if action == "kill" {
        attributes.insert("signal".to_owned(), json!("15"));
    }
    let now = since_epoch(SystemTime::now());
    let event = json!({
        "status": action,
        "id": container.id,
        "from": container.image,
        "Type": "container",
        "Action": action,
        "Actor": { "ID": container.id, "Attributes": attributes },
        "scope": "local",
        "time": now.as_secs(),
        "timeNano": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
    });
    format!("{event}\n")
}
