//! A router's middlewares in order, and how a request goes through them and back.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use http::{Request, Response, StatusCode};
use smallvec::SmallVec;

use super::{Flow, Memo, Step};
use crate::balance::{Front, Service};
use crate::message::{Body, Exchange};

/// Most middlewares of one router, `chain`s unfolded. Steps around what follows poll each
/// other on the stack of one thread, and labels say how many there are.
pub const LONGEST: usize = 64;

/// One middleware of a chain.
#[derive(Clone)]
pub struct Link {
    /// Its qualified name: `auth@docker`.
    pub name: Arc<str>,
    /// What it does.
    pub step: Arc<Step>,
    /// The service that its settings name.
    pub service: Option<Arc<Service>>,
}

/// A router's middlewares, ready to run.
#[derive(Default)]
pub struct Chain {
    links: Box<[Link]>,
}

impl Chain {
    /// The middlewares in order.
    pub fn new(links: Vec<Link>) -> Self {
        Self { links: links.into_boxed_slice() }
    }

    /// The middlewares in order.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Takes a request through the steps, to the service, and its answer back.
    pub async fn run(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
        end: &Service,
    ) -> Response<Body> {
        if self.links.is_empty() {
            return end.call(exchange, request).await;
        }
        let depth = depth(exchange);
        Rest { name: "", links: &self.links, end, depth }.run(exchange, request).await
    }
}

/// The middlewares of a service of its own.
impl Front for Chain {
    fn call<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Request<Body>,
        service: &'a Service,
    ) -> LocalBoxFuture<'a, Response<Body>> {
        Box::pin(self.run(exchange, request, service))
    }
}

/// What is left of the way: the steps after one, and the service.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    name: &'a str,
    links: &'a [Link],
    end: &'a Service,
    /// Spans that are open around it; those of an earlier run inside are over.
    depth: usize,
}

impl Rest<'_> {
    /// The qualified name of the middleware that has it: `breaker@docker`.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The qualified name of the service that requests are on their way to.
    pub fn service(&self) -> &str {
        &self.end.name
    }

    /// Goes the rest of the way. An around step may do so more than once.
    pub async fn run(self, exchange: &mut Exchange, request: Request<Body>) -> Response<Body> {
        if let Some(trace) = &mut exchange.trace {
            trace.leave(self.depth);
        }
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

    /// Counts a try beyond the first, in the access log and on the router's service.
    pub fn count_retry(&self, exchange: &mut Exchange) {
        exchange.served.retries += 1;
        self.end.metrics.retried();
    }

    async fn forward<'s>(
        &'s self,
        exchange: &mut Exchange,
        mut request: Request<Body>,
        passed: &mut SmallVec<[(&'s Step, Memo); 2]>,
    ) -> Response<Body> {
        let mut links = self.links;
        while let Some((Link { step, name, .. }, after)) = links.split_first() {
            if let Some(trace) = &mut exchange.trace
                && trace.is_detailed()
                && let Some(kind) = span_name(step.kind())
                && let Some(attributes) = trace.enter(kind)
            {
                attributes.text("traefik.middleware.name", name);
            }
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
                    let depth = depth(exchange);
                    let rest = Rest { name, links: after, end: self.end, depth };
                    return step.around(exchange, request, rest).await;
                }
            }
            links = after;
        }
        self.end.call(exchange, request).await
    }
}

fn depth(exchange: &Exchange) -> usize {
    exchange.trace.as_ref().map_or(0, |trace| trace.depth())
}

/// What Traefik calls the span of a middleware of this kind; `None`: it has none.
fn span_name(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "addPrefix" => "AddPrefix",
        "basicAuth" => "BasicAuth",
        "buffering" => "Buffer",
        "circuitBreaker" => "CircuitBreaker",
        "compress" => "Compress",
        "digestAuth" => "DigestAuth",
        "encodedCharacters" => "EncodedCharacters",
        "errors" => "CustomError",
        "forwardAuth" => "ForwardAuth",
        "headers" => "Headers",
        "inFlightReq" => "InFlightReq",
        "ipAllowList" => "IPAllowLister",
        "ipWhiteList" => "IPWhiteLister",
        "passTLSClientCert" => "PassClientTLSCert",
        "rateLimit" => "RateLimiter",
        "redirectRegex" => "Redirect",
        "replacePath" => "ReplacePath",
        "replacePathRegex" => "ReplacePathRegex",
        "retry" => "Retry",
        "stripPrefix" => "StripPrefix",
        "stripPrefixRegex" => "StripPrefixRegex",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderMap;

    use super::*;
    use crate::message::{Handler, plain};
    use crate::middleware::probe::{Settings as Probe, What};
    use crate::middleware::{Spec, content_type, headers};
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
        let links = specs.iter().map(|spec| Link {
            name: spec.kind().into(),
            step: Arc::new(Step::build(spec, None).unwrap()),
            service: None,
        });
        let links = links.collect();
        let end = Service::internal("s".into(), Arc::new(Server(status)), Requests::off());
        let request = Request::new(Body::empty());
        let response = Chain::new(links).run(&mut Exchange::for_tests(), request, &end).await;
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

    #[test]
    fn sec_as_many_steps_around_each_other_as_there_may_be_fit_on_half_a_workers_stack() {
        let kind = content_type::Settings::default();
        let specs = vec![Spec::ContentType(Box::new(kind)); LONGEST];
        let run_all = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(run(&specs, StatusCode::OK)).0
        };

        let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(run_all).unwrap();

        assert_eq!(thread.join().unwrap(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_101_is_not_touched() {
        let (_, headers) = run(&[probe("a", What::Both)], StatusCode::SWITCHING_PROTOCOLS).await;

        assert_eq!(text(&headers, "x-way"), [""; 0]);
    }
}
