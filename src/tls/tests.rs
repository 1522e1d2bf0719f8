use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::model::{
    CertificateFiles, ClientAuth, ClientAuthType, Domain, GeneratedCert, Name, Provider, Sourced,
    Store, Tls, TlsOptions,
};
use crate::problem::{Origin, Severity};

use super::{HostOptions, Index};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn pem(names: &[&str]) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    CertificateFiles {
        cert_file: made.cert.pem(),
        key_file: made.key_pair.serialize_pem().into(),
        stores: Vec::new(),
    }
}

fn sourced<T>(value: T) -> Arc<Sourced<T>> {
    Arc::new(Sourced::new(value, vec![Origin::file("/etc/tls.yml")]))
}

fn with_options(name: &str, options: TlsOptions) -> Tls {
    let mut tls = Tls::default();
    tls.options.insert(Name::new(name, Provider::File), sourced(options));
    tls
}

fn hosts(pairs: &[(&str, &str)]) -> Vec<HostOptions> {
    vec![pairs.iter().map(|(host, options)| ((*host).into(), (*options).into())).collect()]
}

#[test]
fn a_certificate_is_made_once_and_kept_with_its_sessions() {
    let (first, problems) = Index::build(&Tls::default(), hosts(&[]), &Index::default());
    assert_eq!(problems, []);
    let facts: Vec<_> = first.facts().collect();
    assert_eq!(facts[0].common_name, "TRAEFIK DEFAULT CERT");
    assert!(facts[0].names[0].ends_with(".traefik.default"), "{facts:?}");

    let (second, _) = Index::build(&Tls::default(), hosts(&[]), &first);

    let config = |index: &Index| index.choose(0, Some("a"), LOCAL).unwrap().config.ours;
    assert!(Arc::ptr_eq(&config(&first), &config(&second)));
    let mut tls = Tls::default();
    tls.certificates.push(sourced(pem(&["a.example"])));
    let (third, _) = Index::build(&tls, hosts(&[]), &second);
    assert!(!Arc::ptr_eq(&config(&second), &config(&third)));
    assert!(Arc::ptr_eq(&config(&second).ticketer, &config(&third).ticketer));
}

#[test]
fn strict_options_refuse_names_that_no_certificate_covers() {
    let strict = TlsOptions { sni_strict: true, ..TlsOptions::default() };
    let mut tls = with_options("default", strict);
    tls.certificates.push(sourced(pem(&["a.example", "*.b.example"])));
    let (index, problems) = Index::build(&tls, hosts(&[]), &Index::default());
    assert_eq!(problems, []);

    for (name, taken) in [
        (Some("a.example"), true),
        (Some("a.example."), true),
        (Some("x.b.example"), true),
        (Some("b.example"), false),
        (Some("x.y.b.example"), false),
        (Some("other"), false),
        (None, false),
    ] {
        assert_eq!(index.choose(0, name, LOCAL).is_some(), taken, "{name:?}");
    }
}

#[test]
fn options_are_chosen_by_the_hosts_of_routers() {
    let mut tls = with_options("modern", TlsOptions::default());
    tls.stores.insert(
        Name::new("default", Provider::File),
        sourced(Store {
            default_certificate: Some(pem(&["fallback.example"])),
            ..Store::default()
        }),
    );
    let pairs = [("a.example", "modern@file"), ("b.example", "gone@file")];
    let (index, _) = Index::build(&tls, hosts(&pairs), &Index::default());

    let options = |name| index.choose(0, Some(name), LOCAL).map(|choice| choice.options);
    assert_eq!(options("a.example").as_deref(), Some("modern@file"));
    assert_eq!(options("c.example").as_deref(), Some("default"));
    // Never served with other options than asked for.
    assert_eq!(options("b.example"), None);
    assert_eq!(index.facts().next().unwrap().names[0], "fallback.example");
}

#[test]
fn clients_without_a_name_get_the_certificate_of_the_address() {
    let mut tls = Tls::default();
    tls.certificates.push(sourced(pem(&["127.0.0.1", "a.example"])));
    let (index, _) = Index::build(&tls, hosts(&[]), &Index::default());

    let config = |name, local| index.choose(0, name, local).unwrap().config.ours;
    let elsewhere = IpAddr::from([192, 0, 2, 1]);
    assert!(!Arc::ptr_eq(&config(None, LOCAL), &config(None, elsewhere)));
    assert!(Arc::ptr_eq(&config(Some("x"), LOCAL), &config(None, elsewhere)));
}

#[test]
fn what_is_too_old_is_said_with_its_alternative() {
    let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let gcm = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let cbc = "TLS_RSA_WITH_AES_128_CBC_SHA";
    let base = TlsOptions::default;
    for (options, usable, severity) in [
        (TlsOptions { min_version: "VersionTLS10".into(), ..base() }, true, Severity::Warning),
        (TlsOptions { max_version: "VersionTLS11".into(), ..base() }, false, Severity::Error),
        (TlsOptions { min_version: "TLS12".into(), ..base() }, false, Severity::Error),
        (TlsOptions { cipher_suites: list(&[cbc, gcm]), ..base() }, true, Severity::Warning),
        (TlsOptions { cipher_suites: list(&[cbc]), ..base() }, false, Severity::Error),
        (
            TlsOptions { curve_preferences: list(&["CurveP521", "CurveP384"]), ..base() },
            true,
            Severity::Warning,
        ),
        (TlsOptions { curve_preferences: list(&["CurveP521"]), ..base() }, false, Severity::Error),
        (
            TlsOptions {
                client_auth: Some(ClientAuth {
                    ca_files: list(&["/nowhere.pem"]),
                    client_auth_type: ClientAuthType::RequireAndVerifyClientCert,
                }),
                ..base()
            },
            false,
            Severity::Error,
        ),
    ] {
        let tls = with_options("o", options.clone());
        let (index, problems) = Index::build(&tls, hosts(&[("a", "o@file")]), &Index::default());

        assert_eq!(index.choose(0, Some("a"), LOCAL).is_some(), usable, "{options:?}");
        assert_eq!(problems.iter().map(|p| p.severity).max(), Some(severity), "{problems:?}");
        assert!(problems.iter().all(|problem| problem.mend.is_some()), "{problems:?}");
    }
}

