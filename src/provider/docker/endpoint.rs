//! Where the engine is: the endpoint as written to something that can be connected to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::problem::{Code, Origin, Problem};
use crate::settings;

/// Where Traefik looks, too.
const DEFAULT: &str = "unix:///var/run/docker.sock";

/// The ports of Docker without and with TLS.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// An engine's address, checked.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// As written.
    pub(super) address: Box<str>,
    /// What to connect to.
    pub(super) target: Target,
    /// `Authorization` of each call.
    pub(super) authorization: Option<HeaderValue>,
}

/// What to connect to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port`, with TLS if there is a configuration.
    Tcp { authority: Box<str>, tls: Option<Tls> },
    /// An engine in memory.
    #[cfg(test)]
    Fake(super::fake::Fake),
}

/// TLS towards the engine.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<rustls::ClientConfig>,
    pub(super) name: ServerName<'static>,
}

impl Endpoint {
    /// Reads the option `endpoint`; when it is empty `environment` (`DOCKER_HOST`), else the
    /// usual socket.
    pub(super) fn parse(
        settings: &settings::Docker,
        environment: Option<&str>,
    ) -> Result<Self, Problem> {
        let address = [settings.endpoint.trim(), environment.unwrap_or_default().trim()]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or(DEFAULT);
        let target = target(address, settings.tls.as_ref())?;
        let authorization = authorization(settings);
        Ok(Self { address: address.into(), target, authorization })
    }
}

fn refuse(address: &str, text: String, mend: &str) -> Problem {
    Problem::error(Code::BadValue, Origin::Engine(address.into()), text).mend(mend)
}

fn target(address: &str, tls: Option<&settings::EngineTls>) -> Result<Target, Problem> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Err(refuse(
            address,
            format!("the endpoint {address:?} has no scheme"),
            "write unix:///path/of/docker.sock or tcp://host:2375",
        ));
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Target::Unix(rest.into())),
        "unix" => Err(refuse(
            address,
            "the socket's path must be absolute".to_owned(),
            "write unix:///var/run/docker.sock, with three slashes",
        )),
        "tcp" | "http" | "https" => tcp(address, scheme, rest, tls),
        "ssh" => Err(refuse(
            address,
            "ssh:// endpoints are not built".to_owned(),
            "forward the socket (ssh -NL /run/engine.sock:/var/run/docker.sock user@host) and \
             write unix:///run/engine.sock",
        )),
        "npipe" => Err(refuse(
            address,
            "npipe:// endpoints (Windows) are not built".to_owned(),
            "run Wharf in a Linux container with the socket mounted: unix:///var/run/docker.sock",
        )),
        other => Err(refuse(
            address,
            format!("no way to reach an engine by {other}://"),
            "use unix://, tcp://, http:// or https://",
        )),
    }
}

fn tcp(
    address: &str,
    scheme: &str,
    rest: &str,
    tls: Option<&settings::EngineTls>,
) -> Result<Target, Problem> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let parsed = authority.parse::<http::uri::Authority>().ok();
    let (true, Some(parsed)) = (path.is_empty() && !authority.contains('@'), parsed) else {
        return Err(refuse(
            address,
            "the endpoint must be a host and a port only".to_owned(),
            "write tcp://host:2375; user name and password have options of their own",
        ));
    };
    let secure = tls.is_some() || scheme == "https";
    let port = parsed.port_u16().unwrap_or(if secure { TLS_PORT } else { PLAIN_PORT });
    let tls = if secure {
        let defaults = settings::EngineTls::default();
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
        Some(tls_to(host, tls.unwrap_or(&defaults)).map_err(|text| {
            refuse(address, text, "see providers.docker.tls: ca, cert, key, insecureSkipVerify")
        })?)
    } else {
        None
    };
    Ok(Target::Tcp { authority: format!("{}:{port}", parsed.host()).into(), tls })
}

