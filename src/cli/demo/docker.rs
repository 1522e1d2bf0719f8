//! The demo's project on a real engine: an image made of this binary, a network, containers.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
    ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::image;
use super::project::{MARK, PORT, Service};

/// Names of everything that a demo makes begin with this.
const PREFIX: &str = "wharf-demo-";

/// Seconds that a replica gets to finish what it has.
const STOP_SECONDS: i32 = 10;

/// A project on a real engine. What it made is removed by [`Project::clean`].
pub(super) struct Project {
    docker: Docker,
    /// Where the engine is: `unix:///var/run/docker.sock`.
    pub(super) endpoint: String,
    /// Engine's version.
    pub(super) version: String,
    run: String,
    entrypoint: Vec<String>,
    image: Option<String>,
    network: Option<String>,
    containers: Vec<Container>,
    made: usize,
    /// The resolver of its services over HTTPS.
    pub(super) resolver: Option<&'static str>,
}

struct Container {
    id: String,
    service: &'static str,
    /// Whether it is meant to run; one that failed to start is only kept to be removed.
    runs: bool,
}

impl Project {
    /// Connects to the local engine and clears away what killed demos left behind.
    pub(super) async fn connect(run: &str) -> Result<Self, String> {
        let endpoint = endpoint()?;
        let docker = Docker::connect_with_unix(&endpoint, 60, bollard::API_DEFAULT_VERSION)
            .map_err(|error| format!("no engine at {endpoint}: {error}"))?;
        let docker = docker
            .negotiate_version()
            .await
            .map_err(|error| format!("the engine at {endpoint} does not answer: {error}"))?;
        let version = docker.version().await.map_err(|error| error.to_string())?;
        let same = version.arch.as_deref() == Some(docker_arch());
        if version.os.as_deref() != Some("linux") || !same {
            return Err(format!("the engine at {endpoint} runs other binaries than this one"));
        }
        let mut project = Self {
            docker,
            endpoint,
            version: version.version.unwrap_or_default(),
            run: run.to_owned(),
            entrypoint: Vec::new(),
            image: None,
            network: None,
            containers: Vec::new(),
            made: 0,
            resolver: None,
        };
        project.clear_leftovers().await;
        Ok(project)
    }

    /// Makes the image and the network.
    pub(super) async fn prepare(&mut self) -> Result<(), String> {
        let image = image::of_this_binary()
            .map_err(|error| format!("read this binary for an image: {error}"))?;
        self.entrypoint = image.entrypoint;
        let tag = format!("{PREFIX}image:{}", self.run);
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(&format!("{PREFIX}image"))
            .tag(&self.run)
            .changes(vec![format!("LABEL {MARK}={}", self.run)])
            .build();
        // Known before it is there: an import that is cut off must be removed too.
        self.image = Some(tag);
        let mut steps = self.docker.create_image(
            Some(options),
            Some(bollard::body_full(image.tar.into())),
            None,
        );
        while let Some(step) = steps.next().await {
            step.map_err(|error| format!("make an image of this binary: {error}"))?;
        }
        drop(steps);
        let network = NetworkCreateRequest {
            name: self.network_name(),
            labels: Some(self.mark()),
            ..NetworkCreateRequest::default()
        };
        let made = self.docker.create_network(network).await;
        self.network = Some(made.map_err(|error| format!("create a network: {error}"))?.id);
        Ok(())
    }

    fn mark(&self) -> HashMap<String, String> {
        HashMap::from([(MARK.to_owned(), self.run.clone())])
    }

    /// The network that the replicas are on.
    pub(super) fn network_name(&self) -> String {
        format!("{PREFIX}{}", self.run)
    }

    /// How many replicas of a service run.
    pub(super) fn count(&self, service: &Service) -> usize {
        self.containers.iter().filter(|c| c.runs && c.service == service.name).count()
    }

