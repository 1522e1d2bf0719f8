//! The demo's course: choose an engine, set the project up, scale it, take it down.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::ca::Authority;
use super::options::{Engine, Options};
use super::project::{MARK, RESOLVER, SERVICES, Service};
use super::{arrival, docker, embedded, traffic};

/// The pause between two changes of the number of replicas.
const SCALE_EVERY: Duration = Duration::from_secs(4);

/// How many replicas the scaled service has, over and over.
const COUNTS: [usize; 6] = [3, 4, 5, 4, 3, 2];

/// How long the proxy may take to end before the project is taken down under it.
const PROXY_ENDS: Duration = Duration::from_secs(15);

/// What `wharf demo` hands to the thread that plays it.
pub(super) struct Stage {
    /// The options.
    pub(super) options: Options,
    /// Cancelled when everything is to end; also cancelled from here.
    pub(super) stopping: CancellationToken,
    /// Cancelled when the proxy has ended.
    pub(super) proxy_ended: CancellationToken,
}

/// The flags for the proxy, or why there is nothing to run.
pub(super) type Outcome = Result<Vec<String>, String>;

/// With `--https`: where to listen, and the authority.
type Secure<'a> = Option<&'a (SocketAddr, Authority)>;

/// Where the project runs.
enum Host {
    Docker(Box<docker::Project>),
    Embedded(embedded::Project),
}

impl Host {
    async fn scale(&mut self, service: &'static Service, wanted: usize) -> Result<(), String> {
        while self.count(service) < wanted {
            match self {
                Self::Docker(project) => project.add(service).await?,
                Self::Embedded(project) => project.add(service).await?,
            }
        }
        while self.count(service) > wanted {
            match self {
                Self::Docker(project) => project.take(service).await?,
                Self::Embedded(project) => project.take(service).await,
            }
        }
        Ok(())
    }

    fn count(&self, service: &Service) -> usize {
        match self {
            Self::Docker(project) => project.count(service),
            Self::Embedded(project) => project.count(service),
        }
    }

    fn place(&self) -> (String, String) {
        match self {
            Self::Docker(project) => (project.endpoint.clone(), project.network_name()),
            Self::Embedded(project) => (project.endpoint(), project.network_name()),
        }
    }

    async fn clean(self) {
        match self {
            Self::Docker(project) => project.clean().await,
            Self::Embedded(project) => project.clean().await,
        }
    }
}

impl Stage {
    /// Plays to the end; says once what the proxy needs, or why there is none.
    pub(super) fn play(self, tell: &SyncSender<Outcome>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.acts(tell)),
            // A closed channel means that the other side has ended: nothing to tell.
            Err(error) => drop(tell.send(Err(format!("start the runtime: {error}")))),
        }
    }

    async fn acts(self, tell: &SyncSender<Outcome>) {
        let listening = tokio::spawn(signals(self.stopping.clone()));
        let run = docker::run_name();
        match self.authority(&run).await {
            Ok(secure) => {
                self.play_project(&run, secure.as_ref(), tell).await;
                if let Some((_, authority)) = secure {
                    authority.clean().await;
                }
            }
            Err(text) => drop(tell.send(Err(text))),
        }
        listening.abort();
    }

    async fn play_project(&self, run: &str, secure: Secure<'_>, tell: &SyncSender<Outcome>) {
        match self.set_up(run).await {
            Ok(None) => {}
            Ok(Some(mut host)) => {
                self.perform(&mut host, run, secure, tell).await;
                let ended = self.proxy_ended.cancelled();
                let _ = tokio::time::timeout(PROXY_ENDS, ended).await;
                say("taking the project down");
                host.clean().await;
            }
            Err(text) => drop(tell.send(Err(text))),
        }
    }

    /// With `--https`: where to listen, and the authority that looks there.
    async fn authority(&self, run: &str) -> Result<Option<(SocketAddr, Authority)>, String> {
        if !self.options.https {
            return Ok(None);
        }
        let at = port(self.options.address, self.options.https_port, 8443)?;
        let authority = Authority::start(run, at).await?;
        Ok(Some((at, authority)))
    }

    /// `None` when it was told to stop meanwhile.
    async fn set_up(&self, run: &str) -> Result<Option<Host>, String> {
        let host = match self.options.engine {
            Engine::Embedded => self.embed(run, "as asked")?,
            Engine::Docker => self.use_docker(run).await?,
            Engine::Auto => match self.use_docker(run).await {
                Ok(host) => host,
                Err(reason) => self.embed(run, &reason)?,
            },
        };
        self.fill(host).await
    }

    /// Starts the first replicas of every service.
    async fn fill(&self, mut host: Host) -> Result<Option<Host>, String> {
        for service in &SERVICES {
            if self.stopping.is_cancelled() {
                host.clean().await;
                return Ok(None);
            }
            if let Err(text) = host.scale(service, service.replicas).await {
                host.clean().await;
                return Err(text);
            }
        }
        Ok(Some(host))
    }

    fn embed(&self, run: &str, reason: &str) -> Result<Host, String> {
        say(&format!("using the embedded engine, replicas inside this process ({reason})"));
        let mut project = embedded::Project::start(run)?;
        project.resolver = self.resolver();
        Ok(Host::Embedded(project))
    }

    fn resolver(&self) -> Option<&'static str> {
        self.options.https.then_some(RESOLVER)
    }

    async fn use_docker(&self, run: &str) -> Result<Host, String> {
        if cfg!(not(target_os = "linux")) {
            return Err("containers run Linux binaries and this is none".to_owned());
        }
        let mut project = docker::Project::connect(run).await?;
        project.resolver = self.resolver();
        let place = format!("Docker {} at {}", project.version, project.endpoint);
        let mut ready = project.prepare().await;
        if ready.is_ok() {
            ready = project.add(&SERVICES[0]).await;
        }
        if ready.is_ok() && !project.is_reachable().await {
            ready = Err(format!("containers of {place} can't be reached from here"));
        }
        match ready {
            Ok(()) => {
                say(&format!("using {place}; its image is made of this binary"));
                Ok(Host::Docker(Box::new(project)))
            }
            Err(text) => {
                project.clean().await;
                Err(text)
            }
        }
    }

    async fn perform(
        &self,
        host: &mut Host,
        run: &str,
        secure: Secure<'_>,
        tell: &SyncSender<Outcome>,
    ) {
        let ports = port(self.options.address, self.options.port, 8000).and_then(|web| {
            Ok((web, port(self.options.address, self.options.dashboard_port, 8080)?))
        });
        let (web, dashboard) = match ports {
            Ok(ports) => ports,
            Err(text) => return drop(tell.send(Err(text))),
        };
        let (endpoint, network) = host.place();
        let mut flags = flags(web, dashboard, &endpoint, &network, run);
        if let Some((at, authority)) = secure {
            flags.push(format!("--entryPoints.websecure.address={at}"));
            flags.extend(authority.flags(RESOLVER));
        }
        if tell.send(Ok(flags)).is_err() {
            return;
        }
        announce(web, dashboard, secure.map(|(at, _)| at), self.options.steady);
        let arrivals = async {
            match secure {
                Some(_) => arrival::tell(dashboard, say).await,
                None => std::future::pending().await,
            }
        };
        // Only `scale` ends this: dropped in the middle it would forget what it just made.
        tokio::select! {
            () = traffic::run(web) => {}
            () = arrivals => {}
            () = self.time_limit() => {}
            () = self.scale(host) => {}
        }
    }

    /// Cancels after the time asked for; never returns.
    async fn time_limit(&self) {
        if let Some(seconds) = self.options.seconds {
            tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            self.stopping.cancel();
        }
        std::future::pending::<()>().await;
    }

    /// Scales until it is told to stop.
    async fn scale(&self, host: &mut Host) {
        let Some(service) = SERVICES.last().filter(|_| !self.options.steady) else {
            return self.stopping.cancelled().await;
        };
        for count in COUNTS.into_iter().cycle() {
            tokio::select! {
                () = tokio::time::sleep(SCALE_EVERY) => {}
                () = self.stopping.cancelled() => return,
            }
            say(&format!("{} now has {count} replicas", service.name));
            if let Err(text) = host.scale(service, count).await {
                eprintln!("wharf demo: {text}");
            }
        }
    }
}

