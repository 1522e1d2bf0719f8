use http::header::{ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION};
use http::{Method, Request, StatusCode};
use serde_json::Value;

use super::fixture::{HOSTILE, get, site, text};
use super::query::encode;
use crate::message::Body;
use crate::settings;

async fn json(path: &str) -> Value {
    let response = site().api().answer(&get(path));
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    serde_json::from_str(&text(response).await).unwrap()
}

#[tokio::test]
async fn a_router_reads_as_traefiks() {
    let site = site();
    let response = site.api().answer(&get("/api/http/routers/userservice@docker"));

    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(
        text(response).await,
        "{\"entryPoints\":[\"websecure\"],\
         \"middlewares\":[\"secure-headers@file\",\"userservice-strip@docker\"],\
         \"service\":\"userservice\",\
         \"rule\":\"Host(`music.example.test`) \\u0026\\u0026 PathPrefix(`/api/userservice`)\",\
         \"priority\":60,\"tls\":{\"options\":\"default\"},\
         \"observability\":{\"accessLogs\":true,\"metrics\":true,\"tracing\":true,\
         \"traceVerbosity\":\"minimal\"},\
         \"status\":\"enabled\",\"using\":[\"websecure\"],\"name\":\"userservice@docker\",\
         \"provider\":\"docker\",\"priorityStr\":\"60\"}\n"
    );
}

#[tokio::test]
async fn a_router_in_error_says_why() {
    let broken = json("/api/http/routers/broken@docker").await;

    assert_eq!(broken["status"], "disabled");
    assert_eq!(broken["error"][0], "middleware \"nope@docker\" does not exist");
}

#[tokio::test]
async fn services_read_as_traefiks() {
    let service = json("/api/http/services/userservice@docker").await;
    assert_eq!(service["type"], "loadbalancer");
    assert_eq!(service["loadBalancer"]["strategy"], "wrr");
    assert_eq!(service["loadBalancer"]["servers"].as_array().unwrap().len(), 3);
    assert_eq!(service["loadBalancer"]["servers"][0]["url"], "http://172.18.0.10:8002");
    assert_eq!(service["loadBalancer"]["responseForwarding"]["flushInterval"], "100ms");
    assert_eq!(service["usedBy"][0], "userservice@docker");
    assert_eq!(service["serverStatus"]["http://172.18.0.10:8002"], "UP");

    let inside = json("/api/http/services/api@internal").await;
    assert_eq!(inside["provider"], "internal");
    assert_eq!(inside.get("type"), None);

    let weighted = json("/api/http/services/canary@file").await;
    assert_eq!(weighted["weighted"]["services"][0]["weight"], 3);
    assert_eq!(weighted["type"], "weighted");
}

#[tokio::test]
async fn middlewares_read_as_traefiks() {
    let strip = json("/api/http/middlewares/userservice-strip@docker").await;

    assert_eq!(strip["stripPrefix"]["prefixes"][0], "/api/userservice");
    assert_eq!(strip["type"], "stripprefix");
    assert_eq!(strip["usedBy"][0], "userservice@docker");
}

#[tokio::test]
async fn overview_and_raw_data_count_the_same() {
    let overview = json("/api/overview").await;
    let raw = json("/api/rawdata").await;

    for kind in ["routers", "services", "middlewares"] {
        let listed = raw[kind].as_object().unwrap();
        assert_eq!(overview["http"][kind]["total"], listed.len(), "{kind}");
    }
    assert_eq!(overview["providers"], serde_json::json!(["Docker", "File"]));
    assert_eq!(overview["features"]["metrics"], "Prometheus");
    assert_eq!(raw["routers"]["broken@docker"].get("name"), None);
    assert_eq!(raw.get("tcpRouters"), None);
}

