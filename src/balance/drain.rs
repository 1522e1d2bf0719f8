//! Answers that nobody wants: read to their end within bounds, so that the connection they
//! come on can be used again.

use std::time::Duration;

use http::Response;
use http_body_util::{BodyExt, Limited};

use crate::message::Body;

/// Read at most; a longer answer costs its connection.
const MOST: usize = 16 << 20;

/// For one answer.
const LIMIT: Duration = Duration::from_secs(60);

/// Reads an answer to its end, or as far as is worth it.
pub(super) async fn drain(response: Response<Body>) {
    let mut body = Limited::new(response.into_body(), MOST);
    while let Some(Ok(_)) = body.frame().await {}
}

/// The same, without having the caller wait.
pub(super) fn drain_later(response: Response<Body>) {
    if http_body::Body::is_end_stream(response.body()) {
        return;
    }
    // Ends by itself, at the latest with the time limit.
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(LIMIT, drain(response)).await;
    });
}
