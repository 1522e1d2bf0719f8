//! A made-up site for the tests: compiled as the real ones are.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use super::{Sources, internal::Api};
use crate::balance::{Deploy, DeployRules};
use crate::compile::{self, Context, compile};
use crate::message::{Body, Protocol};
use crate::middleware::Spec;
use crate::model::{
    Cookie, Desired, HealthCheck, Items, LoadBalancer, Name, Provider, ReplicaFacts, ReplicaState,
    Router, RouterTls, Server, ServiceKind, Sourced, Sticky, Weighted, WeightedService,
};
use crate::observe::Sample;
use crate::problem::{Code, ContainerRef, Origin, Problem};
use crate::provider::EngineState;
use crate::settings;
use crate::table::{Published, Table};
use crate::tree;

/// A container's name that would be markup if anything forgot to escape it.
pub(super) const HOSTILE: &str = "<script>alert('x')</script>";

/// A site: sources of the API and the compiler's context.
pub(super) struct Site {
    pub(super) sources: Sources,
    pub(super) context: Context,
}

fn container(name: &str) -> ContainerRef {
    let sum = name.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    let id = format!("{sum:016x}").repeat(4);
    ContainerRef { name: name.into(), id: id.into() }
}

fn label(name: &str, key: &str) -> Origin {
    Origin::Label { container: container(name), key: key.into() }
}

fn put<T>(items: &mut Items<T>, name: &str, value: T, from: Vec<Origin>) {
    let name = Name::resolve(name, Provider::Docker).unwrap();
    items.insert(name, Arc::new(Sourced::new(value, from)));
}

fn spec(text: &str) -> Spec {
    let node = tree::file::yaml(std::path::Path::new("d.yml"), text).unwrap();
    Spec::decode(&node, &mut Vec::new()).unwrap()
}

fn router(entry_point: &str, rule: &str, service: &str, middlewares: &[&str]) -> Router {
    Router {
        entry_points: vec![entry_point.to_owned()],
        rule: rule.to_owned(),
        service: service.to_owned(),
        middlewares: middlewares.iter().map(|&name| name.to_owned()).collect(),
        tls: (entry_point == "websecure").then(RouterTls::default),
        ..Router::default()
    }
}

fn servers(prefix: &str, port: u16, states: &[ReplicaState]) -> LoadBalancer {
    let server = |(index, state): (usize, &ReplicaState)| Server {
        url: format!("http://172.18.0.{}:{port}", index + 10),
        replica: Some(ReplicaFacts {
            container: container(&format!("{prefix}-{}", index + 1)),
            state: *state,
            has_health_check: true,
            started: Some(SystemTime::now()),
            deploy: None,
        }),
        ..Server::default()
    };
    LoadBalancer {
        servers: states.iter().enumerate().map(server).collect(),
        ..LoadBalancer::default()
    }
}

/// Makes the second server one of a newer generation, which gets a fifth of the requests.
fn deploy(balancer: &mut LoadBalancer) {
    let generations = ["9f2c".repeat(16), "release 7".to_owned()];
    for (age, (server, generation)) in balancer.servers.iter_mut().zip(generations).enumerate() {
        let minutes = if age == 0 { 3000 } else { 4 };
        let deploy = Deploy {
            generation: generation.into(),
            created: SystemTime::now().checked_sub(Duration::from_secs(60 * minutes)),
            rules: Arc::new(DeployRules { percent: Some(20), pin: true, ..DeployRules::default() }),
        };
        if let Some(facts) = &mut server.replica {
            facts.deploy = Some(Arc::new(deploy));
        }
    }
}

