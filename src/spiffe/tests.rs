//! Identities that an authority of the tests' own gives, read and verified.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::wire::tests::message;
use super::{Allowed, Source, Svid, Verifier};

struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

struct Leaf {
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    Authority { certificate: params.self_signed(&key).unwrap(), key }
}

impl Authority {
    fn gives(&self, uris: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names = names.collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        Leaf { der: made.der().clone(), key: key.serialize_der() }
    }

    fn gives_to(&self, uri: &str) -> Leaf {
        self.gives(&[uri], |_| ())
    }
}

/// What the agent says: ours, and the roots of `b.test`.
fn answer(id: &str, leaf: &Leaf, roots: &Authority, foreign: &Authority) -> Vec<u8> {
    let svid = message(&[
        (1, id.as_bytes()),
        (2, &leaf.der),
        (3, &leaf.key),
        (4, roots.certificate.der()),
    ]);
    let other = message(&[(1, b"spiffe://b.test"), (2, foreign.certificate.der())]);
    message(&[(1, &svid), (3, &other)])
}

#[test]
fn an_identity_is_read_and_known_by_its_certificate() {
    let (own, foreign) = (authority(), authority());
    let leaf = own.gives_to("spiffe://a.test/wharf");

    let svid =
        Svid::read(&answer("spiffe://a.test/wharf", &leaf, &own, &foreign), &default_provider());

    let svid = svid.unwrap();
    assert_eq!(svid.id.as_str(), "spiffe://a.test/wharf");
    assert_eq!(svid.roots.len(), 2);
}

#[test]
fn what_is_no_identity_is_told() {
    let own = authority();
    let id = "spiffe://a.test/wharf";
    let good = own.gives_to(id);
    let other_key = Leaf { der: good.der.clone(), key: own.gives_to(id).key };
    let no_key = Leaf { der: good.der.clone(), key: vec![1, 2, 3] };
    let cut = Leaf { der: good.der[..100].to_vec().into(), key: good.key.clone() };
    let signer = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    };
    let key_signer =
        |params: &mut CertificateParams| params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    for (id, leaf, error) in [
        (id, other_key, "the key: "),
        (id, no_key, "the key: "),
        (id, cut, "x509_svid: a certificate that can't be read"),
        (id, own.gives(&[], |_| ()), "with 0 URIs"),
        (id, own.gives(&[id, id], |_| ()), "with 2 URIs"),
        (id, own.gives_to("https://a.test/"), "an id that does not begin with spiffe://"),
        (id, own.gives_to("spiffe://a.test"), "only that of a trust domain"),
        (id, own.gives(&[id], signer), "of an authority"),
        (id, own.gives(&[id], key_signer), "of an authority"),
        ("a.test", good, "an id that does not begin with spiffe://"),
    ] {
        let read = Svid::read(&answer(id, &leaf, &own, &own), &default_provider());

        let text = read.unwrap_err().to_string();
        assert!(text.contains(error), "{text}, not {error}");
    }
    let none = Svid::read(&[], &default_provider()).unwrap_err();
    assert_eq!(none.to_string(), "no identity in the answer");
}

#[test]
fn sec_a_server_is_let_pass_by_its_id_and_the_roots_of_its_trust_domain() {
    let (own, foreign, unknown) = (authority(), authority(), authority());
    let id = "spiffe://a.test/wharf";
    let source = Source::default();
    let provider = Arc::new(default_provider());
    let verify = |leaf: &Leaf, ids: &[&str], domain: &str| {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let allowed = Allowed::read(&ids, domain).unwrap();
        let name = ServerName::try_from("10.0.0.1").unwrap();
        Verifier::new(source.clone(), allowed, Arc::clone(&provider))
            .verify_server_cert(&leaf.der, &[], &name, &[], UnixTime::now())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let web = own.gives_to("spiffe://a.test/web");
    assert!(verify(&web, &[], "").unwrap_err().contains("no SPIFFE identity yet"));
    let leaf = own.gives_to(id);
    source.renew(Svid::read(&answer(id, &leaf, &own, &foreign), &provider).unwrap());

    for (leaf, ids, domain, error) in [
        (&web, &[][..], "", None),
        (&web, &[], "a.test", None),
        (&web, &["spiffe://a.test/x", "spiffe://a.test/web"], "", None),
        // Ids count before the domain.
        (&web, &["spiffe://a.test/web"], "b.test", None),
        (&web, &["spiffe://a.test/we"], "a.test", Some("none of those that are allowed")),
        (&web, &[], "b.test", Some("none of those that are allowed")),
        (&foreign.gives_to("spiffe://b.test/x"), &[], "", None),
        // Each domain has its own roots; these authorities share a name, so that the signature tells.
        (&foreign.gives_to("spiffe://a.test/web"), &[], "", Some("BadSignature")),
        (&unknown.gives_to("spiffe://a.test/web"), &[], "", Some("BadSignature")),
        (&own.gives_to("spiffe://c.test/web"), &[], "", Some("no roots are known")),
        (&own.gives(&[], |_| ()), &[], "", Some("with 0 URIs")),
        (
            &own.gives(&["spiffe://a.test/web"], |params| {
                params.not_after = rcgen::date_time_ymd(2001, 1, 1);
            }),
            &[],
            "",
            Some("xpired"),
        ),
    ] {
        match (verify(leaf, ids, domain), error) {
            (Ok(()), None) => {}
            (Err(text), Some(error)) => assert!(text.contains(error), "{text}, not {error}"),
            (found, error) => panic!("{found:?}, not {error:?}: {ids:?} {domain:?}"),
        }
    }
}

#[test]
fn what_settings_allow_is_read_or_told() {
    for (id, error) in [
        ("web", "spiffe.ids: invalid SPIFFE ID: \"web\" does not begin with spiffe://"),
        ("spiffe://A/b", "spiffe.ids: invalid SPIFFE ID: \"spiffe://A/b\" has no trust domain"),
    ] {
        let found = Allowed::read(&[id.to_owned()], "").unwrap_err();
        assert!(found.starts_with(error), "{found}");
    }
    let found = Allowed::read(&[], "A").unwrap_err();
    assert!(found.starts_with("spiffe.trustDomain: invalid SPIFFE trust domain: \"A\""), "{found}");
}
