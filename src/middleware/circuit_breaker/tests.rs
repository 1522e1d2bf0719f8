use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::balance::Service;
use crate::message::Handler;
use crate::middleware::{Chain, Link, Spec};
use crate::observe::Requests;

const MILLI: u64 = 1_000_000;

fn settings(expression: &str) -> Settings {
    Settings { expression: expression.to_owned(), ..Settings::default() }
}

fn step(expression: &str) -> Step {
    Step::build(&settings(expression)).unwrap()
}

/// Answers one after the other, each a second after the one before.
struct Answers<'a>(&'a Step, Cell<u64>);

impl Answers<'_> {
    fn give(&self, status: u16, is_network_error: bool, millis: u64) -> Option<Change> {
        let now = self.1.get();
        self.1.set(now + 1000 * MILLI);
        self.0.answered(0, now, Sample { status, is_network_error, latency: millis * 1000 })
    }
}

#[test]
fn it_opens_when_the_condition_holds() {
    for (expression, status, is_network_error, millis, opens) in [
        ("NetworkErrorRatio() > 0.3", 502, true, 1, true),
        ("NetworkErrorRatio() > 0.3", 502, false, 1, false),
        ("ResponseCodeRatio(500, 600, 0, 600) > 0.3", 502, false, 1, true),
        ("ResponseCodeRatio(500, 502, 0, 600) > 0.3", 502, false, 1, false),
        ("ResponseCodeRatio(500, 600, 400, 500) > 0.3", 500, false, 1, false),
        ("LatencyAtQuantileMS(90.0) > 100", 200, false, 150, true),
        ("LatencyAtQuantileMS(40.0) > 100", 200, false, 150, false),
        ("NetworkErrorRatio() > 0.3 || LatencyAtQuantileMS(90.0) > 100", 200, false, 150, true),
        ("NetworkErrorRatio() > 0.3 && LatencyAtQuantileMS(90.0) > 100", 200, false, 150, false),
    ] {
        let step = step(expression);
        let answers = Answers(&step, Cell::default());

        assert_eq!(answers.give(200, false, 1), None, "{expression}");
        let change = answers.give(status, is_network_error, millis);

        assert_eq!(change, opens.then_some(Change::Opened), "{expression}");
        assert_eq!(step.state.admit(answers.1.get()).0, !opens, "{expression}");
    }
}

#[test]
fn the_condition_is_looked_at_once_per_period() {
    let step = step("NetworkErrorRatio() > 0.5");
    let answer = |now, is_network_error| {
        step.answered(0, now * MILLI, Sample { status: 502, is_network_error, latency: 1 })
    };

    assert_eq!(answer(0, false), None);
    assert_eq!(answer(1, true), None);
    assert_eq!(answer(99, true), None, "two of three, but it is not time");
    assert_eq!(answer(100, true), Some(Change::Opened));
}

#[test]
fn what_was_before_it_opened_does_not_count_any_more() {
    let step = step("ResponseCodeRatio(500, 600, 0, 600) > 0.4");
    let answers = Answers(&step, Cell::default());
    assert_eq!(answers.give(500, false, 1), Some(Change::Opened));
    assert_eq!(answers.give(500, false, 1), None, "it is open");
    answers.1.set(21_000 * MILLI);
    assert_eq!(step.state.admit(20_000 * MILLI).1, Some(Change::Recovering));

    assert_eq!(answers.give(200, false, 1), None);
    assert_eq!(answers.give(200, false, 1), None);
    assert_eq!(answers.give(500, false, 1), None, "one of three");
    assert_eq!(answers.give(500, false, 1), Some(Change::Opened), "two of four");
}

/// Answers with the status it is told.
struct Server(AtomicU16);

impl Handler for Server {
    fn handle(&self, _: &Exchange, _: Request<Body>) -> Response<Body> {
        plain(StatusCode::from_u16(self.0.load(Ordering::Relaxed)).unwrap(), "from the server")
    }
}

#[tokio::test]
async fn an_open_one_answers_in_place_of_the_service() {
    let settings = Settings {
        response_code: 418,
        check_period: GoDuration::from_nanos(1),
        ..settings("ResponseCodeRatio(500, 600, 0, 600) > 0.5")
    };
    let spec = Spec::CircuitBreaker(Box::new(settings));
    let step = Arc::new(crate::middleware::Step::build(&spec, None).unwrap());
    let chain = Chain::new(vec![Link { name: "b@file".into(), step, service: None }]);
    let server = Arc::new(Server(AtomicU16::new(200)));
    let handler = Arc::<Server>::clone(&server);
    let end = Service::internal("s".into(), handler, Requests::off());
    let mut exchange = Exchange::for_tests();
    let ask = async |exchange: &mut Exchange| {
        chain.run(exchange, Request::new(Body::empty()), &end).await.status().as_u16()
    };

    assert_eq!(ask(&mut exchange).await, 200);
    server.0.store(500, Ordering::Relaxed);
    assert_eq!(ask(&mut exchange).await, 500);
    assert_eq!(ask(&mut exchange).await, 500);
    server.0.store(200, Ordering::Relaxed);
    assert_eq!(ask(&mut exchange).await, 418);
}

#[test]
fn wrong_settings_are_told() {
    for (settings, error) in [
        (settings(""), "1:1: expected operand, found 'EOF'"),
        (settings("Foo() > 0.5"), "unsupported function: Foo"),
        (settings("NetworkErrorRatio() > 0"), "expected float64, got int 0 (write 0.0)"),
        (
            settings("LatencyAtQuantileMS(50) > 100"),
            "LatencyAtQuantileMS: expected float64, got int 50 (write 50.0)",
        ),
        (
            Settings { response_code: 1000, ..settings("NetworkErrorRatio() > 0.5") },
            "invalid HTTP status code 1000 as responseCode: use one of 200 to 999",
        ),
    ] {
        assert_eq!(Step::build(&settings).err().as_deref(), Some(error));
    }
}

#[test]
fn durations_of_nothing_are_the_defaults() {
    let none = GoDuration::default();
    let settings = Settings {
        check_period: none,
        fallback_duration: GoDuration::from_secs(-1),
        recovery_duration: none,
        ..settings("NetworkErrorRatio() > 0.5")
    };

    let step = Step::build(&settings).unwrap();

    assert_eq!(step.check_period, 100 * MILLI);
    step.state.open(0);
    assert!(!step.state.admit(9_999 * MILLI).0);
    assert_eq!(step.state.admit(10_000 * MILLI).1, Some(Change::Recovering));
}
