//! Other processes of this program, as `/proc` tells of them (proc(5)).

use std::path::Path;

use super::upgrade::{COMMAND, LEAVING};

/// Which process is meant by the arguments of a command.
pub(super) fn wanted(arguments: &[String]) -> Result<u32, String> {
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

/// A process.
pub(super) struct Process {
    pid: u32,
    name: String,
    parent: u32,
    state: String,
    arguments: Vec<String>,
}

impl Process {
    pub(super) fn of(pid: u32) -> Option<Self> {
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
        is_wharf && (command.starts_with('-') || command == "run" || command == COMMAND)
    }

    fn command(&self) -> String {
        self.arguments.first().unwrap_or(&self.name).clone()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.name == LEAVING
    }

    /// A process that nobody waited for is still listed.
    pub(super) fn has_ended(&self) -> bool {
        self.state.starts_with(['Z', 'X'])
    }
}

fn processes() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::of(entry.file_name().to_str()?.parse().ok()?))
}

/// Those that this one started.
pub(super) fn children(parent: u32) -> impl Iterator<Item = u32> {
    processes().filter(move |one| one.parent == parent).map(|one| one.pid)
}
