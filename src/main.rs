//! The `wharf` binary: reads arguments, calls the library, sets the exit status.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    wharf::cli::main()
}
