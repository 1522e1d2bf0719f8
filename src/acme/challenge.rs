//! The answers to challenges that are open now. HTTP-01 (RFC 8555, 8.3) is answered by
//! `acme-http@internal`, TLS-ALPN-01 (RFC 8737) in the handshake.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest;
use http::{HeaderValue, Request, Response, StatusCode, header};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::message::{Body, Exchange, Handler, plain};

/// The protocol of TLS-ALPN-01's handshakes.
pub const ALPN: &[u8] = b"acme-tls/1";
/// Where HTTP-01's answers are looked for.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// Answers by what they are asked for. Written by the control thread, read by workers.
#[derive(Debug, Default)]
pub struct Challenges {
    tokens: RwLock<HashMap<Box<str>, Box<str>>>,
    names: RwLock<HashMap<Box<str>, Arc<ServerConfig>>>,
    open: AtomicUsize,
}

/// An answer that is up as long as this lives.
#[derive(Debug)]
pub(super) struct Up {
    challenges: Arc<Challenges>,
    what: What,
}

#[derive(Debug)]
enum What {
    Token(Box<str>),
    Name(Box<str>),
}

impl Challenges {
    /// Whether any is open.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// The configuration that answers for this name, lower case.
    pub fn config(&self, server_name: &str) -> Option<Arc<ServerConfig>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(server_name).map(Arc::clone)
    }

    fn token(&self, token: &str) -> Option<Box<str>> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Answers HTTP-01 for this token.
    pub(super) fn put_token(self: &Arc<Self>, token: &str, answer: String) -> Up {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(token.into(), answer.into());
        self.up(What::Token(token.into()))
    }

    /// Answers TLS-ALPN-01 for this name; `None` while another order's answer is up for it:
    /// a name has but one.
    pub(super) fn put_name(
        self: &Arc<Self>,
        name: &str,
        answer: &str,
    ) -> Result<Option<Up>, String> {
        let config = config(name, answer)?;
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.contains_key(name) {
            return Ok(None);
        }
        names.insert(name.into(), Arc::new(config));
        Ok(Some(self.up(What::Name(name.into()))))
    }

    fn up(self: &Arc<Self>, what: What) -> Up {
        self.open.fetch_add(1, Ordering::Relaxed);
        Up { challenges: Arc::clone(self), what }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let all = &self.challenges;
        match &self.what {
            What::Token(token) => {
                all.tokens.write().unwrap_or_else(PoisonError::into_inner).remove(token);
            }
            What::Name(name) => {
                all.names.write().unwrap_or_else(PoisonError::into_inner).remove(name);
            }
        }
        all.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A self-signed certificate that holds the answer's digest (RFC 8737, 3).
fn config(name: &str, answer: &str) -> Result<ServerConfig, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("a certificate for TLS-ALPN-01: {error}");
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|e| wrong(&e))?;
    let digest = digest::digest(&digest::SHA256, answer.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| wrong(&e))?;
    let certificate = params.self_signed(&key).map_err(|e| wrong(&e))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&key).map_err(|e| wrong(&e))?;
    let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(&e))?
        .with_no_client_auth()
        // Not `with_single_cert`: it refuses the extension, which has to be critical.
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// `acme-http@internal`. As Traefik: 404 without a body for a token that nobody gave out.
#[derive(Debug)]
pub struct HttpAnswers(pub Arc<Challenges>);

impl Handler for HttpAnswers {
    fn handle(&self, _exchange: &Exchange, request: Request<Body>) -> Response<Body> {
        let answer = request.uri().path().strip_prefix(PATH).and_then(|token| self.0.token(token));
        let Some(answer) = answer else { return plain(StatusCode::NOT_FOUND, "") };
        let mut response = Response::new(Body::from(String::from(answer)));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(handler: &HttpAnswers, path: &str) -> (StatusCode, String) {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        let (parts, body) = handler.handle(&Exchange::for_tests(), request).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_token_is_answered_as_long_as_its_order_is_open() {
        let challenges = Arc::<Challenges>::default();
        let handler = HttpAnswers(Arc::clone(&challenges));
        let path = "/.well-known/acme-challenge/token-1";

        assert_eq!(ask(&handler, path).await, (StatusCode::NOT_FOUND, String::new()));
        let up = challenges.put_token("token-1", "token-1.thumb".into());
        assert!(challenges.is_open());
        assert_eq!(ask(&handler, path).await, (StatusCode::OK, "token-1.thumb".into()));
        drop(up);
        assert_eq!(ask(&handler, path).await, (StatusCode::NOT_FOUND, String::new()));
        assert!(!challenges.is_open());
    }

    #[test]
    fn a_name_has_a_configuration_of_its_own_for_acme_alone() {
        let challenges = Arc::<Challenges>::default();
        let up = challenges.put_name("a.example.org", "t.thumb").unwrap().unwrap();
        assert!(challenges.put_name("a.example.org", "other.thumb").unwrap().is_none());

        let config = challenges.config("a.example.org").unwrap();
        assert_eq!(config.alpn_protocols, [ALPN]);
        assert!(challenges.config("b.example.org").is_none());
        drop(up);
        assert!(challenges.config("a.example.org").is_none());
    }
}
