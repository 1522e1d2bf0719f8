//! Signatures of messages by a shared key (RFC 8945).
//!
//! The library's own signer lacks SHA-1 and SHA-224, which servers still ask for and lego
//! takes by default; so it lends its records, and the MAC is made here.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use hickory_proto::op::{Header, Message, Query};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError, make_tsig_record};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use super::{Error, parse};

/// Seconds that the two clocks may differ.
const FUDGE: u16 = 300;

/// The algorithms that there are, by their names on the wire.
pub const ALGORITHMS: [&str; 5] =
    ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// A key that a server knows too.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: TsigAlgorithm,
    secret: hmac::Key,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name.to_ascii()).finish_non_exhaustive()
    }
}

/// Why a server does not accept a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// BADKEY: it knows no key of that name and algorithm.
    Key,
    /// BADSIG: its secret is another one.
    Signature,
    /// BADTIME: its clock is another one.
    Time,
    /// It says something else, by this number.
    Other(u16),
}

impl Key {
    /// A key by its name and algorithm; `None` if there is no such algorithm.
    pub fn new(name: &str, algorithm: &str, secret: &[u8]) -> Result<Option<Self>, Error> {
        let name = parse(name)?;
        let algorithm = algorithm.strip_suffix('.').unwrap_or(algorithm).to_ascii_lowercase();
        let (kind, algorithm) = match algorithm.as_str() {
            "hmac-sha1" => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TsigAlgorithm::HmacSha1),
            "hmac-sha224" => (hmac::HMAC_SHA224, TsigAlgorithm::HmacSha224),
            "hmac-sha256" => (hmac::HMAC_SHA256, TsigAlgorithm::HmacSha256),
            "hmac-sha384" => (hmac::HMAC_SHA384, TsigAlgorithm::HmacSha384),
            "hmac-sha512" => (hmac::HMAC_SHA512, TsigAlgorithm::HmacSha512),
            _ => return Ok(None),
        };
        Ok(Some(Self { name, algorithm, secret: hmac::Key::new(kind, secret) }))
    }

    #[cfg(test)]
    pub(super) fn secret(&self) -> &hmac::Key {
        &self.secret
    }

    /// Signs a message, as its last step; gives its MAC, for the answer.
    pub(super) fn sign(&self, message: &mut Message) -> Result<Vec<u8>, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| said(&error))?;
        let id = message.metadata.id;
        let algorithm = self.algorithm.clone();
        let tsig = TSIG::new(algorithm, now.as_secs(), FUDGE, Vec::new(), id, None, Vec::new());
        let mut signed = message.to_vec().map_err(|error| said(&error))?;
        signed.extend(variables(&tsig, &self.name)?);
        let mac = hmac::sign(&self.secret, &signed).as_ref().to_vec();
        let record = make_tsig_record(self.name.clone(), tsig.set_mac(mac.clone()));
        message.signature = Some(Box::new(record));
        Ok(mac)
    }

    /// Whether an answer to what was signed with this MAC is by who knows the key (RFC 8945,
    /// 5.3). The error says why not.
    pub(super) fn verify(&self, answer: &[u8], request_mac: &[u8]) -> Result<(), String> {
        let (body, record) = parts(answer).ok_or("its answer is not signed")?;
        let RData::TSIG(tsig) = &record.data else {
            return Err("its answer is not signed".into());
        };
        if record.name != self.name || tsig.algorithm != self.algorithm {
            return Err("its answer is signed with another key".into());
        }
        let length = u16::try_from(request_mac.len()).map_err(|error| error.to_string())?;
        let mut signed = length.to_be_bytes().to_vec();
        signed.extend_from_slice(request_mac);
        signed.extend(body);
        signed.extend(variables(tsig, &self.name)?);
        hmac::verify(&self.secret, &signed, &tsig.mac)
            .map_err(|_| "its answer's signature is wrong".to_owned())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if now.abs_diff(tsig.time) > u64::from(tsig.fudge) {
            return Err("its answer was signed at another time: see the clocks".into());
        }
        Ok(())
    }
}

/// What a server has against a signature, if anything.
pub(super) fn objection(message: &Message) -> Option<Objection> {
    let found = message.additionals.iter().find_map(|record| {
        let RData::TSIG(tsig) = &record.data else { return None };
        tsig.error
    })?;
    Some(match found {
        TsigError::BadKey => Objection::Key,
        TsigError::BadSig => Objection::Signature,
        TsigError::BadTime => Objection::Time,
        TsigError::BadTrunc | TsigError::Unknown(_) => Objection::Other(found.into()),
    })
}

/// What of the signature itself is signed (RFC 8945, 4.3.3).
fn variables(tsig: &TSIG, name: &Name) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut bytes), name)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A message as it was before it was signed, and its last record.
fn parts(message: &[u8]) -> Option<(Vec<u8>, Record)> {
    let mut decoder = BinDecoder::new(message);
    let mut header = Header::read(&mut decoder).ok()?;
    let start = decoder.index();
    for _ in 0..header.counts.queries {
        Query::read(&mut decoder).ok()?;
    }
    header.counts.additionals = header.counts.additionals.checked_sub(1)?;
    let counts = [header.counts.answers, header.counts.authorities, header.counts.additionals];
    for _ in 0..counts.into_iter().map(u32::from).sum() {
        Record::<RData>::read(&mut decoder).ok()?;
    }
    let end = decoder.index();
    let last = Record::read(&mut decoder).ok()?;
    if let RData::TSIG(tsig) = &last.data {
        header.metadata.id = tsig.oid;
    }
    let mut body = Vec::with_capacity(end);
    header.emit(&mut BinEncoder::new(&mut body)).ok()?;
    body.extend_from_slice(message.get(start..end)?);
    Some((body, last))
}
