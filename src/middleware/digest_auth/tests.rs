use http::StatusCode;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};

use super::*;
use crate::middleware::testing::{self, Reply};

fn hash(name: &str, realm: &str, password: &str) -> String {
    format!("{name}:{realm}:{}", md5(&[name, realm, password]))
}

fn step() -> Step {
    let users = vec![hash("joe", "traefik", "pw"), hash("ann", "other", "pw")];
    Step::build(&Settings { users, ..Settings::default() }).unwrap()
}

/// What the client answers to a challenge; each part can be changed.
#[derive(Clone)]
struct Client<'a> {
    name: &'a str,
    password: &'a str,
    uri: &'a str,
    nc: &'a str,
    extra: &'a str,
    nonce: String,
    opaque: String,
}

fn parameter(challenge: &str, name: &str) -> String {
    let (_, rest) = challenge.split_once(&format!(" {name}=\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

impl Client<'_> {
    fn of(step: &Step) -> Self {
        let challenge = refused(step, testing::get("/", &[]));
        let (nonce, opaque) = (parameter(&challenge, "nonce"), parameter(&challenge, "opaque"));
        Self { name: "joe", password: "pw", uri: "/", nc: "00000001", extra: "", nonce, opaque }
    }

    fn field(&self) -> String {
        let Self { name, password, uri, nc, extra, nonce, opaque } = self;
        let secret = md5(&[name, "traefik", password]);
        let what = md5(&["GET", uri]);
        let response = md5(&[&secret, nonce, nc, "c", "auth", &what]);
        format!(
            "Digest username=\"{name}\", realm=\"traefik\", nonce=\"{nonce}\", uri=\"{uri}\", \
             cnonce=\"c\", nc={nc}, qop=auth, response=\"{response}\", opaque=\"{opaque}\"{extra}"
        )
    }
}

/// The challenge of a refusal.
fn refused(step: &Step, request: Request<Body>) -> String {
    let Reply::Answer(response) = testing::ask(step, request) else { panic!("passed") };
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
    response.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned()
}

/// What comes of a request with this field: passed, refused or stale.
fn outcome(step: &Step, target: &str, field: &str) -> &'static str {
    match testing::ask(step, testing::get(target, &[("authorization", field)])) {
        Reply::Next(_) => "passed",
        Reply::Answer(response) => {
            let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
            if challenge.contains("stale=\"true\"") { "stale" } else { "refused" }
        }
        Reply::After(..) => panic!("it has nothing to do with answers"),
    }
}

#[test]
fn the_challenge_is_traefiks() {
    let challenge = refused(&step(), testing::get("/", &[]));
    let (nonce, opaque) = (parameter(&challenge, "nonce"), parameter(&challenge, "opaque"));

    assert_eq!(
        challenge,
        format!(
            "Digest realm=\"traefik\", nonce=\"{nonce}\", opaque=\"{opaque}\", \
             algorithm=\"MD5\", qop=\"auth\""
        )
    );
    let other = refused(&step(), testing::get("/", &[]));
    assert_ne!(parameter(&other, "nonce"), nonce);
}

#[test]
fn the_right_answer_passes_and_every_other_is_refused() {
    for (change, wanted) in [
        ((|_| ()) as fn(&mut Client), "passed"),
        (|c| c.password = "no", "refused"),
        (|c| c.name = "eve", "refused"),
        // Of a realm that is not asked for.
        (|c| c.name = "ann", "refused"),
        (|c| c.nc = "00000000", "refused"),
        (|c| c.nc = "x", "refused"),
        (|c| c.nonce = "0000000000000001".into(), "stale"),
        (|c| c.opaque.clear(), "stale"),
        (|c| c.extra = ", algorithm=MD5", "passed"),
        (|c| c.extra = ", algorithm=\"MD5-sess\"", "refused"),
        (|c| c.extra = ", qop=auth-int", "refused"),
        (|c| c.extra = ", username=eve", "refused"),
        (|c| c.extra = ", response=\"\"", "refused"),
    ] {
        let step = step();
        let mut client = Client::of(&step);
        change(&mut client);

        assert_eq!(outcome(&step, "/", &client.field()), wanted, "{}", client.field());
    }
}

#[test]
fn sec_f8_an_unknown_user_does_not_pass_with_the_stand_in_of_its_hash() {
    let step = step();
    let Client { nonce, opaque, .. } = Client::of(&step);
    for secret in ["", DECOY] {
        let what = md5(&["GET", "/"]);
        let response = md5(&[secret, &nonce, "1", "c", "auth", &what]);
        let field = format!(
            "Digest username=\"eve\", nonce=\"{nonce}\", uri=\"/\", cnonce=\"c\", nc=1, qop=auth, \
             response=\"{response}\", opaque=\"{opaque}\""
        );

        assert_eq!(outcome(&step, "/", &field), "refused");
    }
}

#[test]
fn the_same_answer_passes_once() {
    let step = step();
    let mut client = Client::of(&step);

    assert_eq!(outcome(&step, "/", &client.field()), "passed");
    assert_eq!(outcome(&step, "/", &client.field()), "refused");
    client.nc = "00000002";
    assert_eq!(outcome(&step, "/", &client.field()), "passed");
    client.nc = "00000100";
    assert_eq!(outcome(&step, "/", &client.field()), "passed");
    client.nc = "00000003";
    assert_eq!(outcome(&step, "/", &client.field()), "stale");
}

#[test]
fn the_target_must_be_the_one_asked_for_or_the_start_of_its_path() {
    let step = step();
    for (target, uri, wanted) in [
        ("/x?a=1", "/x?a=1", "passed"),
        ("/x?a=1", "/x", "passed"),
        ("/x?a=1", "/x?b=2", "passed"),
        ("/xyz", "/x", "passed"),
        ("/x", "/xyz", "refused"),
        ("/x", "/y", "refused"),
        ("/x", "", "passed"),
        ("/x", "*", "refused"),
        ("/x", "http://a.test/x", "passed"),
        ("/x", "http://a.test?y", "passed"),
        ("/A", "/%41", "passed"),
        ("/x%2Fy", "/x%2fy", "passed"),
        ("/x", "%zz", "refused"),
        ("/x", "/x%4", "refused"),
    ] {
        let client = Client { uri, ..Client::of(&step) };

        assert_eq!(outcome(&step, target, &client.field()), wanted, "{uri} for {target}");
    }
}

#[test]
fn the_user_is_named_to_the_server_and_the_log() {
    let settings = Settings {
        users: vec![hash("joe", "traefik", "pw")],
        header_field: "X-User".into(),
        remove_header: true,
        ..Settings::default()
    };
    let step = Step::build(&settings).unwrap();
    let fields = [("authorization", &*Client::of(&step).field()), ("x_user", "evil")];
    let mut exchange = Exchange::for_tests();

    let Reply::Next(request) = testing::ask_with(&step, &mut exchange, testing::get("/", &fields))
    else {
        panic!("refused")
    };

    let lines: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    assert_eq!(lines, [("x-user", &b"joe"[..])]);
    assert_eq!(exchange.user.as_deref(), Some("joe"));

    let wrong = Client { password: "no", ..Client::of(&step) }.field();
    let mut exchange = Exchange::for_tests();
    let request = testing::get("/", &[("authorization", &wrong)]);
    assert!(matches!(testing::ask_with(&step, &mut exchange, request), Reply::Answer(_)));
    assert_eq!(exchange.user.as_deref(), Some("joe"));
}

#[test]
fn users_have_three_parts_and_none_is_fine() {
    for user in ["joe", "joe:x", "joe:a:b:c"] {
        let settings = Settings { users: vec![user.into()], ..Settings::default() };
        let error = format!("error parsing DigestUser: {user}");
        assert_eq!(Step::build(&settings).err(), Some(error));
    }
    let step = Step::build(&Settings::default()).unwrap();
    assert_eq!(outcome(&step, "/", &Client::of(&step).field()), "refused");
}

#[test]
fn a_user_that_cannot_pass_is_told() {
    let users =
        vec![hash("joe", "traefik", "pw"), hash("ann", "other", "pw"), "kim:traefik:pw".into()];
    let remarks = Step::remarks(&Settings { users, ..Settings::default() });

    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(remarks[0].contains("\"ann\" is of realm \"other\""), "{remarks:?}");
    assert!(remarks[1].contains("\"kim\" has no MD5"), "{remarks:?}");
}
