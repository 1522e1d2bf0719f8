//! An engine without Docker: replicas are tasks of this process, and the part of Docker's
//! API that the provider needs is answered on a private socket.

mod api;
mod view;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::project::{PORT, Service};
use super::server::{self, Replica, Speaks};

/// Events that a slow reader may lag behind; one that lags more is cut off and lists anew.
const EVENTS: usize = 256;

/// A replica as `docker inspect` would show it.
#[derive(Clone, Debug)]
struct Container {
    id: String,
    name: String,
    image: &'static str,
    labels: BTreeMap<String, String>,
    address: String,
    port: u16,
    running: bool,
    started: SystemTime,
}

/// What the API shows: the containers by id, and what happens to them.
struct Shown {
    containers: Mutex<BTreeMap<String, Container>>,
    events: broadcast::Sender<String>,
    network: String,
}

impl Shown {
    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Container>) -> T) -> T {
        change(&mut self.containers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, action: &str, container: &Container) {
        // Nobody listening is fine.
        let _ = self.events.send(view::event(action, container));
    }
}

/// A running replica.
struct Running {
    id: String,
    service: &'static str,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The embedded engine with its project.
pub(super) struct Project {
    shown: Arc<Shown>,
    folder: PathBuf,
    run: String,
    running: Vec<Running>,
    /// The resolver of its services over HTTPS.
    pub(super) resolver: Option<&'static str>,
    made: u8,
    api: JoinHandle<()>,
}

impl Project {
    /// Opens the private socket in a new folder that only this user may enter.
    pub(super) fn start(run: &str) -> Result<Self, String> {
        let (folder, listener) = open(run).map_err(|error| {
            format!("open a socket in {}: {error}", std::env::temp_dir().display())
        })?;
        let shown = Arc::new(Shown {
            containers: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            network: format!("wharf-demo-{run}"),
        });
        let api = tokio::spawn(api::serve(listener, Arc::clone(&shown)));
        let (run, running) = (run.to_owned(), Vec::new());
        Ok(Self { shown, folder, run, running, resolver: None, made: 0, api })
    }

    /// Where the provider finds this engine.
    pub(super) fn endpoint(&self) -> String {
        format!("unix://{}", self.folder.join("engine.sock").display())
    }

    /// The network that the replicas are said to be on.
    pub(super) fn network_name(&self) -> String {
        self.shown.network.clone()
    }

    /// How many replicas of a service run.
    pub(super) fn count(&self, service: &Service) -> usize {
        self.running.iter().filter(|replica| replica.service == service.name).count()
    }

    /// Starts one more replica.
    pub(super) async fn add(&mut self, service: &'static Service) -> Result<(), String> {
        // Wraps after 250 replicas, long after the first ones have gone.
        self.made = self.made % 250 + 1;
        let listener = listen(self.made)
            .await
            .map_err(|error| format!("listen for a replica of {}: {error}", service.name))?;
        let local = listener.local_addr().map_err(|error| error.to_string())?;
        let id = fresh_id();
        let short: String = id.chars().take(12).collect();
        let container = Container {
            name: format!("{}-{}-{}", self.run, service.name, self.made),
            image: "wharf (in this process)",
            labels: service.labels(&self.run, local.port(), self.resolver),
            address: local.ip().to_string(),
            port: local.port(),
            running: true,
            started: SystemTime::now(),
            id: id.clone(),
        };
        let stop = CancellationToken::new();
        let replica = Arc::new(Replica::new(service.name, &short, stop.clone()));
        let task = tokio::spawn(server::serve(listener, replica, Speaks::Http1));
        self.shown.with(|all| all.insert(id.clone(), container.clone()));
        self.shown.tell("start", &container);
        self.running.push(Running { id, service: service.name, stop, task });
        Ok(())
    }

    /// Stops the youngest replica as Docker does: `kill`, its end, `die`, `destroy`.
    pub(super) async fn take(&mut self, service: &Service) {
        let youngest = self.running.iter().rposition(|replica| replica.service == service.name);
        if let Some(place) = youngest {
            let replica = self.running.remove(place);
            self.end(replica).await;
        }
    }

    async fn end(&self, mut replica: Running) {
        if let Some(container) = self.shown.with(|all| all.get(&replica.id).cloned()) {
            self.shown.tell("kill", &container);
        }
        replica.stop.cancel();
        if tokio::time::timeout(Duration::from_secs(10), &mut replica.task).await.is_err() {
            replica.task.abort();
        }
        if let Some(mut container) = self.shown.with(|all| all.remove(&replica.id)) {
            container.running = false;
            self.shown.tell("die", &container);
            self.shown.tell("destroy", &container);
        }
    }

    /// Ends all replicas and removes the socket.
    pub(super) async fn clean(mut self) {
        let running = std::mem::take(&mut self.running);
        futures_util::future::join_all(running.into_iter().map(|replica| self.end(replica))).await;
        self.api.abort();
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("wharf demo: {} could not be removed: {error}", self.folder.display());
        }
    }
}

fn open(run: &str) -> io::Result<(PathBuf, UnixListener)> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = std::env::temp_dir().join(format!("wharf-demo-{run}-{:x}", rand::random::<u64>()));
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let listener = UnixListener::bind(folder.join("engine.sock"))?;
    Ok((folder, listener))
}

/// An address of its own where the whole of 127.0.0.0/8 is the host's (Linux), else a port.
async fn listen(number: u8) -> io::Result<TcpListener> {
    match TcpListener::bind((format!("127.87.0.{number}"), PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).await,
    }
}

/// 64 hexadecimal digits, as Docker's.
fn fresh_id() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}
