use std::rc::Rc;

use super::*;
use crate::message::{Connection, TlsInfo};
use crate::middleware::testing;

/// A certificate with two of many things, odd letters and every kind of alternative name.
const LEAF: &str = "MIIDJTCCAsygAwIBAgIUBR9/4QtReWlQ+6TT4qKG2gfM+YgwCgYIKoZIzj0EAwIwgaQxEzARBgoJkiaJ\
    k/IsZAEZFgNvcmcxFjAUBgoJkiaJk/IsZAEZFgZjaGVlc2UxCzAJBgNVBAYTAkZSMQwwCgYDVQQIDANJ\
    bGUxDjAMBgNVBAcMBVBhcmlzMQ8wDQYDVQQKDAZDQSBPbmUxDzANBgNVBAoMBkNBIFR3bzEKMAgGA1UE\
    CwwBeDELMAkGA1UEBRMCNzcxDzANBgNVBAMMBlRoZSBDQTAeFw0yNjExMjExNTI3NDdaFw0yNjEyMjEx\
    NTI3NDdaMIHMMRMwEQYKCZImiZPyLGQBGRYDb3JnMRYwFAYKCZImiZPyLGQBGRYGY2hlZXNlMQswCQYD\
    VQQGEwJGUjELMAkGA1UEBhMCREUxFDASBgNVBAgMC1NvbWUsIFN0YXRlMRIwEAYDVQQHDAlUb3UibG91\
    c2UxEDAOBgNVBAoMB0NoO2Vlc2UxCzAJBgNVBAsMAlUxMQswCQYDVQQLDAJVMjELMAkGA1UEBRMCNDIx\
    DjAMBgNVBAMMBWZpcnN0MRAwDgYDVQQDDAdjbGnDqW50MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\
    jKCRnoLqEOUthmBxgCvTsXl+yYNdG5t/5CoTlgM5zK8X5vu3dPCX9++WQ7TUBSAL0+Fs1PyR1CP3G9km\
    TodxKqOBsTCBrjBMBgNVHREERTBDggZhLnRlc3SCBmIudGVzdIEJbWVAYS50ZXN0hwQKAAABhxAgAQ24\
    AAAAAAAAAAAAAAABhg5zcGlmZmU6Ly94L3k/ejATBgNVHSUEDDAKBggrBgEFBQcDAjAJBgNVHRMEAjAA\
    MB0GA1UdDgQWBBToOhE/ZVpWRMGqZ9DnzGEzwpCVojAfBgNVHSMEGDAWgBQ45K+fUkrZvl8IdBJ3BOfD\
    h0LCYjAKBggqhkjOPQQDAgNHADBEAiBvQDjL+Kebfk5lUXwYtWEw0I8PZQ8q4f6CBFwxHh2BvwIgKkrr\
    EWm87E16YTsrLDC+ZjKiV1NgZ16qUC5bg+8juY0=";

/// What Traefik 3.7 tells of it when asked for everything.
const TOLD: &str = "Subject%3D%22DC%3Dorg%2CDC%3Dcheese%2CC%3DFR%2CC%3DDE%2CST%3DSome%2C+State%2CL%3\
    DTou%22louse%2CO%3DCh%3Beese%2COU%3DU1%2COU%3DU2%2CSN%3D42%2CCN%3Dcli%C3%A9nt%22\
    %3BIssuer%3D%22DC%3Dorg%2CDC%3Dcheese%2CC%3DFR%2CST%3DIle%2CL%3DParis%2CO%3DCA+O\
    ne%2CO%3DCA+Two%2CSN%3D77%2CCN%3DThe+CA%22%3BSerialNumber%3D%2229247416794164084\
    215789248182822919600704649608%22%3BNB%3D%221795274867%22%3BNA%3D%221797866867%2\
    2%3BSAN%3D%22a.test%2Cb.test%2Cme%40a.test%2C10.0.0.1%2C2001%3Adb8%3A%3A1%2Cspif\
    fe%3A%2F%2Fx%2Fy%3Fz%22";