/// Cancels at INT, TERM or HUP.
async fn signals(stopping: CancellationToken) {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let waits = kinds.into_iter().filter_map(|kind| signal(kind).ok()).map(|mut signal| {
        Box::pin(async move {
            signal.recv().await;
        })
    });
    futures_util::future::select_all(waits).await;
    stopping.cancel();
}

/// The port asked for, else the wish or one of the next hundred that are free.
fn port(address: IpAddr, given: Option<u16>, wish: u16) -> Result<SocketAddr, String> {
    let is_free = |port: &u16| TcpListener::bind((address, *port)).is_ok();
    let found = given.or_else(|| (wish..wish + 100).find(is_free));
    found
        .map(|port| SocketAddr::new(address, port))
        .ok_or_else(|| format!("no port free on {address} from {wish} to {}", wish + 99))
}

fn flags(
    web: SocketAddr,
    dashboard: SocketAddr,
    endpoint: &str,
    network: &str,
    run: &str,
) -> Vec<String> {
    vec![
        format!("--entryPoints.web.address={web}"),
        format!("--entryPoints.traefik.address={dashboard}"),
        format!("--providers.docker.endpoint={endpoint}"),
        format!("--providers.docker.network={network}"),
        format!("--providers.docker.constraints=Label(`{MARK}`, `{run}`)"),
        "--providers.docker.exposedByDefault=false".to_owned(),
        "--api.insecure=true".to_owned(),
        "--ping=true".to_owned(),
        "--metrics.prometheus=true".to_owned(),
        "--log.level=ERROR".to_owned(),
    ]
}

#[expect(clippy::print_stdout, reason = "a command's own output")]
fn announce(web: SocketAddr, dashboard: SocketAddr, secure: Option<&SocketAddr>, steady: bool) {
    println!("\n  dashboard  http://{dashboard}/dashboard/");
    if secure.is_some() {
        println!("             http://{dashboard}/dashboard/certificates");
    }
    for (service, at) in SERVICES.iter().zip(std::iter::repeat(secure)) {
        let Some(at) = at else { break };
        println!(
            "  {:<10} https://{}:{}/  (pebble's certificate)",
            service.name,
            service.host(),
            at.port()
        );
    }
    for service in &SERVICES {
        println!("  {:<10} http://{web}{}  ({})", service.name, service.path, service.about);
    }
    let scaled = if steady { "" } else { "; replicas come and go by themselves" };
    println!("\nCtrl-C ends it and removes everything{scaled}.\n");
}

#[expect(clippy::print_stdout, reason = "a command's own output")]
fn say(text: &str) {
    println!("wharf demo: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_unless_it_was_asked_for() {
        let address = IpAddr::from([127, 0, 0, 1]);
        let taken = TcpListener::bind((address, 0)).expect("some port is free");
        let number = taken.local_addr().expect("it is bound").port().min(65_400);

        let next = port(address, None, number).expect("one of the next is free");
        let asked = port(address, Some(number), 1).expect("taken as given");

        assert_ne!(next.port(), number);
        assert_eq!(asked.port(), number);
    }
}
