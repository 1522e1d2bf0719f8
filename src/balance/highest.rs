//! A service made of services, of which each client address has its own.

use http::{Request, Response};

use super::answer;
use super::children::{Child, Children, Place};
use super::strategy::rendezvous;
use crate::message::{Body, Exchange};

/// Services by hash of the client's address (Traefik's `highestRandomWeight`).
pub(super) struct Highest {
    pub(super) children: Children,
}

impl Highest {
    pub(super) fn new(children: Vec<Child>, follow_health: bool) -> Self {
        Self { children: Children::new(children, follow_health) }
    }

    pub(super) async fn call(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
    ) -> Response<Body> {
        let client = exchange.connection.peer.ip();
        let score = |child: &Place| rendezvous(&child.name, child.weight, client);
        let chosen = self.children.candidates().max_by(|a, b| score(a).total_cmp(&score(b)));
        match chosen {
            Some(child) => Box::pin(child.service.call(exchange, request)).await,
            None => answer::unavailable(),
        }
    }
}
