//! The signals that the process listens to.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// INT or TERM: end.
    Stop,
    /// USR1: open the log files anew.
    Reopen,
    /// USR2: hand over to a new process.
    Upgrade,
    /// HUP: read the static configuration again.
    Reload,
}

/// Catches signals from its making on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    user1: Signal,
    user2: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one. Safe to drop: a signal that came is kept for the next call.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.user1.recv() => Asked::Reopen,
            _ = self.user2.recv() => Asked::Upgrade,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}
