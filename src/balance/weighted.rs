//! A service made of services, each with its share of the requests.

use http::{Request, Response};

use super::answer;
use super::children::{Child, Children};
use super::settings::CookieSettings;
use super::sticky::{Claim, Cookie};
use crate::message::{Body, Exchange};

/// Shares of requests over services (Traefik's `weighted`).
pub(super) struct Weighted {
    pub(super) children: Children,
    cookie: Option<Cookie>,
}

impl Weighted {
    pub(super) fn new(
        name: &str,
        children: Vec<Child>,
        follow_health: bool,
        sticky: Option<&CookieSettings>,
    ) -> Self {
        Self {
            children: Children::new(children, follow_health),
            cookie: sticky.map(|settings| Cookie::new(settings, name)),
        }
    }

    pub(super) async fn call(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
    ) -> Response<Body> {
        let claimed = self.cookie.as_ref().and_then(|cookie| {
            let mut values = cookie.values(request.headers());
            values.find_map(|value| {
                self.children.find_map(|child| match child.marks.claim(value, &child.name) {
                    Claim::No => None,
                    claim @ (Claim::Yes | Claim::Old) => Some(claim),
                })
            })
        });
        let (child, is_claimed) = match claimed {
            Some((child, claim)) => (child, claim == Claim::Yes),
            None => match self.children.next() {
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
}
