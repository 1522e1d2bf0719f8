//! `wharf demo`, and the small server that stands in for a user's application in it, in
//! the examples and in the tests. Must never be needed by the proxy itself.

mod arrival;
mod ca;
mod docker;
mod embedded;
mod image;
mod options;
mod project;
pub mod server;
mod stage;
mod traffic;

use std::process::ExitCode;
use std::sync::mpsc;

use tokio_util::sync::CancellationToken;

use options::Options;

/// Runs `wharf demo` with the arguments after that word.
///
/// The project lives on a thread of its own, the proxy on this one; whichever ends first
/// ends the other, and the project is taken down last.
#[expect(clippy::print_stdout, reason = "a command's own output")]
pub fn command(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{}", options::HELP);
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(text) => return failed(&text),
    };
    let stopping = CancellationToken::new();
    let proxy_ended = CancellationToken::new();
    let (tell, told) = mpsc::sync_channel(1);
    let stage =
        stage::Stage { options, stopping: stopping.clone(), proxy_ended: proxy_ended.clone() };
    let thread = std::thread::spawn(move || stage.play(&tell));
    let status = match told.recv() {
        Ok(Ok(flags)) => super::proxy(&flags, &stopping),
        Ok(Err(text)) => failed(&text),
        // The thread ended without a word: it was told to stop while it set up.
        Err(_) => ExitCode::SUCCESS,
    };
    stopping.cancel();
    proxy_ended.cancel();
    if thread.join().is_err() {
        return failed("the demo's project ended in a panic; the next demo clears it away");
    }
    status
}

fn failed(text: &str) -> ExitCode {
    eprintln!("wharf demo: {text}");
    ExitCode::FAILURE
}
