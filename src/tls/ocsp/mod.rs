//! Whether a certificate is still good, in its authority's words (OCSP, RFC 6960): what to
//! ask, and what to make of the answer. Asking is somebody else's.

mod der;
mod signed;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use sha1::{Digest, Sha1};
use time::PrimitiveDateTime;
use time::macros::format_description;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use der::{ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, value};
use signed::{Signed, may_answer};

/// `id-ad-ocsp`.
const AD_OCSP: &str = "1.3.6.1.5.5.7.48.1";
/// `id-pkix-ocsp-basic`, DER.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// SHA-1 with its empty parameters, DER: what every responder knows. It only tells which
/// certificate is meant.
const SHA1: &[u8] = &[0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];
/// What clocks may differ.
const SKEW: Duration = Duration::from_secs(300);
/// An answer that does not say until when it is good is used for so long.
const UNSAID: Duration = Duration::from_secs(24 * 3600);

/// What to ask about one certificate, and whom.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where, as the certificate says; never empty.
    pub responders: Vec<String>,
    /// The request, DER.
    pub request: Vec<u8>,
    id: Id,
    /// The authority's `SubjectPublicKeyInfo`.
    authority_key: Vec<u8>,
}

/// Which certificate is meant.
#[derive(Clone, Debug, PartialEq)]
struct Id {
    name: Vec<u8>,
    key: Vec<u8>,
    serial: Vec<u8>,
}

/// What the authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is good.
    Good,
    /// It was revoked then, for that reason.
    Revoked(SystemTime, &'static str),
    /// The authority does not know it.
    Unknown,
}

/// An answer that was looked into: by whom it should be, about what was asked, and not too
/// old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub status: Status,
    /// When that was so.
    pub since: SystemTime,
    /// Until when it may be passed on.
    pub until: SystemTime,
}

impl Question {
    /// About some certificate.
    #[cfg(test)]
    pub fn for_tests(responder: &str) -> Self {
        let id = Id { name: Vec::new(), key: Vec::new(), serial: Vec::new() };
        let responders = vec![responder.to_owned()];
        Self { responders, request: Vec::new(), id, authority_key: Vec::new() }
    }

    /// About the first certificate of a chain; `None`: it names no responder. The error says
    /// why nobody can be asked.
    pub fn of(chain: &[CertificateDer<'_>]) -> Result<Option<Self>, String> {
        const UNREAD: &str = "the certificate can't be read";
        let leaf = chain.first().ok_or(UNREAD)?;
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| UNREAD)?;
        let responders = responders(&certificate);
        if responders.is_empty() {
            return Ok(None);
        }
        let authority = match chain.get(1) {
            Some(authority) => authority,
            None if certificate.issuer() == certificate.subject() => leaf,
            None => return Err("its file does not hold its authority's certificate".to_owned()),
        };
        let (_, authority) = X509Certificate::from_der(authority)
            .map_err(|_| "its authority's certificate can't be read")?;
        if authority.subject() != certificate.issuer() {
            return Err("the second certificate of its file is not its authority's".to_owned());
        }
        let id = Id {
            name: Sha1::digest(certificate.issuer().as_raw()).to_vec(),
            key: Sha1::digest(&authority.public_key().subject_public_key.data).to_vec(),
            serial: certificate.tbs_certificate.raw_serial().to_vec(),
        };
        let authority_key = authority.public_key().raw.to_vec();
        Ok(Some(Self { responders, request: id.request(), id, authority_key }))
    }

    /// Looks into an answer, DER; the error says why it can't be used.
    pub fn answer(&self, der: &[u8], now: SystemTime) -> Result<Answer, String> {
        let response = basic(der)?;
        let found = self.read(response, now).ok_or("it can't be read")?;
        let answer = found?;
        if answer.since > now + SKEW {
            return Err("it is from the future: is this machine's clock right?".to_owned());
        }
        if answer.until <= now {
            return Err("it is out of date".to_owned());
        }
        Ok(answer)
    }

    /// `None`: it is no answer; an error: it is none that helps.
    fn read(&self, der: &[u8], now: SystemTime) -> Option<Result<Answer, String>> {
        let mut signed = Signed::read(der)?;
        if !signed.is_by(&self.authority_key) {
            let mut certificates = Reader(signed.rest.optional(0xa0)?).sequence()?;
            let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            let mut is_by_delegate = false;
            while let Some(one) = certificates.next() {
                let key = X509Certificate::from_der(one.whole).ok()?.1.public_key().raw.to_vec();
                is_by_delegate |=
                    signed.is_by(&key) && may_answer(one.whole, &self.authority_key, seconds);
            }
            if !is_by_delegate {
                return Some(Err("it is not signed by the certificate's authority".to_owned()));
            }
        }
        let mut body = signed.content()?;
        body.optional(0xa0);
        let responder = body.next()?;
        if !matches!(responder.tag, 0xa1 | 0xa2) {
            return None;
        }
        body.take(GENERALIZED_TIME)?;
        let mut all = body.sequence()?;
        while let Some(one) = all.next() {
            let mut single = Reader(one.content);
            if self.id.is(&mut single.sequence()?)? {
                return single_answer(single).map(Ok);
            }
        }
        Some(Err("it is about another certificate".to_owned()))
    }
}