#[test]
fn all_five_ways_to_ask_for_client_certificates_are_built() {
    let authority = pem(&["ca.example"]).cert_file;
    for kind in [
        ClientAuthType::NoClientCert,
        ClientAuthType::RequestClientCert,
        ClientAuthType::RequireAnyClientCert,
        ClientAuthType::VerifyClientCertIfGiven,
        ClientAuthType::RequireAndVerifyClientCert,
    ] {
        let client_auth =
            Some(ClientAuth { ca_files: vec![authority.clone()], client_auth_type: kind });
        let options = TlsOptions { client_auth, ..TlsOptions::default() };
        let (index, problems) =
            Index::build(&with_options("default", options), hosts(&[]), &Index::default());
        assert_eq!(problems, [], "{kind:?}");
        assert!(index.choose(0, None, LOCAL).is_some());
    }
}

#[test]
fn a_key_is_never_printed() {
    let mut files = pem(&["a.example"]);
    files.key_file = pem(&["b.example"]).key_file;
    let mut tls = Tls::default();
    tls.certificates.push(sourced(files));

    let (index, problems) = Index::build(&tls, hosts(&[]), &Index::default());

    let text = format!("{problems:?} {index:?}");
    assert!(text.contains("does not belong"), "{text}");
    assert!(!text.contains("PRIVATE KEY"), "{text}");
}

#[test]
fn a_changed_file_makes_the_index_stale() {
    let folder = tempfile::tempdir().unwrap();
    let files = pem(&["a.example"]);
    let (cert, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    std::fs::write(&cert, &files.cert_file).unwrap();
    std::fs::write(&key, files.key_file.as_bytes()).unwrap();
    let mut tls = Tls::default();
    tls.certificates.push(sourced(CertificateFiles {
        cert_file: cert.display().to_string(),
        key_file: key.display().to_string().into(),
        stores: Vec::new(),
    }));
    let (index, problems) = Index::build(&tls, hosts(&[]), &Index::default());
    assert_eq!(problems, []);
    assert_eq!(index.sources().len(), 2);
    assert!(!index.is_stale());

    std::fs::write(&cert, format!("{}\n", files.cert_file)).unwrap();

    assert!(index.is_stale());
}

fn generated(main: &str, sans: &[&str]) -> Store {
    let sans = sans.iter().map(|&name| name.to_owned()).collect();
    let domain = Some(Domain { main: main.to_owned(), sans });
    let wanted = GeneratedCert { resolver: "le".to_owned(), domain };
    Store { default_generated_cert: Some(wanted), ..Store::default() }
}

fn default_store(store: Store) -> Tls {
    let mut tls = Tls::default();
    tls.stores.insert(Name::new("default", Provider::File), sourced(store));
    tls
}

fn default_name(tls: &Tls, previous: &Index) -> String {
    let (index, _) = Index::build(tls, hosts(&[]), previous);
    let fallback = index.facts().last().unwrap();
    fallback.names.first().unwrap().clone()
}

#[test]
fn the_certificate_that_a_resolver_obtained_is_the_default_one_once_it_is_there() {
    let mut tls = default_store(generated("All.Example.", &["b.example", "x.c.example"]));
    assert!(default_name(&tls, &Index::default()).ends_with(".traefik.default"));

    tls.certificates.push(sourced(pem(&["b.example", "c.example"])));
    assert!(default_name(&tls, &Index::default()).ends_with(".traefik.default"));

    tls.certificates.push(sourced(pem(&["b.example", "*.c.example", "all.example"])));
    assert!(!default_name(&tls, &Index::default()).ends_with(".traefik.default"));

    // What is given by hand goes before it.
    let both = Store {
        default_certificate: Some(pem(&["given.example"])),
        ..generated("all.example", &[])
    };
    tls.stores.insert(Name::new("default", Provider::File), sourced(both));
    assert!(default_name(&tls, &Index::default()).contains("given.example"));
}

#[test]
fn stores_that_are_not_used_are_named() {
    let mut tls = default_store(Store {
        default_certificate: Some(pem(&["given.example"])),
        ..Store::default()
    });
    tls.stores.insert(Name::new("other", Provider::File), sourced(Store::default()));
    tls.stores.insert(Name::new("default", Provider::Docker), sourced(generated("a.example", &[])));

    let (index, problems) = Index::build(&tls, hosts(&[]), &Index::default());

    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("TLS store other@file")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("[default@docker default@file]")), "{texts:?}");
    assert!(index.facts().last().unwrap().names[0].ends_with(".traefik.default"));
}