fn desired() -> Desired {
    use ReplicaState::{Running, Starting, Stopping, Unhealthy};
    let mut all = Desired::default();
    let api = |path: &str| format!("Host(`music.example.test`) && PathPrefix(`/api/{path}`)");
    let backends: [(&str, u16, &[ReplicaState]); 4] = [
        ("userservice", 8002, &[Running, Running, Starting]),
        ("music-service", 8081, &[Running, Running]),
        ("social-service", 8083, &[Running, Unhealthy]),
        ("notificationservice", 8082, &[Running, Stopping]),
    ];
    for (name, port, states) in backends {
        let containers: Vec<String> =
            (1..=states.len()).map(|n| format!("musicshare-{name}-{n}")).collect();
        let from = |key: &str| containers.iter().map(|name| label(name, key)).collect::<Vec<_>>();
        let mut balancer = servers(&format!("musicshare-{name}"), port, states);
        if name == "music-service" {
            deploy(&mut balancer);
        }
        if name == "userservice" {
            let cookie = Cookie { name: "userservice_session".to_owned(), ..Cookie::default() };
            balancer.sticky = Some(Sticky { cookie: Some(cookie) });
            let path = "/health".to_owned();
            balancer.health_check = Some(HealthCheck { path, ..HealthCheck::default() });
        }
        put(
            &mut all.services,
            name,
            ServiceKind::LoadBalancer(balancer).into(),
            from(&format!("traefik.http.services.{name}.loadbalancer.server.port")),
        );
        let strip = format!("{name}-strip");
        put(
            &mut all.middlewares,
            &strip,
            spec(&format!("stripPrefix: {{prefixes: [/api/{name}]}}")),
            from(&format!("traefik.http.middlewares.{strip}.stripprefix.prefixes")),
        );
        let rule = api(name);
        put(
            &mut all.routers,
            name,
            router("websecure", &rule, name, &["secure-headers@file", &strip]),
            from(&format!("traefik.http.routers.{name}.rule")),
        );
    }
    rest(&mut all);
    all
}

fn rest(all: &mut Desired) {
    let file = |line| {
        vec![Origin::File { path: Arc::new("/etc/wharf/dynamic.yml".into()), line, column: 3 }]
    };
    let headers =
        spec("headers: {customResponseHeaders: {X-Frame-Options: DENY}, stsSeconds: 31536000}");
    put(&mut all.middlewares, "secure-headers@file", headers, file(12));
    put(
        &mut all.middlewares,
        "admins@file",
        spec("basicAuth: {users: ['joe:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/']}"),
        file(20),
    );
    put(
        &mut all.middlewares,
        "guarded@file",
        spec("chain: {middlewares: [admins, secure-headers]}"),
        file(26),
    );
    let front = label("musicshare-frontend-1", "traefik.http.routers.frontend.rule");
    put(
        &mut all.services,
        "frontend",
        ServiceKind::LoadBalancer(servers("musicshare-frontend", 80, &[ReplicaState::Running]))
            .into(),
        vec![Origin::Container(container("musicshare-frontend-1"))],
    );
    put(
        &mut all.routers,
        "frontend",
        Router {
            priority: 1,
            ..router(
                "websecure",
                "Host(`music.example.test`) && !(Path(`/health`) || ClientIP(`10.0.0.0/8`))",
                "frontend",
                &[],
            )
        },
        vec![front],
    );
    put(
        &mut all.routers,
        "admin@file",
        router(
            "websecure",
            "Host(`admin.example.test`) && (PathPrefix(`/api`) || PathPrefix(`/dashboard`))",
            "api@internal",
            &["guarded"],
        ),
        file(31),
    );
    put(
        &mut all.routers,
        "broken",
        router("web", "Host(`b.example.test`)", "frontend", &["nope"]),
        vec![label("broken-1", "traefik.http.routers.broken.rule")],
    );
    odd(all, file);
}

