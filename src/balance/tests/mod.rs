//! Services against servers on loopback that answer raw bytes.

mod composites;
mod generations;
mod health;
mod mirroring;
mod model;
mod outliers;
mod proxying;
mod retrying;
mod sticking;
mod strategies;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::observe::Requests;
use crate::upstream::TransportSettings;

/// What a fake server does with a request; gets its head and body.
type Script = Rc<dyn Fn(usize, &str) -> Act>;

/// One step of a fake server.
enum Act {
    /// Sends this and keeps the connection.
    Say(String),
    /// Sends this and closes.
    SayAndClose(String),
    /// Sends this, then whatever comes back as it came.
    SayAndEcho(String),
    /// Says nothing more.
    Hang,
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A server on loopback.
struct Fake {
    url: String,
    requests: Rc<RefCell<Vec<String>>>,
    connections: Rc<Cell<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Always says the same.
    async fn saying(body: &'static str) -> Self {
        Self::new(move |_, _| Act::Say(ok(body))).await
    }

    async fn new(script: impl Fn(usize, &str) -> Act + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, Rc::new(script))
    }

    fn on(listener: TcpListener, script: Script) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, connections) = (Rc::default(), Rc::new(Cell::new(0)));
        let (log, count) = (Rc::clone(&requests), Rc::clone(&connections));
        let task = tokio::task::spawn_local(async move {
            let mut running = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                running.spawn_local(converse(stream, Rc::clone(&script), Rc::clone(&log)));
            }
        });
        Self { url, requests, connections, task }
    }

    fn seen(&self) -> usize {
        self.requests.borrow().len()
    }
}

async fn converse(mut stream: TcpStream, script: Script, log: Rc<RefCell<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        let number = log.borrow().len();
        log.borrow_mut().push(request.clone());
        match script(number, &request) {
            Act::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Act::SayAndClose(text) => return stream.write_all(text.as_bytes()).await.unwrap(),
            Act::SayAndEcho(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                return;
            }
            Act::Hang => std::future::pending().await,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let head = String::from_utf8_lossy(&text).into_owned();
        if let Some((fields, body)) = head.split_once("\r\n\r\n") {
            let length = fields
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(head);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => text.extend_from_slice(&chunk[..read]),
        }
    }
}

/// An address on loopback where nobody listens.
async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Runs a test as workers run.
fn on_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default());
    let test = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    runtime.unwrap().block_on(test).expect("the test takes too long");
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

fn server(url: &str) -> ServerSettings {
    ServerSettings { url: url.to_owned(), weight: 1, preserve_path: false, container: None }
}

fn container(url: &str, id: &str, state: EngineState) -> ServerSettings {
    let container = ContainerSettings {
        id: id.into(),
        name: id.into(),
        state,
        has_health_check: false,
        started: None,
        deploy: None,
    };
    ServerSettings { container: Some(container), ..server(url) }
}

fn settings(servers: Vec<ServerSettings>) -> LoadBalancerSettings {
    LoadBalancerSettings { servers, ..LoadBalancerSettings::default() }
}

fn transport() -> Arc<Transport> {
    Transport::build(&TransportSettings::default()).unwrap()
}

fn service(settings: LoadBalancerSettings) -> Arc<Service> {
    Service::load_balancer("web@docker".into(), settings, &transport(), Requests::off(), None)
        .unwrap()
}

fn child(name: &str, weight: i64, service: &Arc<Service>) -> Child {
    Child { name: name.to_owned(), weight, service: Arc::clone(service) }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "example.com").body(Body::empty()).unwrap()
}

fn post(body: &'static str) -> Request<Body> {
    Request::post("/").header("host", "example.com").body(Body::from(body)).unwrap()
}

async fn ask(service: &Service, request: Request<Body>) -> Response<Body> {
    service.call(&mut Exchange::for_tests(), request).await
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
