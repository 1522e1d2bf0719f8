//! Requests signed with an account's key (RFC 7515, RFC 8555 section 6.2). The key is RSA, as
//! Traefik's accounts are, so that both programs can use each other's account.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::der_parser::ber::BerObjectContent;
use x509_parser::der_parser::parse_der;
use zeroize::Zeroizing;

use crate::settings::Eab;

/// An account's key.
pub(super) struct AccountKey {
    pair: KeyPair,
    /// PKCS #1, as it is stored.
    der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey")
    }
}

/// Who signs: the key itself, or the account that has it.
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    Key,
    Account(&'a str),
}

impl AccountKey {
    /// A new key. Takes a good part of a second: not for a thread that others wait for.
    pub(super) fn generate() -> Result<Self, String> {
        let pair = KeyPair::generate(KeySize::Rsa2048)
            .map_err(|_| "no key could be generated".to_owned())?;
        let pkcs8 = pair.as_der().map_err(|_| "the new key has no DER form".to_owned())?;
        let der = pkcs1(pkcs8.as_ref()).ok_or("the new key has no PKCS #1 form")?;
        Ok(Self { pair, der: der.into() })
    }

    /// A key as it was stored: PKCS #1 or PKCS #8.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, String> {
        let pair = KeyPair::from_der(der).or_else(|_| KeyPair::from_pkcs8(der));
        let pair = pair.map_err(|error| format!("the account's key can't be used: {error}"))?;
        Ok(Self { pair, der: der.to_vec().into() })
    }

    /// To be stored.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    fn jwk(&self) -> Value {
        let (modulus, exponent) = numbers(self.pair.public_key().as_ref()).unwrap_or_default();
        json!({ "e": exponent, "kty": "RSA", "n": modulus })
    }

    /// What a challenge's answer holds (RFC 8555 section 8.1).
    pub(super) fn authorization(&self, token: &str) -> String {
        // `preserve_order` keeps the members as RFC 7638 wants them: sorted.
        let digest = digest::digest(&digest::SHA256, self.jwk().to_string().as_bytes());
        format!("{token}.{}", URL_SAFE_NO_PAD.encode(digest))
    }

    /// A signed request body. An empty payload is a POST-as-GET.
    pub(super) fn sign(
        &self,
        signer: Signer<'_>,
        nonce: &str,
        url: &str,
        payload: &str,
    ) -> Result<String, String> {
        let mut header = json!({ "alg": "RS256", "nonce": nonce, "url": url });
        let (name, value) = match signer {
            Signer::Key => ("jwk", self.jwk()),
            Signer::Account(url) => ("kid", Value::from(url)),
        };
        if let Some(fields) = header.as_object_mut() {
            fields.insert(name.to_owned(), value);
        }
        let input = signing_input(&header, payload);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .map_err(|_| "the account's key does not sign".to_owned())?;
        Ok(flattened(&input, &signature))
    }

    /// Binds the account to one that the CA knows from elsewhere (RFC 8555, 7.3.4).
    pub(super) fn bind(&self, eab: &Eab, url: &str) -> Result<Value, String> {
        let key = eab.hmac_encoded.trim_end_matches('=');
        let key = URL_SAFE_NO_PAD
            .decode(key)
            .map_err(|error| format!("eab.hmacEncoded is no base64url: {error}"))?;
        let header = json!({ "alg": "HS256", "kid": eab.kid, "url": url });
        let input = signing_input(&header, &self.jwk().to_string());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), input.as_bytes());
        serde_json::from_str(&flattened(&input, tag.as_ref())).map_err(|error| error.to_string())
    }
}

/// Modulus and exponent of a public key (RFC 8017, A.1.1), base64url.
fn numbers(public: &[u8]) -> Option<(String, String)> {
    let (_, key) = parse_der(public).ok()?;
    let number = |at: usize| {
        let bytes = key.as_sequence().ok()?.get(at)?.as_slice().ok()?;
        let bytes = bytes.iter().position(|byte| *byte != 0).and_then(|at| bytes.get(at..))?;
        Some(URL_SAFE_NO_PAD.encode(bytes))
    };
    Some((number(0)?, number(1)?))
}

fn signing_input(header: &Value, payload: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload))
}

fn flattened(input: &str, signature: &[u8]) -> String {
    let (protected, payload) = input.split_once('.').unwrap_or((input, ""));
    let signature = URL_SAFE_NO_PAD.encode(signature);
    json!({ "protected": protected, "payload": payload, "signature": signature }).to_string()
}

/// The PKCS #1 key inside a PKCS #8 one (RFC 5208): version, algorithm, octet string.
fn pkcs1(pkcs8: &[u8]) -> Option<Vec<u8>> {
    let (_, outer) = parse_der(pkcs8).ok()?;
    let BerObjectContent::OctetString(key) = outer.as_sequence().ok()?.get(2)?.content else {
        return None;
    };
    Some(key.to_vec())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_stored_key_is_the_same_key_and_signs() {
        let made = AccountKey::generate().unwrap();
        let read = AccountKey::from_der(made.der()).unwrap();

        assert_eq!(made.authorization("t"), read.authorization("t"));
        let body = read.sign(Signer::Account("https://ca/1"), "n", "https://ca/o", "{}").unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        let part = |name: &str| body[name].as_str().unwrap().to_owned();
        let header = URL_SAFE_NO_PAD.decode(part("protected")).unwrap();
        assert_eq!(
            String::from_utf8(header).unwrap(),
            r#"{"alg":"RS256","nonce":"n","url":"https://ca/o","kid":"https://ca/1"}"#
        );
        let input = format!("{}.{}", part("protected"), part("payload"));
        let signature = URL_SAFE_NO_PAD.decode(part("signature")).unwrap();
        let public = made.pair.public_key().as_ref();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
            .verify(input.as_bytes(), &signature)
            .unwrap();
    }

    #[test]
    fn a_key_of_another_kind_is_refused_and_not_printed() {
        let error = AccountKey::from_der(b"no key").unwrap_err();

        assert!(error.starts_with("the account's key can't be used: "), "{error}");
    }

    #[test]
    fn an_external_account_signs_the_public_key() {
        let key = AccountKey::generate().unwrap();
        let eab = Eab { kid: "k1".into(), hmac_encoded: "c2VjcmV0".into() };

        let binding = key.bind(&eab, "https://ca/new").unwrap();

        let payload = URL_SAFE_NO_PAD.decode(binding["payload"].as_str().unwrap()).unwrap();
        assert_eq!(String::from_utf8(payload).unwrap(), key.jwk().to_string());
        let bad = Eab { kid: "k1".into(), hmac_encoded: "no base64!".into() };
        assert!(key.bind(&bad, "u").unwrap_err().starts_with("eab.hmacEncoded"));
    }
}
