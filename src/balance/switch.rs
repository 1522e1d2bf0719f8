//! A connection that changes its protocol: a WebSocket, say.

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, Response};

use super::account::Account;
use super::answer;
use super::replica::Replica;
use crate::message::{Body, Exchange};
use crate::upstream::{self, Cause};

/// Passes a 101 on, and has the bytes after it carried both ways until one side ends.
///
/// `asked` is the protocol that the client wants to change to.
pub(super) fn switch(
    exchange: &mut Exchange,
    account: Account,
    replica: &Replica,
    asked: Option<&HeaderValue>,
    mut response: Response<Body>,
) -> Response<Body> {
    if !is_answer_to(asked, response.headers()) {
        return account.answer(answer::failed(&garbage()));
    }
    let server = upstream::server_side(&mut response);
    let Some(client) = exchange.upgrade.take() else {
        return account.answer(answer::failed(&garbage()));
    };
    let held: Vec<_> =
        exchange.until_tunnel_ends.drain(..).filter_map(|held| held.upgrade()).collect();
    // Ends by itself, when either side does.
    let tunnel = tokio::task::spawn_local(async move {
        let (up, down) = upstream::tunnel(client, server).await;
        account.end_upgrade(up, down);
        drop(held);
    });
    replica.server.carries(&tunnel);
    response
}

fn garbage() -> Cause {
    Cause::Unreachable(std::io::Error::from(std::io::ErrorKind::InvalidData))
}

/// Whether a 101 switches to what was asked for, as Go asks of it: the client would speak
/// another protocol than the server.
fn is_answer_to(asked: Option<&HeaderValue>, headers: &HeaderMap) -> bool {
    let protocol = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase();
    asked.map(protocol) == headers.get(UPGRADE).map(protocol)
}
