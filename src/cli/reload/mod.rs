//! `wharf reload`: has a running proxy read its static configuration again, and says what came of
//! it. The proxy listens for that on a Unix socket of its own.

mod door;

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process};

use super::print;
use super::processes::wanted;

pub(super) use door::Door;

/// For the proxy to read its configuration and say what came of it.
const LIMIT: Duration = Duration::from_secs(30);
/// The status when something needs an upgrade.
const WAITS: u8 = 2;

/// What came of it, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything is in force.
    Taken,
    /// Something needs an upgrade.
    Waits,
    /// There is a mistake, and nothing changed.
    Mistake,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    /// For people.
    pub(super) lines: Vec<String>,
}

impl Verdict {
    const ALL: [(Self, &str); 3] =
        [(Self::Taken, "taken"), (Self::Waits, "waits"), (Self::Mistake, "mistake")];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(one, _)| *one == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, own)| *own == word).map(|(one, _)| *one)
    }
}

impl Report {
    /// As it goes over the socket.
    fn written(&self) -> String {
        let lines =
            std::iter::once(self.verdict.word()).chain(self.lines.iter().map(String::as_str));
        lines.map(|line| line.replace('\n', " ") + "\n").collect()
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let verdict = Verdict::of(lines.next()?)?;
        Some(Self { verdict, lines: lines.map(str::to_owned).collect() })
    }
}

/// Runs it with the arguments after its word.
pub(super) fn command(arguments: &[String]) -> ExitCode {
    let asked = wanted(arguments).and_then(|pid| Ok((pid, ask(pid)?)));
    let (pid, report) = match asked {
        Ok(asked) => asked,
        Err(text) => {
            eprintln!("wharf reload: {text}");
            return ExitCode::FAILURE;
        }
    };
    let Report { verdict, lines } = report;
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    match verdict {
        Verdict::Mistake => {
            eprint!("wharf reload: process {pid} changed nothing:\n{text}");
            ExitCode::FAILURE
        }
        Verdict::Taken if text.is_empty() => print("nothing has changed\n"),
        Verdict::Taken => print(&text),
        Verdict::Waits => {
            print(&text);
            ExitCode::from(WAITS)
        }
    }
}

fn ask(pid: u32) -> Result<Report, String> {
    let mut stream = match door::address(pid).and_then(|address| UnixStream::connect_addr(&address))
    {
        Ok(stream) => stream,
        // It is in another network or process namespace, or it could not listen.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return signal(pid),
        Err(error) => return Err(format!("ask process {pid}: {error}")),
    };
    let peer = socket_peercred(&stream).map_err(|error| format!("ask process {pid}: {error}"))?;
    // Anybody could have taken the name.
    if peer.pid.as_raw_nonzero().get().cast_unsigned() != pid {
        return signal(pid);
    }
    let mut text = String::new();
    let read = stream.set_read_timeout(Some(LIMIT)).and_then(|()| stream.read_to_string(&mut text));
    read.map_err(|error| format!("process {pid} does not answer: {error}; its log may say why"))?;
    Report::read(&text).ok_or_else(|| {
        format!(
            "process {pid} did not say what came of it; it takes this from its own user and root"
        )
    })
}

fn signal(pid: u32) -> Result<Report, String> {
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let target = target.ok_or_else(|| format!("{pid} is no process id"))?;
    kill_process(target, Signal::HUP).map_err(|error| format!("signal process {pid}: {error}"))?;
    let line = format!("process {pid} was told (SIGHUP); its log says what came of it");
    Ok(Report { verdict: Verdict::Taken, lines: vec![line] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        for verdict in [Verdict::Taken, Verdict::Waits, Verdict::Mistake] {
            let report = Report { verdict, lines: vec!["one".to_owned(), "two\nthree".to_owned()] };

            let read = Report::read(&report.written()).unwrap();

            assert_eq!(
                (read.verdict, read.lines),
                (verdict, vec!["one".into(), "two three".into()])
            );
        }
        assert!(Report::read("").is_none());
        assert!(Report::read("what\n").is_none());
    }
}
