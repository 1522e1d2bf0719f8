//! The commands of the binary, as a shell sees them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn wharf(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    // An empty folder and environment: no configuration file, no variables.
    command.args(arguments).env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.stdin(Stdio::null());
    command
}

fn outcome(arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = Proxy::start(arguments);
    let status = process.status();
    let mut text = String::new();
    process.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    process.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (status, text)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running proxy that ends with the test.
struct Proxy(Child);

impl Proxy {
    fn start(arguments: &[&str]) -> Self {
        let mut command = wharf(arguments);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.args([name, &self.0.id().to_string()]).status().unwrap().success());
    }

    fn status(&mut self) -> Option<i32> {
        eventually("the end", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}

#[test]
fn version_and_help_are_shown() {
    let (status, text) = outcome(&["version"]);
    assert_eq!(status, Some(0));
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(text.starts_with(&format!("Version:      {}", env!("CARGO_PKG_VERSION"))), "{text}");

    for arguments in [&["help"][..], &["--help"], &["run", "-h"], &["--ping", "--help"]] {
        let (status, text) = outcome(arguments);
        assert_eq!(status, Some(0));
        assert!(text.contains("--entrypoints.<name>.address"), "{text}");
        assert!(text.contains("demo "), "{text}");
    }
}

#[test]
fn a_wrong_command_or_flag_names_the_nearest_and_fails() {
    for (arguments, words) in [
        (&["helthcheck"][..], "did you mean `wharf healthcheck`?"),
        (&["--entrypoint.web.address=:80"], "did you mean `entryPoints`?"),
        (&["--api.insecur"], "did you mean `insecure`?"),
        (&["run", "--api", "stray"], "stray: is no flag"),
        (&["--configfile=/nowhere.yml"], "/nowhere.yml: can't be read"),
    ] {
        let (status, text) = outcome(arguments);
        assert_eq!(status, Some(1), "{arguments:?}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn check_names_what_is_wrong_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    // A port that is taken: whoever listened would fail.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dynamic = file(
        "dynamic.yml",
        "http:\n  routers:\n    a:\n      rule: Host(`a`)\n      service: api@internal\n      \
         middlewares: [nope]\n    b: {rule: 'Host(`a`) && Host(`b`)', service: noop@internal}\n",
    );
    let address = listener.local_addr().unwrap();
    let config = file(
        "traefik.yml",
        &format!(
            "entryPoints: {{web: {{address: \"{address}\"}}}}\napi: {{}}\n\
             providers: {{file: {{filename: {dynamic}}}}}\n"
        ),
    );

    let (status, text) = outcome(&["check", "--configFile", &config]);
    assert_eq!(status, Some(1), "{text}");
    for words in [
        "dynamic.yml:3:5: router a@file: middleware \"nope@file\" does not exist",
        "dynamic.yml:7:5: router b@file: no request can match the rule",
        "1 error, 1 warning in 2 routers, 0 services, 0 middlewares",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }

    let (status, text) = outcome(&["check", "--format", "json", &format!("--configFile={config}")]);
    assert_eq!(status, Some(1), "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&report["errors"], &report["warnings"]), (&1.into(), &1.into()), "{text}");
    assert_eq!(report["problems"][0]["code"], "unknown-name");

    file("dynamic.yml", "http: {routers: {a: {rule: Host(`a`), service: api@internal}}}\n");
    let (status, text) = outcome(&["check", &format!("--configFile={config}")]);
    assert_eq!(
        (status, &*text),
        (Some(0), "0 errors, 0 warnings in 1 router, 0 services, 0 middlewares\n")
    );
}

#[test]
fn check_fails_where_it_can_not_look() {
    for (arguments, words) in [
        (&["check", "--api.insecur"][..], "error: flag --api.insecur: no such option"),
        (&["check", "/nowhere/compose.yml"], "error: /nowhere/compose.yml: can't be read"),
        (&["check", "--format=xml"], "check: no format \"xml\"; use text or json"),
        (
            &["check", "--providers.docker.endpoint=unix:///nowhere/docker.sock"],
            "error: engine unix:///nowhere/docker.sock: the Docker engine can't be followed",
        ),
    ] {
        let (status, text) = outcome(arguments);
        assert_eq!(status, Some(1), "{arguments:?}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn a_busy_port_is_named_with_the_mend() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();

    let (status, text) = outcome(&[&format!("--entrypoints.web.address={address}")]);

    assert_eq!(status, Some(1));
    assert!(text.contains("entry point web") && text.contains(&address.to_string()), "{text}");
    assert!(text.contains("in use"), "{text}");
}

#[test]
fn a_healthcheck_tells_whether_ping_answers() {
    let (status, text) = outcome(&["healthcheck"]);
    assert_eq!(status, Some(1));
    assert!(text.contains("please enable `ping` to use health check"), "{text}");

    let port = free_port();
    let address = format!("--entrypoints.traefik.address=:{port}");
    let arguments = ["healthcheck", "--ping", &address];
    let (status, text) = outcome(&arguments);
    assert_eq!(status, Some(1));
    assert!(text.starts_with("Error calling healthcheck: "), "{text}");

    let mut proxy = Proxy::start(&["--ping", &address]);
    eventually("ping", || get(port, "/ping").filter(|line| line == "HTTP/1.1 200 OK"));
    let (status, text) = outcome(&arguments);
    assert_eq!((status, text), (Some(0), format!("OK: http://:{port}/ping\n")));

    proxy.signal("-TERM");
    assert_eq!(proxy.status(), Some(0));
}

#[test]
fn ping_turns_while_the_accept_grace_lasts() {
    let port = free_port();
    let mut proxy = Proxy::start(&[
        "--ping",
        "--ping.terminatingstatuscode=299",
        &format!("--entrypoints.traefik.address=127.0.0.1:{port}"),
        "--entrypoints.traefik.transport.lifecycle.requestacceptgracetimeout=1s",
        "--log.level=INFO",
    ]);
    eventually("ping", || get(port, "/ping").filter(|line| line == "HTTP/1.1 200 OK"));

    proxy.signal("-INT");

    eventually("the other status", || {
        get(port, "/ping").filter(|line| line.starts_with("HTTP/1.1 299"))
    });
    assert_eq!(proxy.status(), Some(0));
    let log: Vec<String> =
        BufReader::new(proxy.0.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    for words in
        ["I have to go...", "Stopping server gracefully", "Server stopped", "Shutting down"]
    {
        assert!(log.iter().any(|line| line.contains(words)), "{words}: {log:#?}");
    }
}

#[test]
fn a_second_signal_cuts_at_once_and_a_hangup_ends_nothing() {
    let port = free_port();
    let mut proxy = Proxy::start(&[
        "--ping",
        &format!("--entrypoints.traefik.address=127.0.0.1:{port}"),
        "--entrypoints.traefik.transport.lifecycle.requestacceptgracetimeout=1h",
    ]);
    eventually("ping", || get(port, "/ping").filter(|line| line == "HTTP/1.1 200 OK"));

    proxy.signal("-HUP");
    proxy.signal("-USR1");
    assert_eq!(get(port, "/ping").as_deref(), Some("HTTP/1.1 200 OK"));
    proxy.signal("-TERM");
    eventually("the other status", || {
        get(port, "/ping").filter(|line| line.starts_with("HTTP/1.1 503"))
    });
    proxy.signal("-TERM");

    assert_eq!(proxy.status(), Some(1));
}
