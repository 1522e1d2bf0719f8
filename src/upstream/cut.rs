//! Connections to an address that leads nowhere any more. Nobody will say that they are over:
//! what waits on them would wait until its client gives up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What drives the connections to one server, on whichever worker, and whether they were ended.
#[derive(Debug, Default)]
pub(super) struct Cut {
    drivers: Mutex<Vec<AbortHandle>>,
    is_done: AtomicBool,
    /// Tells those who are connecting.
    done: Notify,
}

impl Cut {
    /// Keeps what drives a connection, so that it can be ended from outside.
    pub(super) fn keep(&self, driver: AbortHandle) {
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ended are let go whenever there is no room left.
        if drivers.len() == drivers.capacity() {
            drivers.retain(|driver| !driver.is_finished());
        }
        drivers.push(driver);
    }

    /// Ends all connections, those too that are just being made.
    pub(super) fn cut(&self) {
        self.is_done.store(true, Ordering::Relaxed);
        for driver in self.drivers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            driver.abort();
        }
        self.done.notify_waiters();
    }

    /// Connections are made again.
    pub(super) fn mend(&self) {
        self.is_done.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    /// Ends when the connections are cut from now on.
    pub(super) async fn wait(&self) {
        self.done.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use tokio::net::TcpListener;

    use super::super::tests::on_worker;
    use super::super::{Cause, SendError, Server, Transport, TransportSettings, send};
    use crate::message::Body;

    #[test]
    fn what_waits_for_an_answer_ends_with_the_connections() {
        on_worker(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let transport = Transport::build(&TransportSettings::default()).unwrap();
            let server = Server::parse(&url, false, &transport).unwrap();
            let theirs = server.clone();
            tokio::task::spawn_local(async move {
                let (_never_answered, _) = listener.accept().await.unwrap();
                // From another thread, as the control thread does.
                std::thread::spawn(move || theirs.cut()).join().unwrap();
                tokio::time::sleep(Duration::from_secs(60)).await;
            });

            let request = Request::get("/").header("host", "x").body(Body::empty()).unwrap();
            let sent = send(&server, None, request).await;

            let Err(SendError::Sent(cause) | SendError::NotSent(_, cause)) = sent else {
                panic!("it was answered");
            };
            assert!(matches!(cause, Cause::Unreachable(_)), "{cause:?}");
        });
    }
}
