//! An engine of a test's own. It is in memory, so that simulated time passes only while
//! everybody waits for it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{self, Instant};

use super::endpoint::{Endpoint, Target};

/// Events that may wait for a follower; one that is slower is cut off.
const WAITING: usize = 1024;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone, Debug)]
pub(super) struct Fake(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    containers: BTreeMap<String, Container>,
    followers: Vec<mpsc::Sender<Bytes>>,
    is_away: bool,
    takes: Duration,
    knocks: usize,
    lists: usize,
    inspects: BTreeMap<String, usize>,
}

/// A container: whether it runs, and when it was started, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Container {
    runs: bool,
    started: u64,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            began: Instant::now(),
            containers: BTreeMap::new(),
            followers: Vec::new(),
            is_away: false,
            takes: Duration::ZERO,
            knocks: 0,
            lists: 0,
            inspects: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let target = Target::Fake(self.clone());
        Endpoint { address: "fake".into(), target, authorization: None }
    }

    // --- what happens to it ---

    /// Nobody answers any more, and streams end.
    pub(super) fn leave(&self) {
        let mut inner = self.lock();
        inner.is_away = true;
        inner.followers.clear();
    }

    pub(super) fn come_back(&self) {
        self.lock().is_away = false;
    }

    /// How long it thinks about each list and inspect, once it knows what it will say.
    pub(super) fn takes(&self, takes: Duration) {
        self.lock().takes = takes;
    }

    // --- what happens to its containers; events follow where it says so ---

    /// It runs from now on.
    pub(super) fn start(&self, id: &str) {
        let mut inner = self.lock();
        let started = inner.clock();
        inner.containers.insert(id.to_owned(), Container { runs: true, started });
    }

    pub(super) fn end(&self, id: &str) {
        if let Some(container) = self.lock().containers.get_mut(id) {
            container.runs = false;
        }
    }

    pub(super) fn remove(&self, id: &str) {
        self.lock().containers.remove(id);
    }

    /// Tells its followers that this happens now.
    pub(super) fn tell(&self, action: &str, id: &str) {
        let mut inner = self.lock();
        let at = inner.clock();
        let event = json!({
            "Type": "container", "Action": action, "timeNano": at,
            "Actor": {"ID": id, "Attributes": labels()},
        });
        let line = Bytes::from(format!("{event}\n"));
        inner.followers.retain(|follower| follower.try_send(line.clone()).is_ok());
    }

    // --- what it was asked ---

    pub(super) fn knocks(&self) -> usize {
        self.lock().knocks
    }

    pub(super) fn lists(&self) -> usize {
        self.lock().lists
    }

    pub(super) fn inspects(&self) -> usize {
        self.lock().inspects.values().sum()
    }

    pub(super) fn inspects_of(&self, id: &str) -> usize {
        self.lock().inspects.get(id).copied().unwrap_or(0)
    }

    // --- its answers ---

    pub(super) fn connect(&self) -> io::Result<DuplexStream> {
        let mut inner = self.lock();
        inner.knocks += 1;
        if inner.is_away {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let fake = self.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let fake = fake.clone();
                async move { Ok::<_, Infallible>(fake.answer(&request).await) }
            });
            let server = hyper::server::conn::http1::Builder::new();
            // A client that goes away is no news.
            drop(server.serve_connection(TokioIo::new(ours), service).await);
        });
        Ok(theirs)
    }

    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path().trim_start_matches("/v1.41");
        let found = match path {
            "/version" => Some(json!({"Version": "20.10", "ApiVersion": "1.41"})),
            "/events" => return self.follow(),
            "/containers/json" => Some(self.list()),
            _ => self.inspect(path.split('/').nth(2).unwrap_or_default()),
        };
        let takes = if path == "/version" { Duration::ZERO } else { self.lock().takes };
        time::sleep(takes).await;
        let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let text = found.unwrap_or_else(|| json!({"message": "no such container"})).to_string();
        let mut answer = Response::new(Full::from(text).boxed_unsync());
        *answer.status_mut() = status;
        answer
    }

    fn follow(&self) -> Answer {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.lock().followers.push(sender);
        let lines = stream::unfold(receiver, |mut receiver| async {
            let line = receiver.recv().await?;
            Some((Ok(Frame::data(line)), receiver))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }

    fn list(&self) -> Value {
        let mut inner = self.lock();
        inner.lists += 1;
        let containers = inner.containers.iter().map(|(id, container)| {
            json!({
                "Id": id, "Names": [format!("/{id}")], "Labels": labels(),
                "State": if container.runs { "running" } else { "exited" },
                "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
                "NetworkSettings": networks(container.runs),
            })
        });
        containers.collect()
    }

    fn inspect(&self, id: &str) -> Option<Value> {
        let mut inner = self.lock();
        *inner.inspects.entry(id.to_owned()).or_default() += 1;
        let container = inner.containers.get(id)?;
        let started = time::Duration::from_nanos(container.started);
        let started = ::time::OffsetDateTime::UNIX_EPOCH + started;
        let started =
            started.format(&::time::format_description::well_known::Rfc3339).unwrap_or_default();
        let mut settings = networks(container.runs);
        settings["Ports"] = json!({"80/tcp": null});
        Some(json!({
            "Id": id, "Name": format!("/{id}"), "Config": {"Labels": labels()},
            "State": {
                "Status": if container.runs { "running" } else { "exited" }, "StartedAt": started,
            },
            "NetworkSettings": settings,
        }))
    }
}

impl Inner {
    /// The engine's clock, in nanoseconds: simulated time, a year 2020 in seconds before it.
    fn clock(&self) -> u64 {
        const EPOCH: u64 = 1_600_000_000_000_000_000;
        EPOCH + u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(0)
    }
}

/// All are replicas of one service.
fn labels() -> Value {
    json!({
        "traefik.http.routers.web.rule": "Host(`web.test`)",
        "traefik.http.services.web.loadbalancer.server.port": "80",
    })
}

fn networks(runs: bool) -> Value {
    let address = if runs { "10.0.0.1" } else { "" };
    json!({"Networks": {"net": {"NetworkID": "n", "IPAddress": address}}})
}
