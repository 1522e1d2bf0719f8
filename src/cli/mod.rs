//! Arguments and commands. Must never hold logic of its own.

pub mod demo;

use std::process::ExitCode;

use tokio_util::sync::CancellationToken;

/// Runs the proxy by these flags until a signal comes or `stopping` is cancelled; for
/// `wharf demo`, which has a project to take down afterwards.
fn proxy(_flags: &[String], _stopping: &CancellationToken) -> ExitCode {
    // The run command lands next; its entry is called here.
    eprintln!("wharf: the proxy is not wired yet");
    ExitCode::FAILURE
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) if command == "demo-server" => demo::server::command(rest),
        Some((command, rest)) if command == "demo" => demo::command(rest),
        _ => ExitCode::SUCCESS,
    }
}