impl Id {
    /// A request with nothing but this.
    fn request(&self) -> Vec<u8> {
        let hash = value(SEQUENCE, &[SHA1]);
        let name = value(OCTET_STRING, &[&self.name]);
        let key = value(OCTET_STRING, &[&self.key]);
        let serial = value(INTEGER, &[&self.serial]);
        let id = value(SEQUENCE, &[&hash, &name, &key, &serial]);
        let list = value(SEQUENCE, &[&value(SEQUENCE, &[&id])]);
        value(SEQUENCE, &[&value(SEQUENCE, &[&list])])
    }

    fn is(&self, of: &mut Reader<'_>) -> Option<bool> {
        // Its parameters may be missing.
        let is_sha1 = of.sequence()?.take(OID)? == SHA1.get(2..7)?;
        let (name, key) = (of.take(OCTET_STRING)?, of.take(OCTET_STRING)?);
        let serial = of.take(INTEGER)?;
        Some(is_sha1 && (name, key, serial) == (&*self.name, &*self.key, &*self.serial))
    }
}

/// The `BasicOCSPResponse` in an answer.
fn basic(der: &[u8]) -> Result<&[u8], String> {
    const NONE: &str = "it is no OCSP answer";
    let mut response = Reader(der).sequence().ok_or(NONE)?;
    match response.take(ENUMERATED).ok_or(NONE)? {
        [0] => {}
        [1] => return Err("the responder calls the request malformed".to_owned()),
        [2] => return Err("the responder has an internal error".to_owned()),
        [3] => return Err("the responder says: try later".to_owned()),
        [5] => return Err("the responder wants a signed request".to_owned()),
        [6] => return Err("the responder does not know the authority".to_owned()),
        other => return Err(format!("the responder refuses: status {other:?}")),
    }
    let mut bytes = || {
        let mut bytes = Reader(response.take(0xa0)?).sequence()?;
        (bytes.take(OID)? == BASIC).then(|| bytes.take(OCTET_STRING))?
    };
    bytes().ok_or_else(|| NONE.to_owned())
}

fn single_answer(mut single: Reader<'_>) -> Option<Answer> {
    let status = single.next()?;
    let status = match status.tag {
        0x80 => Status::Good,
        0xa1 => {
            let mut about = Reader(status.content);
            let when = moment(about.take(GENERALIZED_TIME)?)?;
            let reason = about.optional(0xa0).and_then(|text| Reader(text).take(ENUMERATED));
            Status::Revoked(when, self::reason(reason))
        }
        0x82 => Status::Unknown,
        _ => return None,
    };
    let since = moment(single.take(GENERALIZED_TIME)?)?;
    let until = match single.optional(0xa0) {
        Some(until) => moment(Reader(until).take(GENERALIZED_TIME)?)?,
        None => since + UNSAID,
    };
    Some(Answer { status, since, until })
}

/// RFC 5280, 5.3.1.
fn reason(code: Option<&[u8]>) -> &'static str {
    match code {
        Some([1]) => "key compromise",
        Some([2]) => "CA compromise",
        Some([3]) => "affiliation changed",
        Some([4]) => "superseded",
        Some([5]) => "cessation of operation",
        Some([6]) => "certificate hold",
        Some([9]) => "privilege withdrawn",
        _ => "no reason given",
    }
}

/// `20261121153000Z`.
fn moment(text: &[u8]) -> Option<SystemTime> {
    let format = format_description!("[year][month][day][hour][minute][second]Z");
    let text = std::str::from_utf8(text).ok()?;
    let seconds = PrimitiveDateTime::parse(text, format).ok()?.assume_utc().unix_timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// Where the certificate says that its status can be asked for.
fn responders(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extensions = certificate.extensions().iter();
    let access = extensions.filter_map(|one| {
        let ParsedExtension::AuthorityInfoAccess(access) = one.parsed_extension() else {
            return None;
        };
        Some(access)
    });
    let all = access.flat_map(|access| &access.accessdescs);
    let urls = all.filter_map(|one| {
        let GeneralName::URI(url) = &one.access_location else { return None };
        (one.access_method.to_id_string() == AD_OCSP).then_some(*url)
    });
    urls.take(4).map(str::to_owned).collect()
}
