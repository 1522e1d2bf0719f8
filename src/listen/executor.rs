//! Runs hyper's HTTP/2 stream tasks on the worker that accepted the connection.

use std::future::Future;

/// Spawns on the present thread's runtime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Executor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        // Owned by its stream: hyper ends it when the stream is reset or closed.
        drop(tokio::task::spawn_local(future));
    }
}
