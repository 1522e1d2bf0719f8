use http::Method;

use super::*;
use crate::message::plain;
use crate::middleware::testing::{self, Reply};

type Fields = &'static [(&'static str, &'static str)];

fn map(fields: Fields) -> std::collections::BTreeMap<String, String> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// The fields of the answer that the client gets, and the request that the server got.
fn run(
    settings: &Settings,
    request: Request<Body>,
    answer: Fields,
) -> (Vec<String>, Option<Request<Body>>) {
    let step = Step::build(settings).unwrap();
    let mut response = plain(http::StatusCode::OK, "OK");
    for (name, value) in answer {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    let passed = match testing::ask(&step, request) {
        Reply::Answer(answer) => {
            response = answer;
            None
        }
        Reply::Next(request) => Some(request),
        Reply::After(request, memo) => {
            step.response(memo, &mut response);
            Some(request)
        }
    };
    let lines = response.headers().iter();
    let mut lines: Vec<_> =
        lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    (lines, passed)
}

fn preflight(origin: &str) -> Request<Body> {
    let fields = [
        ("origin", origin),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-q, x-r"),
    ];
    let mut request = testing::get("http://h/", &fields);
    *request.method_mut() = Method::OPTIONS;
    request
}

fn full_cors() -> Settings {
    Settings {
        access_control_allow_origin_list: list(&["http://a"]),
        access_control_allow_methods: list(&["GET", "PUT"]),
        access_control_allow_headers: list(&["X-A", "X-B"]),
        access_control_expose_headers: list(&["X-E", "X-F"]),
        access_control_max_age: 100,
        access_control_allow_credentials: true,
        add_vary_header: true,
        ..Settings::default()
    }
}

fn starred(credentials: bool) -> Settings {
    Settings {
        access_control_allow_origin_list: list(&["*"]),
        access_control_allow_methods: list(&["*", "GET"]),
        access_control_allow_headers: list(&["*"]),
        access_control_expose_headers: list(&["*", "X"]),
        access_control_allow_credentials: credentials,
        ..Settings::default()
    }
}

#[test]
fn request_fields_are_set_and_removed() {
    let fields: Fields = &[
        ("X-A", "b"),
        ("X-Del", ""),
        ("Host", "other:81"),
        ("X-Forwarded-For", ""),
        ("Content-Length", "9"),
    ];
    let step =
        Step::build(&Settings { custom_request_headers: map(fields), ..Settings::default() });
    let mut exchange = Exchange::for_tests();
    let had = [("x-a", "1"), ("x-a", "2"), ("x-del", "1"), ("x-forwarded-for", "9.9.9.9")];

    let reply = testing::ask_with(&step.unwrap(), &mut exchange, testing::get("http://h/", &had));

    let Reply::After(request, _) = reply else { panic!("did not pass") };
    let lines: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    assert_eq!(lines, [("host", &b"other:81"[..]), ("x-a", b"b")]);
    assert!(exchange.suppress_forwarded_for);
}

#[test]
fn a_request_field_that_http_forbids_is_an_error() {
    for fields in [&[("X Bad", "b")] as Fields, &[("X-A", "a\r\nb")]] {
        let settings = Settings { custom_request_headers: map(fields), ..Settings::default() };

        assert!(Step::build(&settings).is_err());
    }
}

#[test]
fn the_users_fields_win_over_the_security_headers() {
    let settings = Settings {
        sts_seconds: 31_536_000,
        sts_include_subdomains: true,
        sts_preload: true,
        force_sts_header: true,
        frame_deny: true,
        content_type_nosniff: true,
        browser_xss_filter: true,
        content_security_policy: "default-src 'self'".into(),
        content_security_policy_report_only: "ro".into(),
        permissions_policy: "p".into(),
        referrer_policy: "no-referrer".into(),
        public_key: "pin".into(),
        custom_response_headers: map(&[
            ("X-Frame-Options", ""),
            ("x-lower", "v"),
            ("Bad Name", "x"),
            ("Referrer-Policy", "mine"),
            ("Transfer-Encoding", "gzip"),
        ]),
        ..Settings::default()
    };
    let answer: Fields = &[("referrer-policy", "backend"), ("x-frame-options", "b")];

    let (lines, _) = run(&settings, testing::get("http://h/", &[]), answer);

    let expected = [
        "content-security-policy-report-only: ro",
        "content-security-policy: default-src 'self'",
        "permissions-policy: p",
        "referrer-policy: mine",
        "strict-transport-security: max-age=31536000; includeSubDomains; preload",
        "x-content-type-options: nosniff",
        "x-lower: v",
        "x-xss-protection: 1; mode=block",
    ];
    assert_eq!(lines, expected);
    assert_eq!(Step::remarks(&settings).len(), 2);
}

#[test]
fn what_is_for_tls_is_sent_over_tls() {
    let settings = Settings {
        sts_seconds: 10,
        ssl_proxy_headers: map(&[("X-Forwarded-Proto", "https")]),
        custom_frame_options_value: "SAMEORIGIN".into(),
        frame_deny: true,
        custom_browser_xss_value: "v".into(),
        public_key: "pin".into(),
        ..Settings::default()
    };
    let plain = ["x-frame-options: SAMEORIGIN", "x-xss-protection: v"];
    let more = ["public-key-pins: pin", "strict-transport-security: max-age=10"];

    let (lines, _) = run(&settings, testing::get("/", &[("x-forwarded-proto", "http")]), &[]);
    assert_eq!(lines, plain);

    let (lines, _) = run(&settings, testing::get("/", &[("x-forwarded-proto", "https")]), &[]);
    assert_eq!(lines, [more, plain].concat());

    let settings = Settings { is_development: true, ..settings };
    let (lines, _) = run(&settings, testing::get("/", &[("x-forwarded-proto", "https")]), &[]);
    assert_eq!(lines, plain);
}

#[test]
fn only_allowed_hosts_are_served() {
    let mut settings = Settings {
        allowed_hosts: list(&["h", "ok.test"]),
        hosts_proxy_headers: list(&["X-My-Host"]),
        ..Settings::default()
    };
    for (url, field, passes) in [
        ("http://h/", "", true),
        ("http://H/", "", true),
        ("http://h:80/", "", false),
        ("http://x/", "", false),
        ("http://x/", "OK.test", true),
        ("http://h/", "bad", false),
    ] {
        let (lines, passed) = run(&settings, testing::get(url, &[("x-my-host", field)]), &[]);

        assert_eq!(passed.is_some(), passes, "{url} {field}");
        if !passes {
            let error =
                ["content-type: text/plain; charset=utf-8", "x-content-type-options: nosniff"];
            assert_eq!(lines, error);
        }
    }
    settings.is_development = true;
    assert!(run(&settings, testing::get("http://x/", &[]), &[]).1.is_some());
}

#[test]
fn a_preflight_is_answered_and_not_sent_on() {
    let common = [
        "access-control-allow-credentials: true",
        "access-control-allow-headers: X-A,X-B",
        "access-control-allow-methods: GET,PUT",
        "access-control-allow-origin: http://a",
        "access-control-expose-headers: X-E,X-F",
        "access-control-max-age: 100",
        "content-length: 0",
    ];
    let (lines, passed) = run(&full_cors(), preflight("http://a"), &[]);
    assert!(passed.is_none());
    assert_eq!(lines, common);

    let (lines, passed) = run(&full_cors(), preflight("http://other"), &[]);
    assert!(passed.is_none());
    assert!(!lines.iter().any(|line| line.starts_with("access-control-allow-origin")));
}

#[test]
fn options_without_the_preflights_fields_go_to_the_server() {
    let mut request = preflight("http://a");
    request.headers_mut().remove(header::ORIGIN);

    assert!(run(&full_cors(), request, &[]).1.is_some());
}

#[test]
fn other_answers_say_who_may_read_them() {
    for (settings, origin, vary, expected) in [
        (
            full_cors(),
            "http://a",
            Some("Accept"),
            vec![
                "access-control-allow-credentials: true",
                "access-control-allow-origin: http://a",
                "access-control-expose-headers: X-E,X-F",
                "vary: Accept,Origin",
            ],
        ),
        (
            full_cors(),
            "http://b",
            None,
            vec![
                "access-control-allow-credentials: true",
                "access-control-expose-headers: X-E,X-F",
                "vary: Origin",
            ],
        ),
        (
            starred(false),
            "http://b",
            None,
            vec!["access-control-allow-origin: *", "access-control-expose-headers: *,X"],
        ),
        (
            starred(true),
            "http://b",
            None,
            vec!["access-control-allow-credentials: true", "access-control-allow-origin: http://b"],
        ),
    ] {
        let answer: Fields = match vary {
            Some(_) => &[("vary", "Accept")],
            None => &[],
        };

        let (lines, _) = run(&settings, testing::get("/", &[("origin", origin)]), answer);

        assert_eq!(lines, expected);
    }
}

#[test]
fn stars_with_credentials_echo_what_was_asked_for() {
    let (lines, _) = run(&starred(true), preflight("http://ax"), &[]);

    let expected = [
        "access-control-allow-credentials: true",
        "access-control-allow-headers: x-q, x-r",
        "access-control-allow-methods: PUT",
        "access-control-allow-origin: http://ax",
        "content-length: 0",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn origins_may_be_patterns_that_are_not_anchored() {
    let settings = Settings {
        access_control_allow_origin_list_regex: list(&["^http://.*x$", "shop"]),
        ..Settings::default()
    };
    for (origin, allowed) in [("http://ax", true), ("https://shop.test", true), ("http://a", false)]
    {
        let (lines, _) = run(&settings, testing::get("/", &[("origin", origin)]), &[]);

        assert_eq!(!lines.is_empty(), allowed, "{origin}");
    }
}

#[test]
fn an_option_without_effect_still_makes_a_middleware() {
    let all = [
        Settings { ssl_redirect: Some(true), ..Settings::default() },
        Settings { ssl_temporary_redirect: Some(true), ..Settings::default() },
        Settings { ssl_force_host: Some(true), ..Settings::default() },
        Settings { ssl_host: Some("h.test".to_owned()), ..Settings::default() },
        Settings { feature_policy: Some("vibrate 'none'".to_owned()), ..Settings::default() },
    ];
    for settings in all {
        let (lines, _) = run(&settings, testing::get("/", &[]), &[]);

        assert!(lines.is_empty(), "{settings:?}: {lines:?}");
    }
}

#[test]
fn nothing_set_is_an_error_in_traefiks_words() {
    let nothing = Settings { ssl_redirect: Some(false), frame_deny: false, ..Settings::default() };
    let nothing = Step::build(&nothing).err();
    assert_eq!(nothing.as_deref(), Some("headers configuration not valid"));

    let broken =
        Settings { access_control_allow_origin_list_regex: list(&["("]), ..Settings::default() };
    let text = "error occurred during origin parsing: error parsing regexp: missing closing ): `(`";
    assert_eq!(Step::build(&broken).err().as_deref(), Some(text));
}