    /// Starts one more replica.
    pub(super) async fn add(&mut self, service: &'static Service) -> Result<(), String> {
        self.made += 1;
        let name = format!("{PREFIX}{}-{}-{}", self.run, service.name, self.made);
        let command = ["demo-server", "--name", service.name, "--port", &PORT.to_string()]
            .map(str::to_owned)
            .to_vec();
        let body = ContainerCreateBody {
            image: self.image.clone(),
            entrypoint: Some(self.entrypoint.clone()),
            cmd: Some(command),
            exposed_ports: Some(vec![format!("{PORT}/tcp")]),
            labels: Some(service.labels(&self.run, PORT, self.resolver).into_iter().collect()),
            host_config: Some(HostConfig {
                network_mode: Some(self.network_name()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let made = self.docker.create_container(Some(options), body).await;
        let id = made.map_err(|error| format!("create container {name}: {error}"))?.id;
        self.containers.push(Container { id: id.clone(), service: service.name, runs: false });
        let started = self.docker.start_container(&id, None).await;
        started.map_err(|error| format!("start container {name}: {error}"))?;
        if let Some(container) = self.containers.last_mut() {
            container.runs = true;
        }
        Ok(())
    }

    /// Stops the youngest replica and removes it.
    pub(super) async fn take(&mut self, service: &Service) -> Result<(), String> {
        let youngest = self.containers.iter().rposition(|c| c.runs && c.service == service.name);
        let Some(place) = youngest else { return Ok(()) };
        let container = self.containers.remove(place);
        let options = StopContainerOptionsBuilder::new().t(STOP_SECONDS).build();
        let stopped = self.docker.stop_container(&container.id, Some(options)).await;
        self.remove(&container.id).await;
        stopped.map_err(|error| format!("stop a replica of {}: {error}", service.name))
    }

    /// Whether this process reaches a replica at its own address, which it does not when the
    /// engine is in a virtual machine or this process in a container of its own.
    pub(super) async fn is_reachable(&self) -> bool {
        let Some(container) = self.containers.first() else { return false };
        let Ok(found) = self.docker.inspect_container(&container.id, None).await else {
            return false;
        };
        let networks = found.network_settings.and_then(|settings| settings.networks);
        let address = networks
            .and_then(|networks| networks.into_values().find_map(|network| network.ip_address))
            .unwrap_or_default();
        for _attempt in 0..50 {
            let connect = tokio::net::TcpStream::connect((address.as_str(), PORT));
            let limit = Duration::from_millis(200);
            match tokio::time::timeout(limit, connect).await {
                Ok(Ok(_)) => return true,
                // Refused: it is there, and still starting.
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(_) => {}
            }
        }
        false
    }

    async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        if let Err(error) = self.docker.remove_container(id, Some(options)).await {
            eprintln!("wharf demo: container {id} could not be removed: {error}");
        }
    }

    /// Removes what this demo made, by id.
    pub(super) async fn clean(mut self) {
        for container in std::mem::take(&mut self.containers) {
            self.remove(&container.id).await;
        }
        if let Some(network) = self.network.take()
            && let Err(error) = self.docker.remove_network(&network).await
        {
            eprintln!("wharf demo: network {network} could not be removed: {error}");
        }
        if let Some(image) = self.image.take() {
            self.remove_image(&image).await;
        }
    }

    async fn remove_image(&self, name: &str) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        // An import that was cut off left none; nothing else can be done about the rest.
        let _ = self.docker.remove_image(name, Some(options), None).await;
    }

    /// Removes what demos of this host left behind whose process is gone.
    async fn clear_leftovers(&mut self) {
        let marked = HashMap::from([("label", vec![MARK])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&marked).build();
        let mut runs = Vec::new();
        for container in self.docker.list_containers(Some(options)).await.unwrap_or_default() {
            let run = container.labels.and_then(|mut labels| labels.remove(MARK));
            if let (Some(id), Some(run)) = (container.id, run)
                && is_left_over(&run)
            {
                self.remove(&id).await;
                runs.push(run);
            }
        }
        let options = ListNetworksOptionsBuilder::new().filters(&marked).build();
        for network in self.docker.list_networks(Some(options)).await.unwrap_or_default() {
            let run = network.labels.and_then(|mut labels| labels.remove(MARK));
            if let (Some(id), Some(run)) = (network.id, run)
                && is_left_over(&run)
            {
                let _ = self.docker.remove_network(&id).await;
                runs.push(run);
            }
        }
        runs.sort();
        runs.dedup();
        for run in runs {
            self.remove_image(&format!("{PREFIX}image:{run}")).await;
        }
    }
}

/// The local engine's socket; a remote engine's containers could not be reached.
fn endpoint() -> Result<String, String> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) if host.starts_with("unix://") => Ok(host),
        Ok(host) if !host.is_empty() => Err(format!("DOCKER_HOST={host} is no local socket")),
        _ => Ok("unix:///var/run/docker.sock".to_owned()),
    }
}

/// This binary's architecture in Docker's words.
fn docker_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The name of this run: process id and host, so that a later demo can tell whether it lives.
pub(super) fn run_name() -> String {
    format!("{}-{}", std::process::id(), host())
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_alphanumeric).collect();
    if name.is_empty() { "host".to_owned() } else { name.to_lowercase() }
}

/// Whether a run was of this host and its process is gone.
fn is_left_over(run: &str) -> bool {
    let Some((process, of_host)) = run.split_once('-') else { return false };
    let lives = std::fs::read_to_string(format!("/proc/{process}/cmdline"))
        .is_ok_and(|command| command.contains("demo"));
    of_host == host() && process.parse::<u32>().is_ok() && !lives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_of_this_host_whose_process_is_gone_are_left_over() {
        let cases = [
            // No process has this id: the kernel's highest is 4,194,304.
            (format!("99999999-{}", host()), true),
            (format!("99999999-not{}", host()), false),
            ("strange".to_owned(), false),
            (format!("self-{}", host()), false),
        ];
        for (run, left_over) in cases {
            assert_eq!(is_left_over(&run), left_over, "{run}");
        }
    }
}
