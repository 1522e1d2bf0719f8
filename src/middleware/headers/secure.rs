//! Security headers and allowed hosts.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};

use super::Settings;
use crate::message::{Body, Exchange, plain};
use crate::middleware::redirect;

const PUBLIC_KEY_PINS: HeaderName = HeaderName::from_static("public-key-pins");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const X_XSS_PROTECTION: HeaderName = HeaderName::from_static("x-xss-protection");

/// The security options.
pub(super) struct Secure {
    always: Box<[(HeaderName, HeaderValue)]>,
    over_tls: Box<[(HeaderName, HeaderValue)]>,
    tls_fields: Box<[(HeaderName, Box<str>)]>,
    hosts: Box<[Box<str>]>,
    host_fields: Box<[HeaderName]>,
}

impl Secure {
    /// `None` when no such option is set.
    pub(super) fn build(settings: &Settings) -> Result<Option<Self>, String> {
        let mut always = fields(settings)?;
        let mut over_tls = Vec::new();
        if settings.sts_seconds != 0 && !settings.is_development {
            let value = (header::STRICT_TRANSPORT_SECURITY, strict_transport_security(settings)?);
            if settings.force_sts_header { always.push(value) } else { over_tls.push(value) }
        }
        if !settings.public_key.is_empty() && !settings.is_development {
            over_tls.push((PUBLIC_KEY_PINS, value(&settings.public_key)?));
        }
        // As Traefik: these alone make a middleware, though they send nothing.
        let alone = settings.is_development
            || settings.sts_include_subdomains
            || settings.sts_preload
            || settings.force_sts_header
            || !settings.ssl_proxy_headers.is_empty()
            || !settings.allowed_hosts.is_empty()
            || !settings.hosts_proxy_headers.is_empty()
            || has_leftovers(settings);
        if always.is_empty() && over_tls.is_empty() && !alone {
            return Ok(None);
        }
        let name = |text: &String| {
            HeaderName::from_bytes(text.as_bytes())
                .map_err(|_| format!("{text:?} is no header name"))
        };
        let tls_fields = settings.ssl_proxy_headers.iter();
        let hosts = if settings.is_development { &[][..] } else { &settings.allowed_hosts };
        Ok(Some(Self {
            always: always.into(),
            over_tls: over_tls.into(),
            tls_fields: tls_fields
                .map(|(field, value)| Ok((name(field)?, value.as_str().into())))
                .collect::<Result<_, String>>()?,
            hosts: hosts.iter().map(|host| host.as_str().into()).collect(),
            host_fields: settings.hosts_proxy_headers.iter().map(name).collect::<Result<_, _>>()?,
        }))
    }

    /// Whether the request came over TLS, here or at a hop in front.
    pub(super) fn is_over_tls(&self, exchange: &Exchange, headers: &HeaderMap) -> bool {
        exchange.connection.tls.is_some()
            || self
                .tls_fields
                .iter()
                .any(|(name, value)| headers.get(name).is_some_and(|said| said == &**value))
    }

    /// Whether the host may be asked for. As Traefik: the port is part of it.
    pub(super) fn allows_host(&self, request: &Request<Body>) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let said = self.host_fields.iter().filter_map(|name| request.headers().get(name));
        let said = said.filter_map(|value| value.to_str().ok()).find(|value| !value.is_empty());
        let host = said.unwrap_or_else(|| redirect::host(request));
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Sets its fields; the server's own go.
    pub(super) fn apply(&self, over_tls: bool, headers: &mut HeaderMap) {
        let more = if over_tls { &self.over_tls[..] } else { &[] };
        for (name, value) in self.always.iter().chain(more) {
            headers.insert(name, value.clone());
        }
    }
}

/// The answer to a host that is not allowed.
pub(super) fn bad_host() -> Response<Body> {
    let mut response = plain(StatusCode::INTERNAL_SERVER_ERROR, "Bad Host\n");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether one of the options without effect is on.
fn has_leftovers(settings: &Settings) -> bool {
    let on = [settings.ssl_redirect, settings.ssl_temporary_redirect, settings.ssl_force_host];
    let texts = [&settings.ssl_host, &settings.feature_policy];
    on.contains(&Some(true))
        || texts.iter().any(|text| text.as_ref().is_some_and(|text| !text.is_empty()))
}

fn fields(settings: &Settings) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let s = settings;
    let fixed = |on: bool, text: &'static str| if on { text } else { "" };
    let or = |text: &'static str, custom: &str| {
        if custom.is_empty() { text.to_owned() } else { custom.to_owned() }
    };
    let frame = or(fixed(s.frame_deny, "DENY"), &s.custom_frame_options_value);
    let xss = or(fixed(s.browser_xss_filter, "1; mode=block"), &s.custom_browser_xss_value);
    let all = [
        (header::X_FRAME_OPTIONS, frame.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, fixed(s.content_type_nosniff, "nosniff")),
        (X_XSS_PROTECTION, &xss),
        (header::CONTENT_SECURITY_POLICY, &s.content_security_policy),
        (header::CONTENT_SECURITY_POLICY_REPORT_ONLY, &s.content_security_policy_report_only),
        (header::REFERRER_POLICY, &s.referrer_policy),
        (PERMISSIONS_POLICY, &s.permissions_policy),
    ];
    let set = all.into_iter().filter(|(_, text)| !text.is_empty());
    set.map(|(name, text)| Ok((name, value(text)?))).collect()
}

fn strict_transport_security(settings: &Settings) -> Result<HeaderValue, String> {
    let subdomains = if settings.sts_include_subdomains { "; includeSubDomains" } else { "" };
    let preload = if settings.sts_preload { "; preload" } else { "" };
    value(&format!("max-age={}{subdomains}{preload}", settings.sts_seconds))
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| format!("{text:?} cannot be a header value"))
}
