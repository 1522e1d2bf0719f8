//! HTTP/2 and TLS towards servers on loopback.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// Answers with what it was asked, over HTTP/2 or HTTP/1.1.
async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    // Long enough for requests of one test to meet.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
    let asked = format!("{:?} {} host={host:?}", request.version(), request.uri());
    Ok(Response::new(Body::from(asked)))
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, is_http2: bool) {
    let io = TokioIo::new(stream);
    let _ = if is_http2 {
        hyper::server::conn::http2::Builder::new(Local)
            .serve_connection(io, service_fn(answer))
            .await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(answer)).await
    };
}

/// A server and the count of its connections.
async fn start(tls: Option<TlsAcceptor>) -> (String, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Rc::new(Cell::new(0));
    let connections = Rc::clone(&count);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.set(connections.get() + 1);
            let tls = tls.clone();
            tokio::task::spawn_local(async move {
                let Some(tls) = tls else { return serve(stream, true).await };
                let Ok(stream) = tls.accept(stream).await else { return };
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve(stream, is_http2).await;
            });
        }
    });
    (address, count)
}

/// A self-signed server for `localhost`, and its certificate.
fn acceptor() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.key_pair.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

pub(super) fn on_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    let test = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    runtime.unwrap().block_on(test).expect("the test takes too long");
}

async fn ask(server: &Server) -> Result<String, SendError> {
    let request = Request::get("/a?b").header("host", "example.com").body(Body::empty()).unwrap();
    let Reply { response, lease } = send(server, None, request).await?;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    lease.finish();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn requests_at_once_share_one_http2_connection() {
    on_worker(async {
        let (address, connections) = start(None).await;
        let transport = Transport::build(&TransportSettings::default()).unwrap();
        let server = Server::parse(&format!("h2c://{address}"), false, &transport).unwrap();

        let asked = futures_util::future::join_all((0..10).map(|_| ask(&server))).await;

        for text in asked {
            assert_eq!(text.unwrap(), "HTTP/2.0 http://example.com/a?b host=None");
        }
        assert_eq!(connections.get(), 1);
    });
}

#[test]
fn https_takes_http2_where_the_server_has_it() {
    on_worker(async {
        let (acceptor, pem) = acceptor();
        let (address, connections) = start(Some(acceptor)).await;
        for (disable_http2, wanted) in [
            (false, "HTTP/2.0 https://example.com/a?b host=None"),
            (true, "HTTP/1.1 /a?b host=Some(\"example.com\")"),
        ] {
            let before = connections.get();
            let transport = Transport::build(&TransportSettings {
                root_cas: vec![pem.clone()],
                server_name: "localhost".to_owned(),
                disable_http2,
                ..TransportSettings::default()
            })
            .unwrap();
            let server = Server::parse(&format!("https://{address}"), false, &transport).unwrap();

            for _ in 0..3 {
                assert_eq!(ask(&server).await.unwrap(), wanted);
            }
            assert_eq!(connections.get(), before + 1);
        }
    });
}

#[test]
fn a_server_that_cannot_be_verified_is_not_asked() {
    on_worker(async {
        let (acceptor, pem) = acceptor();
        let (address, _) = start(Some(acceptor)).await;
        let by_name = || TransportSettings {
            server_name: "localhost".to_owned(),
            root_cas: vec![pem.clone()],
            ..TransportSettings::default()
        };
        for (settings, is_fine) in [
            (by_name(), true),
            (TransportSettings { server_name: String::new(), ..by_name() }, false),
            (TransportSettings { root_cas: Vec::new(), ..by_name() }, false),
            (TransportSettings { peer_cert_uri: "spiffe://x".to_owned(), ..by_name() }, false),
            (
                TransportSettings { insecure_skip_verify: true, ..TransportSettings::default() },
                true,
            ),
        ] {
            let transport = Transport::build(&settings).unwrap();
            let server = Server::parse(&format!("https://{address}"), false, &transport).unwrap();

            let asked = ask(&server).await;

            assert_eq!(asked.is_ok(), is_fine, "{settings:?}");
            if let Err(error) = asked {
                assert!(matches!(error, SendError::NotSent(..)), "{error:?}");
            }
        }
    });
}

/// A server that wants client certificates of this authority, or speaks only this version.
fn strict(
    authority: Option<&rcgen::Certificate>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.key_pair.serialize_der()).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// An authority, and a client certificate of it with its key.
fn authority(name: &str) -> (rcgen::Certificate, (String, String)) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let client_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap();
    params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let client = params.signed_by(&client_key, &ca, &key).unwrap();
    (ca, (client.pem(), client_key.serialize_pem()))
}

