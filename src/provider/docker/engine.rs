//! Calls to the engine: bollard over a transport of ours, which bounds what an answer may
//! hold, counts the calls and tells when the event stream stands.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummary, EventMessage, ImageInspect};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::{Stream, StreamExt};
use http::{Uri, header};
use tokio::sync::Notify;

use super::endpoint::{Endpoint, Target};
use super::inspect;
use super::wire::{self, Bound};
use crate::labels::Container;

/// The events that are asked for. Each health check makes three `exec_*` events: never those.
const EVENTS: [&str; 12] = [
    "start",
    "die",
    "kill",
    "stop",
    "pause",
    "unpause",
    "health_status",
    "destroy",
    "rename",
    "update",
    "connect",
    "disconnect",
];

/// A call that did not come back with an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The engine does not know the container (any more).
    #[error("no such container")]
    Missing,
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// It refused, or something in front of it did.
    #[error("the engine refused {call}: {message}")]
    Refused { call: &'static str, status: u16, message: String },
    /// No connection, a broken one, or an answer that can't be read.
    #[error("{call}: {text}")]
    Broken { call: &'static str, text: String, kind: Option<io::ErrorKind> },
}

impl Error {
    fn new(call: &'static str, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error as Bollard;
        if let Bollard::DockerResponseServerError { status_code, message } = error {
            return if status_code == 404 && call == "inspect" {
                Self::Missing
            } else {
                Self::Refused { call, status: status_code, message }
            };
        }
        let (text, kind) = innermost(&error);
        Self::Broken { call, text, kind }
    }

    /// What a person can do about it.
    pub(super) fn mend(&self, endpoint: &Endpoint) -> String {
        let socket =
            if let Target::Unix(path) = &endpoint.target { Some(path.display()) } else { None };
        match (self, socket) {
            (Self::Broken { kind: Some(io::ErrorKind::NotFound), .. }, Some(path)) => format!(
                "is the engine running, and the socket mounted (-v {path}:{path}:ro)? \
                 Or set providers.docker.endpoint"
            ),
            (Self::Broken { kind: Some(io::ErrorKind::PermissionDenied), .. }, Some(path)) => {
                format!("run Wharf as root or in the group that owns {path} (docker)")
            }
            (Self::Refused { status: 403, .. }, _) => {
                "let the socket proxy allow GET of /version, \
                 /events, /containers/json and /containers/{id}/json"
                    .to_owned()
            }
            (Self::Refused { status: 401, .. }, _) => {
                "see providers.docker.username and password".to_owned()
            }
            _ => "see that the engine is up; Wharf keeps trying".to_owned(),
        }
    }
}

/// The last of a chain of sources says most: `Connection refused`.
fn innermost(error: &bollard::errors::Error) -> (String, Option<io::ErrorKind>) {
    let mut text = error.to_string();
    let mut kind = None;
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        if let Some(error) = error.downcast_ref::<io::Error>() {
            kind = Some(error.kind());
        }
        source = error.source();
    }
    (text, kind)
}

/// A connection to an engine. Each call opens a socket of its own.
pub(super) struct Engine {
    docker: Docker,
    subscribed: Arc<Notify>,
    timeout: Duration,
    /// `20.10.24, API 1.41`.
    pub(super) version: String,
    /// Whether lists hold less than Docker's do.
    pub(super) terse_lists: bool,
}

