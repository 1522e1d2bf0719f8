//! A connection after its 101: bytes both ways, of no further concern to HTTP.

use std::cell::Cell;

use tokio::sync::Notify;

/// What went through a tunnel, and when it ended. `balance` carries the bytes; whoever
/// counts the request waits for the end.
#[derive(Debug, Default)]
pub struct Tunnel {
    /// Bytes from the client.
    pub up: Cell<u64>,
    /// Bytes to the client.
    pub down: Cell<u64>,
    is_ended: Cell<bool>,
    ended: Notify,
}

impl Tunnel {
    /// Both sides are done.
    pub fn end(&self) {
        self.is_ended.set(true);
        self.ended.notify_waiters();
    }

    /// Waits for the end.
    pub async fn ended(&self) {
        while !self.is_ended.get() {
            self.ended.notified().await;
        }
    }
}
