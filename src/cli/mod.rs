//! Arguments and commands. Must never hold logic of its own.

mod check;
pub mod demo;
mod exports;
mod healthcheck;
mod help;
mod processes;
mod reload;
mod run;
mod signals;
mod upgrade;
mod version;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::settings::Settings;
use crate::spiffe;
use crate::tree::suggest;

pub(crate) use run::proxy;

/// Commands, with what they do.
const COMMANDS: [(&str, &str); 8] = [
    ("run", "Runs the proxy; also without any command"),
    ("check", "Prints what is wrong with configuration and labels, and starts nothing"),
    ("demo", "Starts a small project of its own behind the proxy, to look at"),
    ("healthcheck", "Asks /ping of a running proxy; 0 when it is well"),
    ("reload", "Has a running proxy read its static configuration again"),
    ("upgrade", "Has a running proxy hand over to a new process, without a refused connection"),
    ("version", "Shows the version"),
    ("help", "Shows this text"),
];

/// Our own SPIFFE identity that is to come. The error names the option.
fn spiffe(settings: &Settings) -> Result<Option<spiffe::Source>, String> {
    let text = settings.spiffe.workload_api_addr.as_str();
    if text.is_empty() {
        return Ok(None);
    }
    spiffe::Address::parse(text).map(|_| Some(spiffe::Source::default())).map_err(|why| {
        let mend = "write one such as unix:///run/spire/agent.sock";
        format!("spiffe.workloadAPIAddr {text:?} {why}; {mend}")
    })
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match arguments.split_first() {
        Some((first, rest)) if !first.starts_with('-') => command(first, rest),
        Some(_) | None => with_help(&arguments, run::command),
    }
}

fn command(name: &str, rest: &[String]) -> ExitCode {
    match name {
        "run" => with_help(rest, run::command),
        "check" => with_help(rest, check::command),
        "demo" => demo::command(rest),
        // What the demo, the examples and the tests put behind the proxy.
        "demo-server" => demo::server::command(rest),
        "healthcheck" => with_help(rest, healthcheck::command),
        "reload" => with_help(rest, reload::command),
        "upgrade" => with_help(rest, upgrade::command::command),
        upgrade::COMMAND => run::take_over(rest),
        "version" => with_help(rest, |_| print(&version::text())),
        "help" => print(&help::text()),
        _ => unknown(name),
    }
}

fn with_help(arguments: &[String], run: impl FnOnce(&[String]) -> ExitCode) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return print(&help::text());
    }
    run(arguments)
}

fn unknown(name: &str) -> ExitCode {
    // As Traefik's words, and its exit status.
    eprintln!("wharf: command not found: {name}");
    let names = || COMMANDS.iter().map(|(name, _)| *name);
    match suggest::nearest(name, names()) {
        Some(near) => eprintln!("did you mean `wharf {near}`?"),
        None => eprintln!("commands: {}; see `wharf help`", names().collect::<Vec<_>>().join(", ")),
    }
    ExitCode::FAILURE
}

/// Writes a command's own output. A reader that has gone (`wharf help | head`) is no error.
fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