impl Engine {
    /// Connects and agrees on a version of the API.
    pub(super) async fn open(
        endpoint: &Endpoint,
        timeout: Duration,
        calls: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        let api = Arc::new(OnceLock::new());
        let subscribed = Arc::new(Notify::new());
        let shared = Shared {
            endpoint: endpoint.clone(),
            api: Arc::clone(&api),
            subscribed: Arc::clone(&subscribed),
            calls,
        };
        let transport = move |mut request: BollardRequest| {
            let is_events = request.uri().path() == "/events";
            let client = wire::client(shared.endpoint.target.clone(), shared.admit(&mut request));
            let subscribed = Arc::clone(&shared.subscribed);
            async move {
                let response = client.request(request).await?;
                if is_events && response.status().is_success() {
                    subscribed.notify_one();
                }
                Ok(response)
            }
        };
        let host = if let Target::Tcp { authority, .. } = &endpoint.target {
            format!("http://{authority}")
        } else {
            "http://localhost".to_owned()
        };
        let seconds = timeout.as_secs().max(1);
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some(host),
            seconds,
            API_DEFAULT_VERSION,
        )
        .map_err(|error| Error::new("connect", error))?;
        let mut engine =
            Self { docker, subscribed, timeout, version: String::new(), terse_lists: false };
        let known = engine.within("version", engine.docker.version()).await?;
        let theirs = known.api_version.unwrap_or_default();
        let chosen = std::env::var("DOCKER_API_VERSION")
            .ok()
            .filter(|version| !version.is_empty())
            .unwrap_or_else(|| lower(&theirs));
        engine.version = format!("{}, API {chosen}", known.version.unwrap_or_default());
        // Podman's lists hold published ports only.
        engine.terse_lists = known
            .components
            .iter()
            .flatten()
            .any(|component| component.name.to_ascii_lowercase().contains("podman"));
        // Set once: nobody else has this cell yet.
        drop(api.set(chosen));
        Ok(engine)
    }

    /// The event stream; it stands once [`Self::subscribed`] returns.
    pub(super) fn events(&self) -> impl Stream<Item = Result<EventMessage, Error>> + use<> {
        let filters =
            HashMap::from([("type", vec!["container", "network"]), ("event", EVENTS.to_vec())]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        self.docker
            .events(Some(options))
            .map(|event| event.map_err(|error| Error::new("events", error)))
    }

    /// Waits until the engine has answered the subscription.
    pub(super) async fn subscribed(&self) -> Result<(), Error> {
        tokio::time::timeout(self.timeout, self.subscribed.notified())
            .await
            .map_err(|_| Error::Late(self.timeout))
    }

    /// All containers, stopped ones too.
    pub(super) async fn list(&self) -> Result<Vec<ContainerSummary>, Error> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        self.within("list", self.docker.list_containers(Some(options))).await
    }

    /// One container.
    async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, Error> {
        let call = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        self.within("inspect", call).await
    }

    /// One container, as labels are read from it; `None` when the engine does not know it.
    pub(super) async fn look(&self, id: Arc<str>) -> (Arc<str>, Result<Option<Container>, Error>) {
        let found = match self.inspect(&id).await {
            Ok(found) => Ok(inspect::from_inspect(found)),
            Err(Error::Missing) => Ok(None),
            Err(error) => Err(error),
        };
        (id, found)
    }

    /// One image, by a name that can stand in a path.
    pub(super) async fn image(&self, name: &str) -> Result<ImageInspect, Error> {
        self.within("image", self.docker.inspect_image(name)).await
    }

    /// Bounds the whole call; bollard's own limit covers the head only.
    async fn within<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| Error::new(call, error)),
            Err(_) => Err(Error::Late(self.timeout)),
        }
    }
}

/// The newest version that both sides speak.
fn lower(theirs: &str) -> String {
    let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
    let read = || {
        let (major, minor) = theirs.split_once('.')?;
        Some((major.parse::<usize>().ok()?, minor.parse::<usize>().ok()?))
    };
    let (major, minor) = read().unwrap_or(ours).min(ours);
    format!("{major}.{minor}")
}

/// What each call needs.
struct Shared {
    endpoint: Endpoint,
    api: Arc<OnceLock<String>>,
    subscribed: Arc<Notify>,
    calls: Arc<AtomicU64>,
}

impl Shared {
    /// Counts and completes a request; says what its answer may hold.
    fn admit(&self, request: &mut BollardRequest) -> Bound {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let bound = Bound::of(request.uri().path());
        // bollard leaves the version out of the path.
        if let Some(api) = self.api.get() {
            prefix(request.uri_mut(), api);
        }
        if let Some(value) = self.endpoint.authorization.clone() {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        bound
    }
}

fn prefix(uri: &mut Uri, api: &str) {
    let mut parts = std::mem::take(uri).into_parts();
    if let Some(path) = &parts.path_and_query {
        parts.path_and_query = format!("/v{api}{path}").parse().ok().or(parts.path_and_query);
    }
    if let Ok(whole) = Uri::from_parts(parts) {
        *uri = whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_api_version_of_the_two_is_spoken() {
        for (theirs, expected) in [("1.41", "1.41"), ("1.99", "1.53"), ("", "1.53")] {
            assert_eq!(lower(theirs), expected, "{theirs}");
        }
    }

    #[test]
    fn the_version_goes_in_front_of_the_path() {
        let mut uri = Uri::from_static("http://localhost/containers/json?all=true");

        prefix(&mut uri, "1.41");

        assert_eq!(uri, "http://localhost/v1.41/containers/json?all=true");
    }
}
