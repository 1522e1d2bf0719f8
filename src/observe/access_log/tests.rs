use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::*;
use crate::message::{Connection, EntryPoint, Protocol, Served};
use crate::settings::{AccessLogFields, FieldMode};

fn exchange() -> Exchange {
    let entry_point = EntryPoint {
        name: "web".into(),
        index: 0,
        port: 80,
        trusted: Some(Box::default()),
        keep_forwarded_for: false,
        connection_fields: Box::default(),
        sanitize_path: true,
        encode_query_semicolons: false,
        refused_escapes: Box::default(),
        aliases: crate::message::Aliases::Keep,
        is_admin: false,
    };
    let connection = Connection {
        entry_point: Arc::new(entry_point),
        peer: "192.0.2.7:4711".parse().unwrap(),
        local: "192.0.2.1:80".parse().unwrap(),
        peer_value: http::HeaderValue::from_static("192.0.2.7"),
        tls: None,
        trusted: false,
        worker: 0,
        requests: Cell::new(1),
    };
    Exchange {
        connection: Rc::new(connection),
        started: Instant::now(),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_245_083),
        protocol: Protocol::Http,
        secure: false,
        host: "a.test".into(),
        suppress_forwarded_for: false,
        upgrade: None,
        until_tunnel_ends: Vec::new(),
        informational: None,
        user: None,
        trace: None,
        counted: true,
        served: Served {
            server: Some("http://172.18.0.3:80".into()),
            server_address: Some("172.18.0.3:80".into()),
            origin_status: Some(200),
            first_byte: Some(Duration::from_millis(4)),
            ..Served::default()
        },
    }
}

fn written(settings: &settings::AccessLog, target: &str) -> String {
    written_of(settings, target, None)
}

fn written_of(settings: &settings::AccessLog, target: &str, forwarded_for: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let settings =
        settings::AccessLog { file_path: path.to_str().unwrap().to_owned(), ..settings.clone() };
    let (log, problems) = AccessLog::start(&settings, None, Tally::default()).unwrap();
    assert!(problems.is_empty());
    let exchange = exchange();
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", "curl/8".parse().unwrap());
    let captured = log.capture(&headers);
    let none = Captured::default();
    log.log(&Line {
        forwarded_for,
        exchange: &exchange,
        method: "GET",
        target,
        version: Version::HTTP_11,
        host: "a.test:8080",
        router: Some("web@docker"),
        service: Some("web-shop@docker"),
        status: 200,
        request_bytes: 0,
        response_bytes: 271,
        duration: Duration::from_millis(46),
        request_headers: &captured,
        origin_headers: &none,
        response_headers: &none,
    });
    log.close();
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn the_common_format_is_traefiks() {
    let line = written(&settings::AccessLog::default(), "/x?y=1");

    assert_eq!(
        line,
        "192.0.2.7 - - [21/Nov/2026:07:11:23 +0000] \"GET /x?y=1 HTTP/1.1\" 200 271 \"-\" \"-\" \
         1 \"web@docker\" \"http://172.18.0.3:80\" 46ms\n"
    );
}

#[test]
fn a_dropped_field_is_a_dash_in_the_common_format() {
    let mut fields = AccessLogFields { default_mode: FieldMode::Drop, ..Default::default() };
    fields.names.insert("requestpath".to_owned(), FieldMode::Keep);
    // Fields can't be redacted: they have the default.
    fields.names.insert("RouterName".to_owned(), FieldMode::Redact);
    let settings = settings::AccessLog { fields, ..Default::default() };

    assert_eq!(
        written(&settings, "/x?y=1"),
        "- - - [-] \"- /x?y=1 -\" - - \"-\" \"-\" - \"-\" \"-\" 0ms\n"
    );
    let json = settings::AccessLog { format: "json".to_owned(), ..settings };
    let line = written(&json, "/x");
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), ["RequestPath", "level", "msg", "time"]);
}

#[test]
fn the_client_is_whom_trusted_proxies_name() {
    let line = written_of(&settings::AccessLog::default(), "/", Some("203.0.113.9"));

    assert!(line.starts_with("203.0.113.9 - - "), "{line}");
}

#[test]
fn a_request_can_not_forge_a_line() {
    let line = written(&settings::AccessLog::default(), "/\" 200 1\n10.0.0.1");

    assert_eq!(line.lines().count(), 1);
    assert!(line.contains(r"/\x22 200 1\x0a10.0.0.1"), "{line}");
}

#[test]
fn json_holds_traefiks_fields_sorted_and_drops_what_is_told() {
    let mut fields = AccessLogFields::default();
    fields.names.insert("ClientUsername".to_owned(), FieldMode::Drop);
    fields.headers.default_mode = FieldMode::Keep;
    fields.query_parameters.default_mode = FieldMode::Drop;
    let settings = settings::AccessLog { format: "json".to_owned(), fields, ..Default::default() };

    let line = written(&settings, "/a&b?secret=1");
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();

    assert!(line.contains("\"RequestPath\":\"/a\\u0026b\""), "{line}");
    let keys: Vec<_> = object.keys().cloned().collect();
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(keys, sorted);
    assert!(!object.contains_key("ClientUsername"));
    for (key, value) in [
        ("Duration", serde_json::json!(46_000_000)),
        ("Overhead", serde_json::json!(42_000_000)),
        ("RequestHost", serde_json::json!("a.test")),
        ("RequestPort", serde_json::json!("8080")),
        ("RouterName", serde_json::json!("web@docker")),
        ("ServiceURL", serde_json::json!("http://172.18.0.3:80")),
        ("entryPointName", serde_json::json!("web")),
        ("request_User-Agent", serde_json::json!("curl/8")),
        ("StartUTC", serde_json::json!("2026-11-21T07:11:23Z")),
    ] {
        assert_eq!(object.get(key), Some(&value), "{key}");
    }
}