fn tls_to(host: &str, settings: &settings::EngineTls) -> Result<Tls, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("bad name {host:?}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if settings.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(trust::Anything(provider)))
    } else {
        builder.with_root_certificates(roots(&settings.ca)?)
    };
    let config = if settings.cert.is_empty() && settings.key.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain = certificates("tls.cert", &settings.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&pem("tls.key", &settings.key)?)
            .map_err(|error| format!("tls.key: {error}"))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| format!("tls.cert: {error}"))?
    };
    Ok(Tls { config: Arc::new(config), name })
}

fn roots(ca: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if ca.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    }
    for certificate in certificates("tls.ca", ca)? {
        roots.add(certificate).map_err(|error| format!("tls.ca: {error}"))?;
    }
    Ok(roots)
}

fn certificates(option: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = pem(option, text)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{option}: {error}"))?;
    if found.is_empty() {
        return Err(format!("{option}: no certificate in it"));
    }
    Ok(found)
}

/// A file's content, or the text itself when it is PEM (Traefik's FileOrContent).
fn pem(option: &str, text: &str) -> Result<Vec<u8>, String> {
    if text.contains("-----BEGIN") {
        return Ok(text.as_bytes().to_vec());
    }
    std::fs::read(Path::new(text)).map_err(|error| format!("{option}: {text}: {error}"))
}

fn authorization(settings: &settings::Docker) -> Option<HeaderValue> {
    if settings.username.is_empty() && settings.password.is_empty() {
        return None;
    }
    let pair = STANDARD.encode(format!("{}:{}", settings.username, settings.password));
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `insecureSkipVerify`.
mod trust {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    /// Takes any certificate; the signatures are still checked.
    #[derive(Debug)]
    pub(super) struct Anything(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls12_signature(message, cert, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls13_signature(message, cert, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(endpoint: &str, environment: Option<&str>) -> Result<String, String> {
        let settings =
            settings::Docker { endpoint: endpoint.to_owned(), ..settings::Docker::default() };
        Endpoint::parse(&settings, environment)
            .map(|endpoint| match endpoint.target {
                Target::Unix(path) => format!("unix {}", path.display()),
                Target::Tcp { authority, tls } => format!("tcp {authority} {}", tls.is_some()),
                Target::Fake(_) => unreachable!("no endpoint is read as one"),
            })
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_option_wins_over_the_environment_and_both_over_the_usual_socket() {
        assert_eq!(parse("", None).unwrap(), "unix /var/run/docker.sock");
        assert_eq!(parse("", Some("tcp://a:1")).unwrap(), "tcp a:1 false");
        assert_eq!(parse("unix:///x.sock", Some("tcp://a:1")).unwrap(), "unix /x.sock");
    }

    #[test]
    fn tcp_http_and_https_endpoints_are_taken_with_dockers_ports() {
        for (endpoint, expected) in [
            ("tcp://engine", "tcp engine:2375 false"),
            ("http://engine:80/", "tcp engine:80 false"),
            ("https://engine", "tcp engine:2376 true"),
            ("tcp://[::1]:2375", "tcp [::1]:2375 false"),
        ] {
            assert_eq!(parse(endpoint, None).unwrap(), expected);
        }
    }

    #[test]
    fn endpoints_that_are_not_built_are_refused_by_name_with_the_mend() {
        for (endpoint, text) in [
            ("ssh://me@host", "ssh:// endpoints are not built; forward the socket"),
            ("npipe:////./pipe/docker_engine", "npipe:// endpoints (Windows) are not built"),
            ("/var/run/docker.sock", "has no scheme"),
            ("unix://docker.sock", "must be absolute"),
            ("ftp://x", "by ftp://"),
            ("tcp://user:secret@x", "user name and password have options"),
        ] {
            let problem = parse(endpoint, None).unwrap_err();
            assert!(problem.contains(text), "{problem}");
        }
    }

    #[test]
    fn a_user_name_becomes_basic_authorization() {
        let settings = settings::Docker {
            username: "me".to_owned(),
            password: "secret".to_owned(),
            ..settings::Docker::default()
        };

        let endpoint = Endpoint::parse(&settings, None).unwrap();

        assert_eq!(endpoint.authorization.unwrap(), "Basic bWU6c2VjcmV0");
    }
}
