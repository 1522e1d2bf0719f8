use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SerialNumber,
};

use super::der::BIT_STRING;
use super::*;

/// ecdsa-with-SHA256, DER.
const ECDSA: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const NOW: u64 = 1_800_000_000;
const URL: &str = "http://ocsp.example/a";

struct Authority {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    Authority { certificate: params.self_signed(&key).unwrap(), key }
}

impl Authority {
    fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    fn issue(
        &self,
        serial: u8,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> (KeyPair, CertificateDer<'static>) {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(vec![serial]));
        let name = value(0x86, &[URL.as_bytes()]);
        let ocsp = value(OID, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1]]);
        let access = value(SEQUENCE, &[&value(SEQUENCE, &[&ocsp, &name])]);
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access)];
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        (key, made.der().clone())
    }
}

fn time(seconds: u64) -> Vec<u8> {
    let format = format_description!("[year][month][day][hour][minute][second]Z");
    let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap();
    value(GENERALIZED_TIME, &[at.format(format).unwrap().as_bytes()])
}

fn sign(key: &KeyPair, text: &[u8]) -> Vec<u8> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der());
    pair.unwrap().sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec()
}

/// An answer about `id` with this status, from and until then.
fn answer(
    id: &Id,
    status: &[u8],
    (since, until): (u64, Option<u64>),
    by: &KeyPair,
    delegate: Option<&[u8]>,
) -> Vec<u8> {
    let request = id.request();
    // The request's one CertID: four sequences further in.
    let mut inner = Reader(&request);
    for _ in 0..4 {
        inner = inner.sequence().unwrap();
    }
    let cert_id = inner.next().unwrap().whole;
    let until = until.map(|until| value(0xa0, &[&time(until)])).unwrap_or_default();
    let single = value(SEQUENCE, &[cert_id, status, &time(since), &until]);
    let by_key = value(0xa2, &[&value(OCTET_STRING, &[&[0; 20]])]);
    let body = value(SEQUENCE, &[&by_key, &time(since), &value(SEQUENCE, &[&single])]);
    let signature = value(BIT_STRING, &[&[0], &sign(by, &body)]);
    let certificates =
        delegate.map(|one| value(0xa0, &[&value(SEQUENCE, &[one])])).unwrap_or_default();
    let basic = value(SEQUENCE, &[&body, ECDSA, &signature, &certificates]);
    let bytes = value(SEQUENCE, &[&value(OID, &[BASIC]), &value(OCTET_STRING, &[&basic])]);
    value(SEQUENCE, &[&value(ENUMERATED, &[&[0]]), &value(0xa0, &[&bytes])])
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

const GOOD: &[u8] = &[0x80, 0];
const TIMES: (u64, Option<u64>) = (NOW - 10, Some(NOW + 1000));

#[test]
fn a_certificate_without_a_responder_asks_nothing_and_one_without_its_authority_says_so() {
    let ca = authority("ca");
    let (_, plain) = ca.issue(1, |params| params.custom_extensions.clear());
    assert!(Question::of(&[plain]).unwrap().is_none());

    let (_, leaf) = ca.issue(1, |_| ());
    assert!(Question::of(std::slice::from_ref(&leaf)).unwrap_err().contains("does not hold"));
    let other = authority("other").der();
    assert!(Question::of(&[leaf.clone(), other]).unwrap_err().contains("not its authority's"));
    assert_eq!(Question::of(&[leaf, ca.der()]).unwrap().unwrap().responders, [URL]);
}

#[test]
fn an_answer_is_taken_from_the_authority_and_from_whom_it_names() {
    let ca = authority("ca");
    let (own_key, leaf) = ca.issue(7, |_| ());
    let question = Question::of(&[leaf.clone(), ca.der()]).unwrap().unwrap();
    let may = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    };
    let (delegate_key, delegate) = ca.issue(8, may);
    let (plain_key, plain) = ca.issue(9, |_| ());
    let stranger = authority("ca");
    let (foreign_key, foreign) = stranger.issue(8, may);
    let good = Ok(Answer { status: Status::Good, since: at(NOW - 10), until: at(NOW + 1000) });
    let refused = Err("it is not signed by the certificate's authority".to_owned());
    for (key, certificate, expected) in [
        (&ca.key, None, &good),
        (&delegate_key, Some(&delegate), &good),
        (&plain_key, Some(&plain), &refused),
        (&own_key, Some(&leaf), &refused),
        (&foreign_key, Some(&foreign), &refused),
        (&stranger.key, Some(&delegate), &refused),
    ] {
        let der = answer(&question.id, GOOD, TIMES, key, certificate.map(AsRef::as_ref));

        assert_eq!(&question.answer(&der, at(NOW)), expected);
    }
}

#[test]
fn what_an_answer_says_is_read_and_what_does_not_help_is_refused() {
    let ca = authority("ca");
    let (_, leaf) = ca.issue(7, |_| ());
    let question = Question::of(&[leaf, ca.der()]).unwrap().unwrap();
    let revoked = value(0xa1, &[&time(NOW - 500), &value(0xa0, &[&value(ENUMERATED, &[&[1]])])]);
    let status = |status: &[u8], times| {
        let der = answer(&question.id, status, times, &ca.key, None);
        question.answer(&der, at(NOW)).map(|answer| answer.status)
    };
    assert_eq!(status(&revoked, TIMES), Ok(Status::Revoked(at(NOW - 500), "key compromise")));
    assert_eq!(status(&[0x82, 0], TIMES), Ok(Status::Unknown));
    assert_eq!(status(GOOD, (NOW - 10, None)), Ok(Status::Good));
    assert_eq!(status(&[0x85, 0], TIMES), Err("it can't be read".to_owned()));
    assert_eq!(status(GOOD, (NOW - 10, Some(NOW))), Err("it is out of date".to_owned()));
    assert!(status(GOOD, (NOW + 400, Some(NOW + 900))).unwrap_err().contains("future"));

    let other = Id { serial: vec![8], ..question.id.clone() };
    let der = answer(&other, GOOD, TIMES, &ca.key, None);
    assert!(question.answer(&der, at(NOW)).unwrap_err().contains("another certificate"));
    let later = value(SEQUENCE, &[&value(ENUMERATED, &[&[3]])]);
    assert!(question.answer(&later, at(NOW)).unwrap_err().contains("try later"));
}

#[test]
fn an_answer_that_was_changed_is_never_taken_nor_does_it_panic() {
    let ca = authority("ca");
    let (_, leaf) = ca.issue(7, |_| ());
    let question = Question::of(&[leaf, ca.der()]).unwrap().unwrap();
    let der = answer(&question.id, GOOD, TIMES, &ca.key, None);
    let right = question.answer(&der, at(NOW)).unwrap();

    for byte in 0..der.len() {
        let mut changed = der.clone();
        changed[byte] ^= 0x01;
        // What frames the answer is not signed: then it says the same or nothing.
        assert!(question.answer(&changed, at(NOW)).map_or(true, |answer| answer == right));
        assert!(question.answer(&der[..byte], at(NOW)).is_err(), "{byte}");
    }
}