/// A service of services, and names and problems that are markup.
fn odd(all: &mut Desired, file: impl Fn(u32) -> Vec<Origin>) {
    let shares = [("frontend@docker", 3), ("music-service@docker", 1)];
    let shares = shares
        .map(|(name, weight)| WeightedService { name: name.to_owned(), weight: Some(weight) });
    put(
        &mut all.services,
        "canary@file",
        ServiceKind::Weighted(Weighted { services: shares.to_vec(), ..Weighted::default() }).into(),
        file(40),
    );
    put(
        &mut all.routers,
        "canary@file",
        router("websecure", "Host(`canary.example.test`)", "canary", &[]),
        file(44),
    );
    let hostile = label(HOSTILE, "traefik.http.routers.<b>x</b>.rul");
    put(
        &mut all.services,
        HOSTILE,
        ServiceKind::LoadBalancer(servers(HOSTILE, 80, &[ReplicaState::Running])).into(),
        vec![hostile.clone()],
    );
    put(
        &mut all.routers,
        HOSTILE,
        router(
            "websecure",
            "Host(`h.test`) && Header(`X`, `<img src=x onerror=alert(1)>`)",
            HOSTILE,
            &[],
        ),
        vec![hostile.clone()],
    );
    all.problems.push(
        Problem::error(Code::UnknownKey, hostile, "no key `rul` under `routers.<b>x</b>`")
            .mend("did you mean `rule`?"),
    );
    all.problems.push(
        Problem::warning(Code::Network, Origin::Container(container("musicshare-social-service-1")), "the container is in two networks, `backend_net` and `default`; `backend_net` is used, being the first by name")
            .mend("say which with the label traefik.docker.network"),
    );
}

/// The site with its table published.
pub(super) fn site() -> Site {
    let mut context = compile::tests::context(|settings| {
        settings.api = Some(settings::Api { insecure: true, ..settings::Api::default() });
        settings.ping = Some(settings::Ping::default());
        settings.metrics.prometheus = Some(settings::Prometheus::default());
        settings.providers.docker = Some(settings::Docker::default());
        settings.providers.file = Some(settings::File::default());
        if let Some(web) = settings.entry_points.get_mut("web") {
            let to = settings::RedirectTo { to: "websecure".to_owned(), ..Default::default() };
            web.http.redirections = Some(settings::Redirections { entry_point: Some(to) });
        }
    });
    let published = Arc::new(Published::default());
    let sources = Sources {
        published: Arc::clone(&published),
        settings: Arc::clone(&context.settings),
        metrics: Arc::clone(&context.metrics),
        started: SystemTime::now() - Duration::from_secs(90_000),
        terminating: CancellationToken::new(),
    };
    context.internal = super::handlers(&sources);
    published.store(Arc::new(compile(&context, &Arc::new(desired()), &Table::default())));
    published.store_engine(EngineState {
        endpoint: "unix:///var/run/docker.sock".to_owned(),
        connected: true,
        since: SystemTime::now().checked_sub(Duration::from_secs(4000)),
        error: None,
        version: Some("20.10.24, API 1.41".to_owned()),
        containers: 17,
        calls: 23,
    });
    Site { sources, context }
}

impl Site {
    /// The handler of `api@internal`.
    pub(super) fn api(&self) -> Api {
        let settings = self.sources.settings.api.clone().unwrap();
        let dashboard = super::dashboard::Dashboard::new(self.sources.clone());
        Api::new(self.sources.clone(), settings, Some(Arc::new(dashboard)))
    }

    /// Two minutes of made-up requests.
    pub(super) fn run_traffic(&self) {
        let services = [
            ("userservice@docker", 40),
            ("music-service@docker", 90),
            ("social-service@docker", 12),
            ("frontend@docker", 6),
        ];
        for second in 0..120_u32 {
            for (index, (name, rate)) in services.iter().enumerate() {
                let requests = self.context.metrics.service(name);
                let wave = (second / 3 * 7 + u32::try_from(index).unwrap() * 11) % 17;
                for request in 0..rate + wave {
                    let fails = *name == "social-service@docker" && second > 90 && request % 4 == 0;
                    requests.record(
                        0,
                        &Sample {
                            code: if fails { 502 } else { 200 },
                            method: &Method::GET,
                            protocol: Protocol::Http,
                            duration: Duration::from_millis(u64::from(4 + request % 30 + wave * 2)),
                            request_bytes: 0,
                            response_bytes: 100,
                            headers: None,
                            tls: None,
                        },
                    );
                }
            }
            self.context.metrics.tick();
        }
    }
}

/// A request without a body.
pub(super) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// A whole body as text.
pub(super) async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
