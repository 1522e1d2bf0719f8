//! Arguments and commands. Must never hold logic of its own.

pub mod demo;

/// Runs the command line.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