fn ask(settings: &Settings, certificates: &[&[u8]]) -> Request<Body> {
    let tls = TlsInfo {
        version: "1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        server_name: None,
        options: "default".into(),
        client_subject: None,
        client_certificates: certificates.iter().map(|der| Box::from(*der)).collect(),
    };
    let connection = Connection { tls: Some(tls), ..Connection::for_tests() };
    let mut exchange = Exchange { connection: Rc::new(connection), ..Exchange::for_tests() };
    let mut request = testing::get(
        "/",
        &[("x-forwarded-tls-client-cert", "old"), ("x-forwarded-tls-client-cert-info", "old")],
    );
    let step = Step::build(settings).unwrap();
    assert!(matches!(step.request(&mut exchange, &mut request), Flow::Next));
    request
}

fn leaf() -> Vec<u8> {
    STANDARD.decode(LEAF).unwrap()
}

/// Everything there is.
fn all() -> Info {
    Info {
        not_after: true,
        not_before: true,
        sans: true,
        serial_number: true,
        subject: Some(Subject {
            country: true,
            province: true,
            locality: true,
            organization: true,
            organizational_unit: true,
            common_name: true,
            serial_number: true,
            domain_component: true,
        }),
        issuer: Some(Issuer {
            country: true,
            province: true,
            locality: true,
            organization: true,
            common_name: true,
            serial_number: true,
            domain_component: true,
        }),
    }
}

#[test]
fn a_certificate_is_told_as_traefik_tells_it() {
    let request = ask(&Settings { pem: true, info: Some(all()) }, &[&leaf()]);

    assert_eq!(request.headers()[CERTIFICATE], LEAF);
    assert_eq!(request.headers()[INFO], TOLD);
}

#[test]
fn several_certificates_are_told_in_their_order() {
    let info = Info { sans: false, subject: None, issuer: None, not_after: false, ..all() };
    let request = ask(&Settings { pem: true, info: Some(info) }, &[&leaf(), b"none", &leaf()]);

    let one = "SerialNumber%3D%2229247416794164084215789248182822919600704649608%22%3BNB%3D%221795274867%22";
    assert_eq!(request.headers()[CERTIFICATE], format!("{LEAF},bm9uZQ==,{LEAF}"));
    assert_eq!(request.headers()[INFO], format!("{one}%2C%2C{one}"));
}

#[test]
fn only_what_is_asked_for_is_told() {
    let subject = Subject { common_name: true, ..Subject::default() };
    let info = Info { subject: Some(subject), ..Info::default() };
    for (settings, certificate, told) in [
        (Settings::default(), "old", "old"),
        (Settings { pem: true, info: None }, LEAF, "old"),
        (Settings { pem: false, info: Some(Info::default()) }, "old", ""),
        (Settings { pem: false, info: Some(info) }, "old", "Subject%3D%22CN%3Dcli%C3%A9nt%22"),
    ] {
        let request = ask(&settings, &[&leaf()]);

        assert_eq!(request.headers()[CERTIFICATE], certificate);
        assert_eq!(request.headers()[INFO], told);
    }
}

proptest::proptest! {
    #[test]
    fn no_certificate_panics_and_what_is_told_is_a_value(
        changes in proptest::collection::vec((0_usize..1024, 0_u8..), 0..6),
        length in 0_usize..1024,
    ) {
        let mut der = leaf();
        for (at, byte) in changes {
            let at = at % der.len();
            der[at] = byte;
        }
        der.truncate(length.max(600));

        let told = info::escape(&info::Wanted::new(&all()).tell(&der));

        proptest::prop_assert!(HeaderValue::try_from(told).is_ok());
    }
}

#[test]
fn without_a_certificate_nothing_is_set() {
    let settings = Settings { pem: true, info: Some(all()) };

    let request = ask(&settings, &[]);

    assert_eq!(request.headers()[CERTIFICATE], "old");
    assert_eq!(request.headers()[INFO], "old");
}
