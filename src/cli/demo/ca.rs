//! The demo's certificate authority: pebble, Let's Encrypt's own for tests, with the DNS
//! server that it asks, both on this machine. Nobody trusts it.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// For both programs to listen.
const STARTS: Duration = Duration::from_secs(20);
/// As Let's Encrypt's live.
const LIFE_SECONDS: u64 = 90 * 24 * 3600;

/// What to do where it is missing.
const MISSING: &str = "--https needs pebble, a certificate authority for tests: apt install pebble \
                       (Debian, Ubuntu), or see https://github.com/letsencrypt/pebble";

/// The running programs and their files.
pub(super) struct Authority {
    folder: PathBuf,
    url: String,
    /// They end with this.
    children: Vec<Child>,
}

impl Authority {
    /// Starts one that looks at names at this address.
    pub(super) async fn start(run: &str, at: SocketAddr) -> Result<Self, String> {
        let folder =
            std::env::temp_dir().join(format!("wharf-demo-ca-{run}-{:x}", rand::random::<u64>()));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| format!("make {}: {error}", folder.display()))?;
        let mut authority = Self { folder, url: String::new(), children: Vec::new() };
        let started = authority.launch(at).await;
        match started {
            Ok(()) => Ok(authority),
            Err(text) => {
                authority.clean().await;
                Err(text)
            }
        }
    }

    async fn launch(&mut self, at: SocketAddr) -> Result<(), String> {
        let failed = |error: io::Error| format!("set pebble up: {error}");
        let Ports { api, management, dns, dns_management } = ports().map_err(failed)?;
        certificate(&self.folder)?;
        let folder = self.folder.clone();
        let file = |name: &str| folder.join(name).display().to_string();
        let settings = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": file("cert.pem"),
            "privateKey": file("key.pem"),
            // The demo shows TLS-ALPN-01; nothing listens for the other one.
            "httpPort": at.port(),
            "tlsPort": at.port(),
            "certificateValidityPeriod": LIFE_SECONDS,
        } });
        fs::write(self.folder.join("pebble.json"), settings.to_string()).map_err(failed)?;
        let reached = if at.ip().is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { at.ip() };
        let (v4, v6) = match reached {
            IpAddr::V4(v4) => (v4.to_string(), String::new()),
            IpAddr::V6(v6) => (String::new(), v6.to_string()),
        };
        let dns = format!("127.0.0.1:{dns}");
        let off = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
        let mut names = vec!["-defaultIPv4", &v4, "-defaultIPv6", &v6, "-dns01", &dns];
        names.extend(off);
        let dns_management = format!("127.0.0.1:{dns_management}");
        names.extend(["-management", &dns_management]);
        self.spawn("pebble-challtestsrv", &names)?;
        let config = file("pebble.json");
        self.spawn("pebble", &["-config", &config, "-dnsserver", &dns])?;
        self.url = format!("https://localhost:{api}/dir");
        let until = Instant::now() + STARTS;
        while TcpStream::connect(("127.0.0.1", api)).await.is_err() {
            self.still_run()?;
            if Instant::now() > until {
                return Err(format!("pebble does not listen within {} s", STARTS.as_secs()));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let log = fs::File::create(self.folder.join(format!("{program}.log")));
        let log = log.map_err(|error| format!("{program}: {error}"))?;
        let log_too = log.try_clone().map_err(|error| format!("{program}: {error}"))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            // It would sleep before it looks, to shake out clients that can't wait.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            // Ctrl-C is for the demo, which ends it last.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        match child {
            Ok(child) => {
                self.children.push(child);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MISSING.to_owned()),
            Err(error) => Err(format!("start {program}: {error}")),
        }
    }

    fn still_run(&mut self) -> Result<(), String> {
        for child in &mut self.children {
            if let Ok(Some(status)) = child.try_wait() {
                let log = fs::read_to_string(self.folder.join("pebble.log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default().to_owned();
                return Err(format!("pebble ended with {status}: {last}"));
            }
        }
        Ok(())
    }

    /// What the proxy must be told of a resolver of this name.
    pub(super) fn flags(&self, resolver: &str) -> Vec<String> {
        let acme = format!("--certificatesResolvers.{resolver}.acme");
        let file = |name: &str| self.folder.join(name).display().to_string();
        vec![
            format!("{acme}.tlsChallenge=true"),
            format!("{acme}.email=demo@example.org"),
            format!("{acme}.storage={}", file("acme.json")),
            format!("{acme}.caServer={}", self.url),
            format!("{acme}.caCertificates={}", file("ca.pem")),
        ]
    }

    /// Ends it and removes its files.
    pub(super) async fn clean(mut self) {
        for child in &mut self.children {
            // One that has ended by itself is what is wanted.
            let _ = child.kill().await;
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("wharf demo: {} could not be removed: {error}", self.folder.display());
        }
    }
}

/// Where the two programs listen.
struct Ports {
    api: u16,
    management: u16,
    dns: u16,
    dns_management: u16,
}

/// Ports that are free now, held together so that they differ.
fn ports() -> io::Result<Ports> {
    let free = || TcpListener::bind(("127.0.0.1", 0));
    let (api, management, dns_management) = (free()?, free()?, free()?);
    // It answers over UDP and TCP.
    let dns = UdpSocket::bind(("127.0.0.1", 0))?;
    let port = |listener: &TcpListener| listener.local_addr().map(|at| at.port());
    Ok(Ports {
        api: port(&api)?,
        management: port(&management)?,
        dns: dns.local_addr()?.port(),
        dns_management: port(&dns_management)?,
    })
}

/// Its own API is behind TLS, too: a root, and a certificate for localhost.
fn certificate(folder: &Path) -> Result<(), String> {
    let failed = |error: rcgen::Error| format!("make pebble's certificate: {error}");
    let mut root = CertificateParams::new(Vec::new()).map_err(failed)?;
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().map_err(failed)?;
    let root = root.self_signed(&root_key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let own = CertificateParams::new(vec!["localhost".to_owned()]).map_err(failed)?;
    let own = own.signed_by(&key, &root, &root_key).map_err(failed)?;
    let files = [("ca.pem", root.pem()), ("cert.pem", own.pem()), ("key.pem", key.serialize_pem())];
    files.into_iter().try_for_each(|(name, text)| {
        fs::write(folder.join(name), text).map_err(|error| format!("write {name}: {error}"))
    })
}
