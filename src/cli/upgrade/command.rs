//! `wharf upgrade`: has a running proxy hand over to a new process, and says how that went.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::print;
use super::LEAVING;

/// For the hand-over; somewhat more than the old process waits for the new one.
const LIMIT: Duration = Duration::from_secs(100);
const PAUSE: Duration = Duration::from_millis(50);
/// For the old process to start the new one.
const START: Duration = Duration::from_secs(5);

/// Runs it with the arguments after its word.
pub(in crate::cli) fn command(arguments: &[String]) -> ExitCode {
    match wanted(arguments).and_then(upgrade) {
        Ok(text) => print(&text),
        Err(text) => {
            eprintln!("wharf upgrade: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Which process is meant.
fn wanted(arguments: &[String]) -> Result<u32, String> {
    let number = match arguments {
        [] => None,
        [one] => one.strip_prefix("--pid="),
        [flag, number] if flag == "--pid" => Some(number.as_str()),
        _ => return Err("it takes --pid=NUMBER or nothing".to_owned()),
    };
    if let Some(number) = number {
        let pid = number.parse().map_err(|_| format!("{number:?} is no process id"))?;
        let process = Process::of(pid).ok_or_else(|| format!("there is no process {pid}"))?;
        return if process.is_proxy() {
            Ok(pid)
        } else {
            Err(format!("process {pid} is {:?}, not a running wharf", process.command()))
        };
    }
    if let Some(other) = arguments.first() {
        return Err(format!("{other:?}: it takes --pid=NUMBER or nothing"));
    }
    let own = std::process::id();
    let found: Vec<_> =
        processes().filter(|one| one.pid != own && one.is_proxy() && !one.is_leaving()).collect();
    match found.as_slice() {
        [one] => Ok(one.pid),
        [] => Err("no running wharf was found; --pid=NUMBER says which process it is".to_owned()),
        several => {
            let pids: Vec<_> = several.iter().map(|one| one.pid.to_string()).collect();
            Err(format!("wharf runs as {}: say which with --pid=NUMBER", pids.join(", ")))
        }
    }
}

fn upgrade(pid: u32) -> Result<String, String> {
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let target = target.ok_or_else(|| format!("{pid} is no process id"))?;
    let before: Vec<u32> = children(pid).collect();
    kill_process(target, Signal::USR2).map_err(|error| format!("signal process {pid}: {error}"))?;
    let began = Instant::now();
    let mut new = None;
    loop {
        let Some(old) = Process::of(pid) else {
            return match new.filter(|new| Process::of(*new).is_some()) {
                Some(new) => Ok(done(pid, new)),
                None => Err(format!("process {pid} has ended; its log says why")),
            };
        };
        new = new.or_else(|| children(pid).find(|child| !before.contains(child)));
        match new {
            Some(new) if old.is_leaving() => return Ok(done(pid, new)),
            Some(new) if Process::of(new).is_none_or(|one| one.has_ended()) => {
                return Err(format!(
                    "the new process {new} ended before it was ready; {pid} goes on serving, and \
                     its log says why"
                ));
            }
            None if began.elapsed() > START => {
                return Err(format!(
                    "process {pid} started no new one and goes on serving; its log says why"
                ));
            }
            Some(_) | None => {}
        }
        if began.elapsed() > LIMIT {
            return Err(format!("process {pid} has not handed over yet; look at its log"));
        }
        std::thread::sleep(PAUSE);
    }
}

fn done(old: u32, new: u32) -> String {
    format!("process {new} serves; {old} finishes its connections\n")
}

/// A process as `/proc` tells of it (proc(5)).
struct Process {
    pid: u32,
    name: String,
    parent: u32,
    state: String,
    arguments: Vec<String>,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        let place = Path::new("/proc").join(pid.to_string());
        let status = std::fs::read_to_string(place.join("status")).ok()?;
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let arguments = std::fs::read(place.join("cmdline")).unwrap_or_default();
        let arguments = arguments.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        Some(Self {
            pid,
            name: field("Name")?.to_owned(),
            parent: field("PPid")?.parse().ok()?,
            state: field("State")?.to_owned(),
            arguments: arguments.map(|part| String::from_utf8_lossy(part).into_owned()).collect(),
        })
    }

    /// Whether it is this program and proxies: other commands would die of the signal.
    fn is_proxy(&self) -> bool {
        let is_named = |path: &Path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wharf"))
        };
        let program = std::fs::read_link(format!("/proc/{}/exe", self.pid));
        let called = self.arguments.first().map(Path::new);
        // A link of another name is the same program.
        let is_wharf = program.is_ok_and(|path| is_named(&path)) || called.is_some_and(is_named);
        let command = self.arguments.get(1).map_or("run", String::as_str);
        is_wharf && (command.starts_with('-') || command == "run" || command == super::COMMAND)
    }

    fn command(&self) -> String {
        self.arguments.first().unwrap_or(&self.name).clone()
    }

    fn is_leaving(&self) -> bool {
        self.name == LEAVING
    }

    /// A process that nobody waited for is still listed.
    fn has_ended(&self) -> bool {
        self.state.starts_with(['Z', 'X'])
    }
}

fn processes() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?))
}

fn children(parent: u32) -> impl Iterator<Item = u32> {
    processes().filter(move |one| one.parent == parent).map(|one| one.pid)
}