#[tokio::test]
async fn paths_answer_with_traefiks_statuses_and_texts() {
    let cases = [
        ("/api/version", 200, ""),
        ("/api/entrypoints", 200, ""),
        ("/api/entrypoints/web", 200, ""),
        ("/api/entrypoints/nope", 404, "{\"message\":\"entry point not found: nope\"}\n"),
        ("/api/http/routers", 200, ""),
        ("/api/http/routers/", 404, "404 page not found\n"),
        ("/api/http/routers/web", 404, "{\"message\":\"router not found: web\"}\n"),
        (
            "/api/http/services/%3Cx%3E",
            404,
            "{\"message\":\"service not found: \\u003cx\\u003e\"}\n",
        ),
        (
            "/api/http/middlewares/a%2Fb@file",
            404,
            "{\"message\":\"middleware not found: a/b@file\"}\n",
        ),
        ("/api/http/routers/%zz", 400, "400 Bad Request"),
        (
            "/api/http/routers?page=2",
            400,
            "{\"message\":\"invalid request: page: 2, per_page: 100\"}\n",
        ),
        (
            "/api/http/routers?page=99999999999999999999",
            400,
            "{\"message\":\"invalid request: page: 9223372036854775807\"}\n",
        ),
        ("/api/http/routers?per_page=-1", 400, "{\"message\":\"invalid request: per_page: -1\"}\n"),
        ("/api/tcp/routers", 200, "[]\n"),
        ("/api/udp/services", 200, "[]\n"),
        ("/api/udp/middlewares", 404, "404 page not found\n"),
        ("/api/tcp/services/x@docker", 404, "{\"message\":\"service not found: x@docker\"}\n"),
        ("/api", 404, "404 page not found\n"),
        ("/api/", 404, "404 page not found\n"),
        ("/apix", 404, "404 page not found\n"),
        ("/debug/vars", 404, "404 page not found\n"),
        ("/dashboard", 404, "404 page not found\n"),
        ("/dashboard/nosuch", 404, "404 page not found\n"),
    ];
    let api = site().api();
    for (path, status, body) in cases {
        let response = api.answer(&get(path));
        assert_eq!(response.status(), status, "{path}");
        let told = text(response).await;
        assert!(body.is_empty() || told == body, "{path}: {told}");
    }
}