async fn reaches(address: &str, settings: TransportSettings) -> bool {
    let settings = TransportSettings { insecure_skip_verify: true, ..settings };
    let Ok(transport) = Transport::build(&settings) else { return false };
    let server = Server::parse(&format!("https://{address}"), false, &transport).unwrap();
    ask(&server).await.is_ok()
}

#[test]
fn the_client_certificate_that_the_server_takes_is_shown() {
    on_worker(async {
        let ((ca, wanted), (_, other)) = (authority("one"), authority("other"));
        let (address, _) = start(Some(strict(Some(&ca), rustls::DEFAULT_VERSIONS))).await;
        for (certificates, is_fine) in [
            (vec![wanted.clone()], true),
            (vec![other.clone(), wanted], true),
            (vec![other], false),
            (vec![], false),
        ] {
            let count = certificates.len();
            let settings = TransportSettings { certificates, ..TransportSettings::default() };

            assert_eq!(reaches(&address, settings).await, is_fine, "{count}");
        }
    });
}

#[test]
fn versions_and_suites_are_kept_to() {
    on_worker(async {
        let (old, _) = start(Some(strict(None, &[&rustls::version::TLS12]))).await;
        let (new, _) = start(Some(strict(None, &[&rustls::version::TLS13]))).await;
        let default = TransportSettings::default;
        let only_new = || TransportSettings { min_version: "VersionTLS13".into(), ..default() };
        let only_old = || TransportSettings { max_version: "VersionTLS12".into(), ..default() };
        let suite =
            |name: &str| TransportSettings { cipher_suites: vec![name.to_owned()], ..only_old() };
        for (address, settings, is_fine) in [
            (&old, default(), true),
            (&new, default(), true),
            (&old, only_new(), false),
            (&new, only_new(), true),
            (&old, only_old(), true),
            (&new, only_old(), false),
            // The server's key is an elliptic one.
            (&old, suite("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), true),
            (&old, suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), false),
        ] {
            let told = format!("{settings:?}");

            assert_eq!(reaches(address, settings).await, is_fine, "{told}");
        }
    });
}

#[test]
fn a_transport_knows_when_its_files_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let (_, pem) = acceptor();
    std::fs::write(&path, &pem).unwrap();
    let settings = TransportSettings {
        root_cas: vec![path.display().to_string()],
        ..TransportSettings::default()
    };
    let transport = Transport::build(&settings).unwrap();
    assert!(transport.is_current());

    std::fs::write(&path, acceptor().1).unwrap();

    assert!(!transport.is_current());
}

#[test]
fn a_request_not_sent_comes_back_as_it_was() {
    on_worker(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let transport = Transport::build(&TransportSettings::default()).unwrap();
        for url in [format!("http://{address}/base"), format!("h2c://{address}/base")] {
            let server = Server::parse(&url, true, &transport).unwrap();

            let Err(SendError::NotSent(back, Cause::Unreachable(_))) = send(
                &server,
                None,
                Request::post("/a?b").header("host", "x").body(Body::from("y")).unwrap(),
            )
            .await
            else {
                panic!("sent to nobody")
            };

            assert_eq!((back.uri().to_string(), back.headers().len()), ("/a?b".to_owned(), 1));
            assert_eq!(back.into_body().collect().await.unwrap().to_bytes(), "y");
        }
    });
}

/// Answers one request on each of two connections, and closes the first one when told to.
/// Returns its URL, what tells it, and what says that it has been done.
fn closes_when_told() -> (String, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (close, told) = mpsc::channel();
    let (done, closed) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            // An error: the test is over.
            if told.recv().is_err() {
                return;
            }
            drop(stream);
            done.send(()).unwrap();
        }
    });
    (url, close, closed)
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_no_request_that_must_not_be_repeated() {
    on_worker(async {
        let (url, close, closed) = closes_when_told();
        let transport = Transport::build(&TransportSettings::default()).unwrap();
        let server = Server::parse(&url, false, &transport).unwrap();
        let post = || Request::post("/").header("host", "x").body(Body::empty()).unwrap();
        send(&server, None, post()).await.unwrap().lease.finish();

        // The worker is busy while the server closes, so it has not heard of it.
        close.send(()).unwrap();
        closed.recv().unwrap();
        let second = send(&server, None, post()).await;

        assert_eq!(second.unwrap().response.status(), 200);
    });
}
