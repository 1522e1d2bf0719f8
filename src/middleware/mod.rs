//! Middlewares: one file each (its settings and its step), and the one table of them.
//! Must never reach into another middleware.

mod add_prefix;
mod basic_auth;
mod chain;
mod chain_list;
mod client;
mod compress;
mod encoded_characters;
mod headers;
mod ip_allow_list;
#[cfg(test)]
mod probe;
mod redirect;
mod redirect_regex;
mod redirect_scheme;
mod replace_path;
mod replace_path_regex;
mod spec;
mod strip_prefix;
mod strip_prefix_regex;
mod target;
#[cfg(test)]
mod testing;

use http::{Request, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::message::{Body, Exchange, plain};

pub use chain::{Chain, Rest};
pub use spec::NOT_BUILT;

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
    fn build(settings: &Self::Settings) -> Result<Self, String>;

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
            /// Prepares a middleware. The error is in Traefik's words.
            pub fn build(spec: &Spec) -> Result<Self, String> {
                match spec {
                    $(
                        $(#[$meta])*
                        Spec::$kind(settings) => {
                            <$module::Step as Middleware>::build(settings).map(Self::$kind)
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

            async fn around(
                &self,
                exchange: &mut Exchange,
                request: Request<Body>,
                rest: Rest<'_>,
            ) -> Response<Body> {
                match self {
                    $( $(#[$meta])* Self::$kind(step) => step.around(exchange, request, rest).await, )*
                }
            }
        }
    };
}

middlewares! {
    AddPrefix = "addPrefix", add_prefix, "puts text in front of the path";
    BasicAuth = "basicAuth", basic_auth, "asks for a name and password";
    Chain = "chain", chain_list, "runs other middlewares in order";
    Compress = "compress", compress, "compresses answers";
    EncodedCharacters = "encodedCharacters", encoded_characters, "refuses paths with these characters encoded";
    Headers = "headers", headers, "sets headers, CORS and security headers";
    IpAllowList = "ipAllowList", ip_allow_list, "lets only these addresses pass";
    #[cfg(test)]
    Probe = "probe", probe, "does what a test says";
    RedirectRegex = "redirectRegex", redirect_regex, "redirects by a pattern over the URL";
    RedirectScheme = "redirectScheme", redirect_scheme, "redirects to another scheme or port";
    ReplacePath = "replacePath", replace_path, "replaces the path";
    ReplacePathRegex = "replacePathRegex", replace_path_regex, "rewrites the path by a pattern";
    StripPrefix = "stripPrefix", strip_prefix, "cuts the first prefix that matches";
    StripPrefixRegex = "stripPrefixRegex", strip_prefix_regex, "cuts what a pattern matches at the start of the path";
}

impl Spec {
    /// The names in a `chain`, as written; `None` for every other kind.
    pub fn chain(&self) -> Option<&[String]> {
        if let Self::Chain(settings) = self { Some(&settings.middlewares) } else { None }
    }

    /// The same, to qualify them.
    pub fn chain_mut(&mut self) -> Option<&mut Vec<String>> {
        if let Self::Chain(settings) = self { Some(&mut settings.middlewares) } else { None }
    }
}

/// The text of a status as Go has it; `None` when it has none.
fn status_text(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Some("Request Entity Too Large"),
        StatusCode::RANGE_NOT_SATISFIABLE => Some("Requested Range Not Satisfiable"),
        status => status.canonical_reason(),
    }
}
