//! Cross-origin requests (the Fetch standard's CORS protocol).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use regex::Regex;

use super::Settings;
use crate::message::Body;
use crate::rule::regexp;

const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The CORS options.
pub(super) struct Cors {
    origins: Box<[HeaderValue]>,
    patterns: Box<[Regex]>,
    credentials: bool,
    headers: Allowed,
    methods: Allowed,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    vary: bool,
}

/// A list told to preflights.
enum Allowed {
    Untold,
    These(HeaderValue),
    /// `*` does not mean everything when credentials are sent, so what was asked for is told.
    Asked,
}

impl Cors {
    /// `None` when no option of CORS is set.
    pub(super) fn build(settings: &Settings) -> Result<Option<Self>, String> {
        let s = settings;
        let lists = [
            &s.access_control_allow_headers,
            &s.access_control_allow_methods,
            &s.access_control_allow_origin_list,
            &s.access_control_allow_origin_list_regex,
            &s.access_control_expose_headers,
        ];
        let switches = s.access_control_allow_credentials || s.add_vary_header;
        if !switches && s.access_control_max_age == 0 && lists.iter().all(|list| list.is_empty()) {
            return Ok(None);
        }
        let credentials = s.access_control_allow_credentials;
        let patterns = s.access_control_allow_origin_list_regex.iter();
        let patterns = patterns
            .map(|text| regexp::compile(text))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("error occurred during origin parsing: {error}"))?;
        let origins = s.access_control_allow_origin_list.iter();
        let expose = &s.access_control_expose_headers;
        let hides = credentials && expose.iter().any(|name| name == "*");
        let max_age = s.access_control_max_age;
        Ok(Some(Self {
            origins: origins.map(|origin| value(origin)).collect::<Result<_, _>>()?,
            patterns,
            credentials,
            headers: Allowed::build(&s.access_control_allow_headers, credentials)?,
            methods: Allowed::build(&s.access_control_allow_methods, credentials)?,
            expose: if hides { None } else { joined(expose)? },
            max_age: (max_age != 0).then(|| HeaderValue::from(max_age)),
            vary: s.add_vary_header,
        }))
    }

    /// The answer to a preflight, which the server never sees.
    pub(super) fn preflight(&self, request: &Request<Body>) -> Option<Response<Body>> {
        if request.method() != Method::OPTIONS {
            return None;
        }
        let asked = request.headers();
        let is_set = |value: &&HeaderValue| !value.is_empty();
        let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(is_set)?;
        let origin = asked.get(header::ORIGIN).filter(is_set)?;

        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        self.headers.tell(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted, headers);
        self.methods.tell(header::ACCESS_CONTROL_ALLOW_METHODS, Some(method), headers);
        if let Some(max_age) = &self.max_age {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        self.tell(Some(origin), headers);
        Some(response)
    }

    /// Adds its fields to an answer.
    pub(super) fn apply(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        self.tell(origin, headers);
        if self.vary {
            vary_by_origin(headers);
        }
    }

    fn tell(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if let Some(origin) = self.allowed(origin) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// What Access-Control-Allow-Origin says; `None`: nothing.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        for known in &self.origins {
            if known == "*" {
                return if self.credentials { origin.cloned() } else { Some(known.clone()) };
            }
            if Some(known) == origin {
                return Some(known.clone());
            }
        }
        let origin = origin?;
        let text = origin.to_str().ok()?;
        self.patterns.iter().any(|pattern| pattern.is_match(text)).then(|| origin.clone())
    }
}

impl Allowed {
    fn build(items: &[String], credentials: bool) -> Result<Self, String> {
        if credentials && items.iter().any(|item| item == "*") {
            return Ok(Self::Asked);
        }
        Ok(joined(items)?.map_or(Self::Untold, Self::These))
    }

    fn tell(&self, name: HeaderName, asked: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let value = match self {
            Self::Untold => None,
            Self::These(value) => Some(value),
            Self::Asked => asked.filter(|asked| !asked.is_empty()),
        };
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
}

/// Adds `Origin` to `Vary`, which becomes one line.
fn vary_by_origin(headers: &mut HeaderMap) {
    let mut all = Vec::new();
    for line in headers.get_all(header::VARY) {
        if line.as_bytes().split(|b| *b == b',').any(|name| name.trim_ascii() == b"Origin") {
            return;
        }
        all.extend_from_slice(line.as_bytes());
        all.push(b',');
    }
    all.extend_from_slice(b"Origin");
    if let Ok(value) = HeaderValue::try_from(all) {
        headers.insert(header::VARY, value);
    }
}

/// As Traefik: joined without blanks.
fn joined(items: &[String]) -> Result<Option<HeaderValue>, String> {
    if items.is_empty() { Ok(None) } else { value(&items.join(",")).map(Some) }
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| format!("{text:?} cannot be a header value"))
}