#[tokio::test]
async fn generations_are_told_with_their_shares() {
    let all = json("/api/wharf/generations").await;

    let [new, old] = &all.as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!(new["service"], "music-service@docker");
    assert_eq!((&new["generation"], &new["state"]), (&"release 7".into(), &"canary".into()));
    assert_eq!((&new["ready"], &new["servers"]), (&1.into(), &1.into()));
    assert_eq!((&new["sharePercent"], &old["sharePercent"]), (&20.0.into(), &80.0.into()));
    assert_eq!(old["state"], "serving");
    assert_eq!(new.get("backedOff"), None);
    for (query, count) in [
        ("search=RELEASE", 1),
        ("search=music", 2),
        ("status=canary", 1),
        ("serviceName=userservice@docker", 0),
        ("per_page=1", 1),
    ] {
        let found = json(&format!("/api/wharf/generations?{query}")).await;
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    let replicas = json("/api/wharf/replicas").await;
    assert_eq!(replicas["music-service@docker"][1]["generation"], "release 7");
    assert_eq!(replicas["userservice@docker"][0].get("generation"), None);
}

#[tokio::test]
async fn the_page_of_a_service_shows_its_generations() {
    let api = site().api();
    let page = |name: &str| text(api.answer(&get(&format!("/dashboard/services/{name}@docker"))));

    let shown = page("music-service").await;
    for part in ["Generations", "release 7", "9f2c9f2c9f2c<", "canary", "20% of the requests"] {
        assert!(shown.contains(part), "{part}");
    }
    assert!(!page("userservice").await.contains("Generations"));
}

#[tokio::test]
async fn lists_name_their_next_page() {
    let api = site().api();

    assert_eq!(api.answer(&get("/api/http/routers?per_page=2")).headers()["x-next-page"], "2");
    assert_eq!(api.answer(&get("/api/http/routers")).headers()["x-next-page"], "1");
    let found = json("/api/http/routers?serviceName=userservice@docker").await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    let found = json("/api/http/routers?middlewareName=secure-headers@file").await;
    assert_eq!(found.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_base_path_leads_to_the_api_and_the_dashboard() {
    let mut site = site();
    let mut settings = settings::Settings::clone(&site.sources.settings);
    settings.api.as_mut().unwrap().base_path = "/tt".to_owned();
    site.sources.settings = settings.into();
    for (path, status) in [
        ("/tt/api/version", StatusCode::OK),
        ("/api/version", StatusCode::OK),
        ("/tt", StatusCode::FOUND),
        ("/ttx", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(site.api().answer(&get(path)).status(), status, "{path}");
    }
}

#[tokio::test]
async fn go_s_own_is_named_where_it_is_missing() {
    let mut site = site();
    let mut settings = settings::Settings::clone(&site.sources.settings);
    settings.api.as_mut().unwrap().debug = true;
    site.sources.settings = settings.into();
    let answer = |path: &str| site.api().answer(&get(path));

    let vars = text(answer("/debug/vars")).await;
    assert!(vars.starts_with("{\n\"Goroutines2\": "), "{vars}");
    let vars: Value = serde_json::from_str(&vars).unwrap();
    assert!(vars["cmdline"].is_array() && vars["memstats"]["Sys"].is_u64());
    assert_eq!(answer("/debug/pprof/heap").status(), StatusCode::NOT_FOUND);
    assert!(text(answer("/debug/pprof/")).await.contains("Go"));
}

#[tokio::test]
async fn only_get_is_answered() {
    let api = site().api();
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder().method(&method).uri("/api/version");
        let response = api.answer(&request.body(Body::empty()).unwrap());

        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert!(!response.headers().contains_key(ALLOW));
        assert_eq!(text(response).await, "");
    }
}

#[test]
fn the_root_leads_to_the_dashboard_below_the_prefix_that_was_cut() {
    let api = site().api();
    let mut request = get("/");
    assert_eq!(api.answer(&request).headers()[LOCATION], "/dashboard/");

    request.headers_mut().insert("x-forwarded-prefix", "/p".parse().unwrap());

    assert_eq!(api.answer(&request).headers()[LOCATION], "/p/dashboard/");
}

#[test]
fn pages_forbid_what_they_do_not_need() {
    let api = site().api();
    for path in
        ["/dashboard/", "/dashboard/routers", "/dashboard/nosuch", "/dashboard/static/app.js"]
    {
        let response = api.answer(&get(path));
        let policy = &response.headers()[CONTENT_SECURITY_POLICY];
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
    }
}

/// Pages with everything on them.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = [
        "",
        "routers",
        "services",
        "middlewares",
        "problems",
        "search?q=script",
        "search",
        "routers?search=nothing",
        "routers?status=disabled&sort=rule&order=desc",
        "problems?search=network",
        "services?page=99",
        "routers/userservice@docker",
        "routers/admin@file",
        "routers/canary@file",
        "routers/broken@docker",
        "routers/api@internal",
        "services/userservice@docker",
        "services/canary@file",
        "services/music-service@docker",
        "services/api@internal",
        "middlewares/admins@file",
        "middlewares/guarded@file",
    ]
    .map(|page| format!("/dashboard/{page}"))
    .into();
    for kind in ["routers", "services"] {
        pages.push(format!("/dashboard/{kind}/{}", encode(&format!("{HOSTILE}@docker"))));
    }
    pages
}

#[tokio::test]
async fn pages_show_what_users_wrote_as_text_only() {
    let api = site().api();
    for page in pages() {
        let response = api.answer(&get(&page));
        assert_eq!(response.status(), StatusCode::OK, "{page}");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        let html = text(response).await;
        assert!(html.contains("</html>"), "{page}");
        for forbidden in ["<script>", "<img src=x", "<b>x</b>", " style=", " onclick="] {
            assert!(!html.contains(forbidden), "{page} has {forbidden}");
        }
    }
}

#[tokio::test]
async fn a_password_hash_is_on_no_page() {
    let api = site().api();
    for page in ["/dashboard/middlewares/admins@file", "/dashboard/routers/admin@file"] {
        let html = text(api.answer(&get(page))).await;
        assert!(html.contains("<code>joe</code>"), "{page}");
        assert!(!html.contains("apr1"), "{page}");
    }
}

#[tokio::test]
async fn the_way_of_a_request_names_each_piece_and_where_it_was_declared() {
    let html = text(site().api().answer(&get("/dashboard/routers/userservice@docker"))).await;

    for piece in [
        "websecure",
        "path begins with",
        "secure-headers@file",
        "wharf/<wbr>dynamic.<wbr>yml:12:3",
        "userservice-strip@docker",
        "traefik.<wbr>http.<wbr>routers.<wbr>userservice.<wbr>rule",
        "musicshare-userservice-3",
        "172.18.0.11:8002",
        "sticky by cookie userservice_session",
    ] {
        assert!(html.contains(piece), "{piece}");
    }
}

#[tokio::test]
async fn a_name_that_nothing_has_gets_a_page_that_says_so() {
    let response = site().api().answer(&get("/dashboard/routers/nosuch@docker"));

    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(text(response).await.contains("There is no router"));
}

#[tokio::test]
async fn the_theme_comes_from_the_cookie() {
    let mut request = get("/dashboard/");
    request.headers_mut().insert(COOKIE, "a=b; wharf-theme=dark".parse().unwrap());

    assert!(text(site().api().answer(&request)).await.contains("data-theme=\"dark\""));
}

/// Writes the pages into the folder named by `WHARF_PAGES`, to look at them in a browser
/// while working on their style.
#[tokio::test]
async fn pages_can_be_written_to_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = std::env::var_os("WHARF_PAGES").map(std::path::PathBuf::from);
    let folder = wanted.unwrap_or_else(|| folder.path().to_owned());
    let site = site();
    site.run_traffic();
    let api = site.api();
    for page in pages() {
        let html = text(api.answer(&get(&page))).await;
        let html = html.replace("../static", "static").replace("./static", "static");
        let file = page.trim_start_matches("/dashboard/").replace(['/', '?', '%', '&'], "_");
        std::fs::write(folder.join(format!("{file}_.html")), html).unwrap();
    }
    for asset in ["app.css", "app.js", "logo.svg"] {
        let response = api.answer(&get(&format!("/dashboard/static/{asset}")));
        std::fs::create_dir_all(folder.join("static")).unwrap();
        std::fs::write(folder.join("static").join(asset), text(response).await).unwrap();
    }
}
