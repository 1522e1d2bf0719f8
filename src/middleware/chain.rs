//! A router's middlewares in order, and how a request goes through them and back.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response, StatusCode};
use smallvec::SmallVec;

use super::{Flow, Memo, Step};
use crate::balance::Service;
use crate::message::{Body, Exchange};

/// A router's middlewares, ready to run.
#[derive(Default)]
pub struct Chain {
    steps: Box<[Step]>,
}

impl Chain {
    /// The steps in order.
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps: steps.into_boxed_slice() }
    }

    /// Takes a request through the steps, to the service, and its answer back.
    pub async fn run(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
        end: &Service,
    ) -> Response<Body> {
        if self.steps.is_empty() {
            return end.call(exchange, request).await;
        }
        Rest { steps: &self.steps, end }.run(exchange, request).await
    }
}

/// What is left of the way: the steps after one, and the service.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    steps: &'a [Step],
    end: &'a Service,
}

impl Rest<'_> {
    /// Goes the rest of the way. An around step may do so more than once.
    pub async fn run(self, exchange: &mut Exchange, request: Request<Body>) -> Response<Body> {
        let mut passed: SmallVec<[(&Step, Memo); 2]> = SmallVec::new();
        let mut response = self.forward(exchange, request, &mut passed).await;
        // After a 101 the connection is no longer HTTP; its head goes as the server wrote it.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            while let Some((step, memo)) = passed.pop() {
                step.response(memo, &mut response);
            }
        }
        response
    }

    async fn forward<'s>(
        &'s self,
        exchange: &mut Exchange,
        mut request: Request<Body>,
        passed: &mut SmallVec<[(&'s Step, Memo); 2]>,
    ) -> Response<Body> {
        let mut steps = self.steps;
        while let Some((step, after)) = steps.split_first() {
            match step.request(exchange, &mut request) {
                Flow::Next => {}
                Flow::After(memo) => passed.push((step, memo)),
                Flow::Respond(response) => return response,
                Flow::Wait => {
                    if let Err(response) = step.wait(exchange, &mut request).await {
                        return response;
                    }
                }
                Flow::Around => {
                    let rest = Rest { steps: after, end: self.end };
                    return boxed(step.around(exchange, request, rest)).await;
                }
            }
            steps = after;
        }
        self.end.call(exchange, request).await
    }
}

/// The way inside an around step holds itself; the box ends that, and only routes with
/// such a step pay for it.
fn boxed<'a>(
    future: impl Future<Output = Response<Body>> + 'a,
) -> Pin<Box<dyn Future<Output = Response<Body>> + 'a>> {
    Box::pin(future)
}
