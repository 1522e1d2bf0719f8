//! `wharf upgrade`: has a running proxy hand over to a new process, and says how that went.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::print;
use crate::cli::processes::{Process, children, wanted};

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
