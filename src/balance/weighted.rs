//! A service made of services, each with its share of the requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::{Request, Response};

use super::Service;
use super::answer;
use super::rotation::turns;
use super::settings::CookieSettings;
use super::sticky::{Claim, Cookie, Marks};
use crate::message::{Body, Exchange};

/// Shares of requests over services (Traefik's `weighted`).
pub(super) struct Weighted {
    children: Box<[Child]>,
    /// Places in `children`, in the order of turns.
    turns: Box<[u32]>,
    turn: AtomicUsize,
    cookie: Option<Cookie>,
}

struct Child {
    /// As written in the settings.
    name: Box<str>,
    marks: Marks,
    service: Arc<Service>,
}

impl Weighted {
    pub(super) fn new(
        name: &str,
        children: Vec<(String, i64, Arc<Service>)>,
        sticky: Option<&CookieSettings>,
    ) -> Self {
        let weights: Vec<u32> = children.iter().map(|(_, weight, _)| share(*weight)).collect();
        Self {
            turns: turns(&weights),
            turn: AtomicUsize::new(rand::random_range(0..1 << 16)),
            cookie: sticky.map(|settings| Cookie::new(settings, name)),
            children: children
                .into_iter()
                .map(|(name, _, service)| Child {
                    marks: Marks::of_child(&name),
                    name: name.into(),
                    service,
                })
                .collect(),
        }
    }

    pub(super) async fn call(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
    ) -> Response<Body> {
        let claimed = self.cookie.as_ref().and_then(|cookie| {
            cookie.values(request.headers()).find_map(|value| self.claimed(value))
        });
        let (child, is_claimed) = match claimed {
            Some((child, claim)) => (child, claim == Claim::Yes),
            None => match self.next() {
                Some(child) => (child, false),
                None => return answer::unavailable(),
            },
        };
        // Boxed, since a child may be another of this kind; nobody else pays for it.
        let mut response = Box::pin(child.service.call(exchange, request)).await;
        if let Some(cookie) = &self.cookie
            && !is_claimed
        {
            cookie.set(response.headers_mut(), &child.marks);
        }
        response
    }

    fn claimed(&self, value: &[u8]) -> Option<(&Child, Claim)> {
        self.children.iter().find_map(|child| match child.marks.claim(value, &child.name) {
            Claim::No => None,
            claim @ (Claim::Yes | Claim::Old) => Some((child, claim)),
        })
    }

    fn next(&self) -> Option<&Child> {
        let turn = self.turn.fetch_add(1, Relaxed).checked_rem(self.turns.len())?;
        self.children.get(*self.turns.get(turn)? as usize)
    }
}

/// A weight as the number of turns it stands for; 0 or less: none.
pub(super) fn share(weight: i64) -> u32 {
    u32::try_from(weight.max(0)).unwrap_or(u32::MAX)
}
