//! Arguments and commands. Must never hold logic of its own.

pub mod demo;

/// Runs the command line.
pub fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, rest)) if command == "demo-server" => demo::server::command(rest),
        _ => std::process::ExitCode::SUCCESS,
    }
}
