//! The old process: starts the new one and gives it the sockets.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{COMMAND, wire};
use crate::listen::Handed;

/// For the new process to load its configuration and a whole table.
const LOAD: Duration = Duration::from_secs(90);
/// For it to take the sockets.
const SEND: Duration = Duration::from_secs(5);
/// Bytes of what it may say.
const SAID: u64 = 4096;

/// How this process was started, so that it can be started again.
#[derive(Debug)]
pub(in crate::cli) struct Program {
    /// As it was called, which may be a link that leads elsewhere meanwhile.
    called: Option<PathBuf>,
    /// Where it was then.
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Of this process; to be asked at its start, before its file may be replaced.
    ///
    /// # Errors
    /// The system does not tell.
    pub(in crate::cli) fn of_this_process() -> io::Result<Self> {
        let path = std::env::current_exe()?;
        let called = std::env::args_os().next().map(PathBuf::from);
        let called = called.filter(|path| path.components().count() > 1);
        let called = called.and_then(|path| std::path::absolute(path).ok());
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        if arguments.first().is_some_and(|first| first == "run" || first == COMMAND) {
            arguments.remove(0);
        }
        Ok(Self { called, path, arguments })
    }

    fn path(&self) -> &Path {
        self.called.as_deref().filter(|path| path.exists()).unwrap_or(&self.path)
    }
}

/// A hand-over that has begun.
#[derive(Debug)]
pub(in crate::cli) struct Giving {
    child: Child,
    stream: BufReader<UnixStream>,
}

impl Giving {
    /// Starts the program with these sockets.
    ///
    /// # Errors
    /// What could not be done, in words.
    pub(in crate::cli) fn begin(program: &Program, sockets: &Handed) -> Result<Self, String> {
        let text = |error: io::Error| format!("hand over the sockets: {error}");
        let (ours, theirs) = Blocking::pair().map_err(text)?;
        // What now stands at the path may be something that does not read.
        ours.set_write_timeout(Some(SEND)).map_err(text)?;
        let path = program.path();
        let mut child = Command::new(path)
            .arg(COMMAND)
            .args(&program.arguments)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|error| format!("start {}: {error}", path.display()))?;
        if let Err(error) = wire::send(&ours, sockets) {
            // It may have ended by itself, and says why then.
            let _ = child.start_kill();
            return Err(text(error));
        }
        ours.set_nonblocking(true).map_err(text)?;
        let stream = BufReader::new(UnixStream::from_std(ours).map_err(text)?);
        Ok(Self { child, stream })
    }

    /// The new process's id, while it lives.
    pub(in crate::cli) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the new process accepts. Not to be called again once it returned; may be
    /// dropped and called anew before.
    ///
    /// # Errors
    /// Why it will not, in words. It has ended, or is ended.
    pub(in crate::cli) async fn accepted(&mut self) -> Result<(), String> {
        let mut line = String::new();
        let mut limited = (&mut self.stream).take(SAID);
        let said = match timeout(LOAD, limited.read_line(&mut line)).await {
            Err(_) => format!("it was not ready within {} s", LOAD.as_secs()),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(_)) if line.trim_end() == wire::LOADED => return Ok(()),
            Ok(Ok(0)) => match timeout(Duration::from_secs(5), self.child.wait()).await {
                Ok(Ok(status)) => format!("it ended ({status}); what it said is above"),
                Ok(Err(_)) | Err(_) => "it closed the connection".to_owned(),
            },
            Ok(Ok(_)) => line.trim_end().to_owned(),
        };
        self.give_up();
        Err(said)
    }

    /// Ends the new process, which may have begun to accept in this moment: what it took, it
    /// finishes.
    pub(in crate::cli) fn give_up(&mut self) {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        // It may have ended by itself.
        let _ = id.map(|id| kill_process(id, Signal::TERM));
    }

    /// Says that nothing is left that only one process may do.
    pub(in crate::cli) async fn release(mut self) {
        // A process that has gone meanwhile can't be told; nothing follows from it.
        let _ = self.stream.write_all(format!("{}\n", wire::RELEASED).as_bytes()).await;
    }
}
