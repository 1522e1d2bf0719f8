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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use http::HeaderMap;

    use super::*;
    use crate::message::{Handler, plain};
    use crate::middleware::probe::{Settings as Probe, What};
    use crate::middleware::{Spec, headers};
    use crate::observe::Requests;

    /// Answers with this status; says in `seen` what reached it.
    struct Server(StatusCode);

    impl Handler for Server {
        fn handle(&self, _: &Exchange, request: Request<Body>) -> Response<Body> {
            let mut response = plain(self.0, "");
            let lines = request.headers().get_all("x-way").iter();
            let seen: Vec<_> = lines.map(|value| value.to_str().unwrap()).collect();
            response.headers_mut().insert("seen", seen.join(",").parse().unwrap());
            response
        }
    }

    fn probe(name: &'static str, what: What) -> Spec {
        Spec::Probe(Box::new(Probe { name: name.to_owned(), what }))
    }

    async fn run(specs: &[Spec], status: StatusCode) -> (StatusCode, HeaderMap) {
        let steps = specs.iter().map(|spec| Step::build(spec).unwrap()).collect();
        let end = Service::internal("s".into(), Arc::new(Server(status)), Requests::off());
        let request = Request::new(Body::empty());
        let response = Chain::new(steps).run(&mut Exchange::for_tests(), request, &end).await;
        let (parts, _) = response.into_parts();
        (parts.status, parts.headers)
    }

    fn text<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn requests_go_in_order_and_answers_back_in_reverse() {
        let specs = [probe("a", What::Both), probe("b", What::Wait), probe("c", What::Both)];

        let (_, headers) = run(&specs, StatusCode::OK).await;

        assert_eq!(text(&headers, "seen"), ["a,b,c"]);
        assert_eq!(text(&headers, "x-way"), ["c", "a"]);
    }

    #[tokio::test]
    async fn the_first_listed_has_the_last_word_on_an_answer() {
        let order = |value: &str| {
            let fields = BTreeMap::from([("X-Order".to_owned(), value.to_owned())]);
            let settings =
                headers::Settings { custom_response_headers: fields, ..Default::default() };
            Spec::Headers(Box::new(settings))
        };

        let (_, headers) = run(&[order("o1"), order("o2")], StatusCode::OK).await;

        assert_eq!(text(&headers, "x-order"), ["o1"]);
    }

    #[tokio::test]
    async fn an_answer_of_a_step_passes_those_before_it_only() {
        for stop in [What::Respond, What::RespondLater] {
            let specs = [probe("a", What::Both), probe("b", stop), probe("c", What::Both)];

            let (status, headers) = run(&specs, StatusCode::OK).await;

            assert_eq!(status, StatusCode::IM_A_TEAPOT);
            assert_eq!(text(&headers, "x-way"), ["a"]);
            assert_eq!(text(&headers, "seen"), [""; 0]);
        }
    }

    #[tokio::test]
    async fn an_around_step_owns_what_follows_and_may_run_it_again() {
        let specs = [probe("a", What::Both), probe("b", What::Twice), probe("c", What::Both)];

        let (_, headers) = run(&specs, StatusCode::OK).await;

        assert_eq!(text(&headers, "x-way"), ["c", "again", "a"]);
    }

    #[tokio::test]
    async fn a_101_is_not_touched() {
        let (_, headers) = run(&[probe("a", What::Both)], StatusCode::SWITCHING_PROTOCOLS).await;

        assert_eq!(text(&headers, "x-way"), [""; 0]);
    }
}
