//! `passTLSClientCert`: tells servers of the client's certificate. What an untrusted client
//! wrote into these headers is gone before any middleware runs.

mod info;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Request};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware};
use crate::message::{Body, Exchange};

const CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-tls-client-cert");
const INFO: HeaderName = HeaderName::from_static("x-forwarded-tls-client-cert-info");

/// Settings of `passTLSClientCert`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The certificates themselves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pem: bool,
    /// What they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
}

/// What is told of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Info {
    /// The end of its validity.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_after: bool,
    /// The start of its validity.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_before: bool,
    /// Its alternative names.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sans: bool,
    /// Its serial number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub serial_number: bool,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
}

/// Parts of the subject's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// `C`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub country: bool,
    /// `ST`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub province: bool,
    /// `L`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub locality: bool,
    /// `O`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub organization: bool,
    /// `OU`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub organizational_unit: bool,
    /// `CN`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub common_name: bool,
    /// `SN`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub serial_number: bool,
    /// `DC`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub domain_component: bool,
}

/// Parts of the issuer's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Issuer {
    /// `C`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub country: bool,
    /// `ST`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub province: bool,
    /// `L`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub locality: bool,
    /// `O`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub organization: bool,
    /// `CN`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub common_name: bool,
    /// `SN`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub serial_number: bool,
    /// `DC`
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub domain_component: bool,
}

/// The step.
pub struct Step {
    pem: bool,
    wanted: Option<info::Wanted>,
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = std::convert::Infallible;

    fn build(settings: &Settings) -> Result<Self, String> {
        Ok(Self { pem: settings.pem, wanted: settings.info.as_ref().map(info::Wanted::new) })
    }

    fn request(&self, exchange: &mut Exchange, request: &mut Request<Body>) -> Flow<Self::Memo> {
        let tls = exchange.connection.tls.as_ref();
        let certificates = tls.map_or(&[][..], |tls| &tls.client_certificates);
        if certificates.is_empty() {
            return Flow::Next;
        }
        if self.pem {
            let texts: Vec<_> = certificates.iter().map(|der| STANDARD.encode(der)).collect();
            set(request, CERTIFICATE, texts.join(","));
        }
        if let Some(wanted) = &self.wanted {
            let texts: Vec<_> = certificates.iter().map(|der| wanted.tell(der)).collect();
            set(request, INFO, info::escape(&texts.join(",")));
        }
        Flow::Next
    }
}

/// Both texts are ASCII without controls, so they are values; what were none must not leave
/// another's in its place.
fn set(request: &mut Request<Body>, name: HeaderName, text: String) {
    match HeaderValue::try_from(text) {
        Ok(value) => request.headers_mut().insert(name, value),
        Err(_) => request.headers_mut().remove(name),
    };
}
