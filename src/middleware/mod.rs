//! Middlewares: one file each (its settings and its step), and the one table of them.
//! Must never reach into another middleware.

mod add_prefix;
mod basic_auth;
mod buffering;
mod chain;
mod chain_list;
mod circuit_breaker;
mod client;
mod client_tls;
mod compress;
mod content_type;
mod digest_auth;
mod disk;
mod encoded_characters;
mod errors;
mod forward_auth;
mod grpc_web;
mod headers;
mod identity;
mod in_flight_req;
mod ip_allow_list;
mod ip_white_list;
mod login;
mod pass_tls_client_cert;
pub mod predicate;
#[cfg(test)]
mod probe;
mod rate_limit;
mod redirect;
mod redirect_regex;
mod redirect_scheme;
mod replace_path;
mod replace_path_regex;
mod retry;
mod source;
mod spec;
mod strip_prefix;
mod strip_prefix_regex;
mod target;
#[cfg(test)]
mod testing;
mod users;

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use http::{Request, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::balance::Service;
use crate::message::{Body, Exchange, plain, status_text};

pub use chain::{Chain, LONGEST, Link, Rest};
pub use spec::options;

/// What a request step wants done next.
pub enum Flow<M> {
    /// Go on; this step has nothing to do with the answer.
    Next,
    /// Go on, and call [`Middleware::response`] with this on the way back.
    After(M),
    /// Answer with this; what follows does not see the request.
    Respond(Response<Body>),
    /// Call [`Middleware::wait`]: the decision takes time.
    Wait,
    /// Call [`Middleware::around`]: the step owns everything that follows.
    Around,
}

/// One middleware at run time. The `middlewares!` table makes [`Step`] out of all of them,
/// so that a call is a jump and not a pointer; nothing is boxed but by `around`.
pub trait Middleware: Sized {
    /// Its settings, with Traefik's names and defaults.
    type Settings: DeserializeOwned + Serialize;
    /// What it remembers of a request until the answer comes.
    type Memo;

    /// The section may be switched on without any key: `compress=true`.
    const STANDS_ALONE: bool = false;
    /// Keys that are accepted without effect, and what to do instead.
    const DEPRECATED: &'static [(&'static str, &'static str)] = &[];

    /// What is accepted and yet not done, in words for the user.
    fn remarks(_settings: &Self::Settings) -> Vec<String> {
        Vec::new()
    }

    /// Prepares the step. The error is in Traefik's words.
    ///
    /// A step lives as long as its router names the middleware and its settings stay the
    /// same: what it counts outlives other changes. Each router has a step of its own.
    fn build(settings: &Self::Settings) -> Result<Self, String>;

    /// The service that the settings name, as written; it is handed to [`Middleware::link`].
    fn service(_settings: &Self::Settings) -> Option<&str> {
        None
    }

    /// Its regular expressions, as written.
    fn patterns(_settings: &Self::Settings) -> Vec<&str> {
        Vec::new()
    }

    /// Learns the qualified name that it was declared under, and how many worker threads run
    /// it; called once, before any request.
    fn place(&mut self, _name: &str, _workers: usize) {}

    /// Takes the service that [`Middleware::service`] named; called once, before any request.
    fn link(&mut self, _service: Arc<Service>) {}

    /// Sees the request, in order.
    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo>;

    /// Decides about the request after [`Flow::Wait`]; an error is the answer.
    #[expect(async_fn_in_trait, reason = "workers run futures that are not Send")]
    async fn wait(
        &self,
        _exchange: &mut Exchange,
        _request: &mut Request<Body>,
    ) -> Result<(), Response<Body>> {
        // A step that waits and does not say for what must not let the request pass.
        Err(plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
    }

    /// Sees the answer after [`Flow::After`], in reverse order. 101 answers are not shown.
    fn response(&self, _memo: Self::Memo, _response: &mut Response<Body>) {}

    /// Runs the rest of the way after [`Flow::Around`], as often as it likes.
    #[expect(async_fn_in_trait, reason = "workers run futures that are not Send")]
    async fn around(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        rest.run(exchange, request).await
    }
}

/// Makes [`Spec`], [`Step`] and their dispatch from the table of all middlewares.
macro_rules! middlewares {
    ($( $(#[$meta:meta])* $kind:ident = $key:literal, $module:ident, $about:literal; )*) => {
        /// A middleware as declared. Serializes as `{"stripPrefix": {...}}`.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub enum Spec { $(
            $(#[$meta])*
            #[doc = $about]
            #[serde(rename = $key)]
            $kind(Box<$module::Settings>),
        )* }

        /// A middleware ready to run.
        pub enum Step { $(
            $(#[$meta])*
            #[doc = $about]
            $kind($module::Step),
        )* }

        /// What a step remembers until the answer comes.
        enum Memo { $( $(#[$meta])* $kind(<$module::Step as Middleware>::Memo), )* }

        /// Every kind that is built: its key and what it does, for lists and pages.
        pub const KINDS: &[(&str, &str)] = &[ $( $(#[$meta])* ($key, $about), )* ];

        impl Spec {
            /// The key in labels, files and the API's JSON: `stripPrefix`.
            pub fn kind(&self) -> &'static str {
                match self { $( $(#[$meta])* Self::$kind(_) => $key, )* }
            }

            /// What it does, in a few words.
            pub fn about(&self) -> &'static str {
                match self { $( $(#[$meta])* Self::$kind(_) => $about, )* }
            }

            /// Its regular expressions, as written.
            pub fn patterns(&self) -> Vec<&str> {
                match self {
                    $(
                        $(#[$meta])*
                        Self::$kind(settings) => <$module::Step as Middleware>::patterns(settings),
                    )*
                }
            }

            /// The service that it names, as written.
            pub fn service(&self) -> Option<&str> {
                match self {
                    $(
                        $(#[$meta])*
                        Self::$kind(settings) => <$module::Step as Middleware>::service(settings),
                    )*
                }
            }

            /// Decodes the section of the kind `key`; `None` when there is no such kind.
            fn section(
                key: &str,
                node: &crate::tree::Node,
                problems: &mut Vec<crate::problem::Problem>,
            ) -> Option<Option<Self>> {
                $(
                    $(#[$meta])*
                    if key.eq_ignore_ascii_case($key) {
                        let settings = spec::settings::<$module::Step>($key, node, problems);
                        return Some(settings.map(|settings| Self::$kind(Box::new(settings))));
                    }
                )*
                None
            }
        }

        impl Step {
            /// The key in labels and files.
            fn kind(&self) -> &'static str {
                match self { $( $(#[$meta])* Self::$kind(_) => $key, )* }
            }

            /// Tells the middleware its qualified name, and how many worker threads run it.
            pub fn place(&mut self, name: &str, workers: usize) {
                match self { $( $(#[$meta])* Self::$kind(step) => step.place(name, workers), )* }
            }

            /// Prepares a middleware. The error is in Traefik's words. `service` is the one
            /// that [`Spec::service`] names.
            pub fn build(spec: &Spec, service: Option<Arc<Service>>) -> Result<Self, String> {
                match spec {
                    $(
                        $(#[$meta])*
                        Spec::$kind(settings) => {
                            let mut step = <$module::Step as Middleware>::build(settings)?;
                            if let Some(service) = service {
                                step.link(service);
                            }
                            Ok(Self::$kind(step))
                        }
                    )*
                }
            }

            fn request(
                &self,
                exchange: &mut Exchange,
                request: &mut Request<Body>,
            ) -> Flow<Memo> {
                match self {
                    $(
                        $(#[$meta])*
                        Self::$kind(step) => match step.request(exchange, request) {
                            Flow::Next => Flow::Next,
                            Flow::After(memo) => Flow::After(Memo::$kind(memo)),
                            Flow::Respond(response) => Flow::Respond(response),
                            Flow::Wait => Flow::Wait,
                            Flow::Around => Flow::Around,
                        },
                    )*
                }
            }

            async fn wait(
                &self,
                exchange: &mut Exchange,
                request: &mut Request<Body>,
            ) -> Result<(), Response<Body>> {
                match self {
                    $( $(#[$meta])* Self::$kind(step) => step.wait(exchange, request).await, )*
                }
            }

            fn response(&self, memo: Memo, response: &mut Response<Body>) {
                match (self, memo) {
                    $(
                        $(#[$meta])*
                        (Self::$kind(step), Memo::$kind(memo)) => step.response(memo, response),
                    )*
                    _ => {}
                }
            }

            /// Not async itself: the box is made here, and this frame is gone before it is
            /// polled. Steps around steps poll each other on one stack, so each level must
            /// take little of it.
            fn around<'a>(
                &'a self,
                exchange: &'a mut Exchange,
                request: Request<Body>,
                rest: Rest<'a>,
            ) -> LocalBoxFuture<'a, Response<Body>> {
                match self {
                    $(
                        $(#[$meta])*
                        Self::$kind(step) => Box::pin(step.around(exchange, request, rest)),
                    )*
                }
            }
        }
    };
}

middlewares! {
    AddPrefix = "addPrefix", add_prefix, "puts text in front of the path";
    BasicAuth = "basicAuth", basic_auth, "asks for a name and password";
    Buffering = "buffering", buffering, "reads requests and answers whole";
    Chain = "chain", chain_list, "runs other middlewares in order";
    CircuitBreaker = "circuitBreaker", circuit_breaker, "answers in place of a service that fails";
    Compress = "compress", compress, "compresses answers";
    ContentType = "contentType", content_type, "says what an answer is that does not say so";
    DigestAuth = "digestAuth", digest_auth, "asks for a name and password, sent as a digest";
    EncodedCharacters = "encodedCharacters", encoded_characters, "refuses paths with these characters encoded";
    Errors = "errors", errors, "answers errors with pages of a service";
    ForwardAuth = "forwardAuth", forward_auth, "asks another server whether a request may pass";
    GrpcWeb = "grpcWeb", grpc_web, "lets browsers speak to gRPC servers";
    Headers = "headers", headers, "sets headers, CORS and security headers";
    InFlightReq = "inFlightReq", in_flight_req, "limits the requests at once";
    IpAllowList = "ipAllowList", ip_allow_list, "lets only these addresses pass";
    IpWhiteList = "ipWhiteList", ip_white_list, "lets only these addresses pass; deprecated";
    PassTlsClientCert = "passTLSClientCert", pass_tls_client_cert, "tells servers of the client's certificate";
    #[cfg(test)]
    Probe = "probe", probe, "does what a test says";
    RateLimit = "rateLimit", rate_limit, "limits the requests of a source in a time";
    RedirectRegex = "redirectRegex", redirect_regex, "redirects by a pattern over the URL";
    RedirectScheme = "redirectScheme", redirect_scheme, "redirects to another scheme or port";
    ReplacePath = "replacePath", replace_path, "replaces the path";
    ReplacePathRegex = "replacePathRegex", replace_path_regex, "rewrites the path by a pattern";
    Retry = "retry", retry, "sends again what met no server or a status";
    StripPrefix = "stripPrefix", strip_prefix, "cuts the first prefix that matches";
    StripPrefixRegex = "stripPrefixRegex", strip_prefix_regex, "cuts what a pattern matches at the start of the path";
}

impl Spec {
    /// The names in a `chain`, as written; `None` for every other kind.
    pub fn chain(&self) -> Option<&[String]> {
        if let Self::Chain(settings) = self { Some(&settings.middlewares) } else { None }
    }

    /// The address that every request is told to.
    pub fn address(&self) -> Option<&str> {
        if let Self::ForwardAuth(settings) = self { Some(&settings.address) } else { None }
    }

    /// The addresses that buckets are kept at, as written.
    pub fn endpoints(&self) -> &[String] {
        let Self::RateLimit(settings) = self else { return &[] };
        settings.redis.as_ref().map_or(&[], |redis| &redis.endpoints)
    }

    /// The names in a `chain`, to qualify them.
    pub fn chain_mut(&mut self) -> Option<&mut Vec<String>> {
        if let Self::Chain(settings) = self { Some(&mut settings.middlewares) } else { None }
    }
}
