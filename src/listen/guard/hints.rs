//! Interim answers (1xx) on their way to a client: hyper's server sends none, so they are
//! put on the wire in front of the final answer, between two writes of hyper's.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use http::{HeaderMap, StatusCode};

use crate::message::{Informational, hop};

/// Bytes of interim answers that may wait; more are dropped (`security.md` H15).
const LIMIT: usize = 64 * 1024;

/// What waits to be written on one connection.
#[derive(Debug, Default)]
pub(in crate::listen) struct Hints {
    waits: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    waker: Option<Waker>,
}

impl Hints {
    /// The way for servers' interim answers to this connection.
    pub(in crate::listen) fn sink(self: &Arc<Self>) -> Informational {
        let hints = Arc::clone(self);
        Informational(Arc::new(move |status, headers| hints.push(status, headers)))
    }

    /// Whom to wake when something comes.
    pub(in crate::listen) fn register(&self, waker: &Waker) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.waker.as_ref().is_some_and(|held| held.will_wake(waker)) {
            queue.waker = Some(waker.clone());
        }
    }

    fn push(&self, status: StatusCode, headers: &HeaderMap) {
        // 100 is hyper's own to say, 101 is the final answer of an upgrade.
        if !status.is_informational() || status.as_u16() < 102 {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.bytes.len() > LIMIT {
            return;
        }
        let reason = status.canonical_reason().unwrap_or_default();
        // Writing to a vector can't fail.
        let _ = write!(queue.bytes, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
        for (name, value) in headers.iter().filter(|(name, _)| !hop::is_of_message(name)) {
            queue.bytes.extend_from_slice(name.as_str().as_bytes());
            queue.bytes.extend_from_slice(b": ");
            queue.bytes.extend_from_slice(value.as_bytes());
            queue.bytes.extend_from_slice(b"\r\n");
        }
        queue.bytes.extend_from_slice(b"\r\n");
        self.waits.store(true, Ordering::Release);
        if let Some(waker) = &queue.waker {
            waker.wake_by_ref();
        }
    }

    /// What waits; nothing, as a rule.
    pub(super) fn peek(&self) -> Option<Vec<u8>> {
        if !self.waits.load(Ordering::Acquire) {
            return None;
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        Some(queue.bytes.clone()).filter(|bytes| !bytes.is_empty())
    }

    /// So many bytes were written.
    pub(super) fn take(&self, len: usize) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let len = len.min(queue.bytes.len());
        queue.bytes.drain(..len);
        self.waits.store(!queue.bytes.is_empty(), Ordering::Release);
    }

    /// The final answer has begun: what still waits comes too late.
    pub(super) fn clear(&self) {
        self.take(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_hints_wait_to_be_written_and_continue_does_not() {
        let hints = Arc::new(Hints::default());
        let Informational(sink) = hints.sink();
        let mut headers = HeaderMap::new();
        headers.insert("link", http::HeaderValue::from_static("</a.css>"));
        // An interim answer has no body: what says where one ends must not go out (H15).
        headers.insert("content-length", http::HeaderValue::from_static("7"));
        headers.insert("transfer-encoding", http::HeaderValue::from_static("chunked"));
        headers.insert("connection", http::HeaderValue::from_static("close"));

        sink(StatusCode::CONTINUE, &headers);
        assert_eq!(hints.peek(), None);
        sink(StatusCode::EARLY_HINTS, &headers);
        let text = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n".to_vec();
        assert_eq!(hints.peek(), Some(text.clone()));
        hints.take(9);
        assert_eq!(hints.peek().as_deref(), text.get(9..));
        hints.clear();
        assert_eq!(hints.peek(), None);
    }
}
