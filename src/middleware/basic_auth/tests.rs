use std::io::Write;

use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};

use super::*;
use crate::middleware::testing::{self, Reply};

const SHA: &str = "joe:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=";
const APR1: &str = "kim:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/";
const BCRYPT: &str = "ann:$2y$04$77frvl1m4EXMFejngvruF.YZmTGiHm//YzHK1gidNFYxQ74BHclbW";

fn settings(users: &[&str]) -> Settings {
    Settings { users: users.iter().map(ToString::to_string).collect(), ..Settings::default() }
}

fn request(authorization: &str) -> Request<Body> {
    testing::get("/", &[("authorization", authorization)])
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// Asks as the chain does; the request that passed, or the refusal.
async fn ask(
    step: &Step,
    exchange: &mut Exchange,
    mut request: Request<Body>,
) -> Result<Request<Body>, Response<Body>> {
    match step.request(exchange, &mut request) {
        Flow::Next => Ok(request),
        Flow::Respond(response) => Err(response),
        Flow::Wait => step.wait(exchange, &mut request).await.map(|()| request),
        Flow::After(_) | Flow::Around => panic!("it has nothing to do with answers"),
    }
}

#[tokio::test]
async fn the_right_password_passes_and_every_other_is_refused() {
    let step = Step::build(&settings(&[SHA, APR1, BCRYPT, "plain:password"])).unwrap();
    for (pair, passes) in [
        ("joe:test", true),
        ("joe:x", false),
        ("joe:", false),
        ("kim:test", true),
        ("kim:test2", false),
        ("ann:test", true),
        ("ann:tes", false),
        ("zed:test", false),
        ("plain:password", false),
        ("joe", false),
    ] {
        let mut exchange = Exchange::for_tests();
        // Twice: the second time from memory.
        for _ in 0..2 {
            let answer = ask(&step, &mut exchange, request(&basic(pair))).await;

            assert_eq!(answer.is_ok(), passes, "{pair}");
        }
    }
}

#[tokio::test]
async fn a_password_that_passed_is_not_hashed_again_and_no_other_user_gains_by_it() {
    let step = Step::build(&settings(&[BCRYPT])).unwrap();
    let mut exchange = Exchange::for_tests();
    let first = testing::flow(&step, &mut exchange, request(&basic("ann:test")));
    assert!(matches!(first, Flow::Wait));

    assert!(ask(&step, &mut exchange, request(&basic("ann:test"))).await.is_ok());

    let again = testing::flow(&step, &mut exchange, request(&basic("ann:test")));
    assert!(matches!(again, Flow::Next));
    // An unknown user is compared with Ann's secret, yet must not pass with her password.
    assert!(ask(&step, &mut exchange, request(&basic("eve:test"))).await.is_err());
}

#[test]
fn an_unknown_user_is_checked_like_a_known_one() {
    let step = Step::build(&settings(&[SHA, BCRYPT])).unwrap();

    let flow = testing::flow(&step, &mut Exchange::for_tests(), request(&basic("eve:test")));

    assert!(matches!(flow, Flow::Wait));
}

#[test]
fn sec_a_hash_that_takes_hours_to_check_is_refused_at_once() {
    for (cost, is_taken) in [("17", true), ("18", false), ("31", false)] {
        let user = BCRYPT.replace("$04$", &format!("${cost}$"));

        assert_eq!(Step::build(&settings(&[SHA, &user])).is_ok(), is_taken, "{cost}");
    }
}

#[test]
fn a_refusal_says_what_is_asked_for() {
    let step = Step::build(&Settings { realm: "my \"r\"".into(), ..settings(&[SHA]) }).unwrap();
    for request in [testing::get("/", &[]), request("Bearer x"), request("Basic ?"), request("")] {
        let Reply::Answer(response) = testing::ask(&step, request) else { panic!("passed") };

        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Basic realm=\"my \\\"r\\\"\"");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
    }
    let default = Step::build(&settings(&[SHA])).unwrap();
    assert_eq!(default.0.challenge, "Basic realm=\"traefik\"");
}

#[test]
fn the_user_is_named_by_the_proxy_alone() {
    let named = Settings { header_field: "X-User".into(), remove_header: true, ..settings(&[SHA]) };
    let step = Step::build(&named).unwrap();
    let mut exchange = Exchange::for_tests();
    let fields = [
        ("authorization", basic("joe:test")),
        ("x-user", "evil".to_owned()),
        ("x_user", "evil".to_owned()),
        ("x-users", "other".to_owned()),
    ];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));

    let Reply::Next(request) = testing::ask_with(&step, &mut exchange, testing::get("/", &fields))
    else {
        panic!("refused")
    };

    let lines: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    assert_eq!(lines, [("x-user", &b"joe"[..]), ("x-users", b"other")]);
    assert_eq!(exchange.user.as_deref(), Some("joe"));
}

#[test]
fn the_scheme_is_read_without_case_and_the_name_of_a_refused_user_is_logged() {
    let step = Step::build(&settings(&[SHA])).unwrap();
    let mut exchange = Exchange::for_tests();
    let lower = basic("joe:test").replace("Basic", "basic");
    assert!(matches!(testing::ask_with(&step, &mut exchange, request(&lower)), Reply::Next(_)));

    let wrong = testing::ask_with(&step, &mut exchange, request(&basic("bob:test")));

    assert!(matches!(wrong, Reply::Answer(_)));
    assert_eq!(exchange.user.as_deref(), Some("bob"));
}

#[test]
fn users_come_from_a_file_and_the_settings() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# people\n\n  {SHA}  \nkim:{{SHA}}x\n").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let step = Step::build(&Settings {
        users_file: path,
        ..settings(&["kim:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="])
    })
    .unwrap();

    for pair in ["joe:test", "kim:test"] {
        assert!(matches!(testing::ask(&step, request(&basic(pair))), Reply::Next(_)), "{pair}");
    }
}

#[test]
fn wrong_settings_are_told_without_showing_what_a_file_holds() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# x\ntopsecret").unwrap();
    let path = file.path().to_str().unwrap();
    let directory = file.path().parent().unwrap().to_str().unwrap();
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().to_str().unwrap();
    for (users, file, error) in [
        (&[][..], "", "no users found in ".to_owned()),
        (&["joe"], "", "error parsing BasicUser: joe".to_owned()),
        (&["joe:a:b"], "", "error parsing BasicUser: joe:a:b".to_owned()),
        (&[], "/nonexistent", "open /nonexistent: no such file or directory".to_owned()),
        (&[], "/proc/version", "open /proc/version: not a place for such a file".to_owned()),
        (&[], "/dev/zero", "open /dev/zero: not a place for such a file".to_owned()),
        (&[], directory, format!("open {directory}: not a regular file")),
        (&[], path, format!("error parsing BasicUser: line 2 of {path}")),
        (&[], empty, format!("no users found in {empty}")),
    ] {
        let settings = Settings { users_file: file.into(), ..settings(users) };

        assert_eq!(Step::build(&settings).err(), Some(error));
    }
}

#[test]
fn a_password_of_unlikely_length_is_not_hashed() {
    let step = Step::build(&settings(&[BCRYPT])).unwrap();
    let pair = format!("ann:{}", "x".repeat(LONGEST + 1));

    assert!(matches!(testing::ask(&step, request(&basic(&pair))), Reply::Answer(_)));
}
