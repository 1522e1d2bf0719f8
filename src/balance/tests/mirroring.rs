//! Mirroring services.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;

fn settings_of(main: &Arc<Service>, mirrors: Vec<(Arc<Service>, u8)>) -> MirroringSettings {
    MirroringSettings {
        main: Arc::clone(main),
        mirrors,
        copies_bodies: true,
        max_body: None,
        dropped: Arc::default(),
    }
}

/// Whole requests are copied, bodies included.
pub(super) fn over(main: &Arc<Service>, mirrors: Vec<(Arc<Service>, u8)>) -> Arc<Service> {
    made(settings_of(main, mirrors))
}

fn made(settings: MirroringSettings) -> Arc<Service> {
    Service::mirroring("m@file".into(), settings, Requests::off(), None)
}

fn to(fake: &Fake) -> Arc<Service> {
    service(settings(vec![server(&fake.url)]))
}

#[test]
fn each_mirror_gets_its_percentage_of_the_requests() {
    on_worker(async {
        let fakes = [Fake::saying("m").await, Fake::saying("a").await, Fake::saying("b").await];
        let [main, a, b] = fakes.each_ref().map(to);
        let service = over(&main, vec![(a, 30), (b.clone(), 100), (b, 0)]);

        for _ in 0..40 {
            assert_eq!(text(ask(&service, get("/")).await).await, "m");
        }

        eventually("all copies came", || fakes.each_ref().map(Fake::seen) == [40, 12, 40]).await;
    });
}

#[test]
fn percentages_go_on_over_changes_of_the_settings() {
    on_worker(async {
        let fakes = [Fake::saying("m").await, Fake::saying("a").await];
        let [main, a] = fakes.each_ref().map(to);
        let mut service = over(&main, vec![(a.clone(), 10)]);

        for _ in 0..20 {
            text(ask(&service, get("/")).await).await;
            let settings = settings_of(&main, vec![(a.clone(), 10)]);
            service =
                Service::mirroring("m@file".into(), settings, Requests::off(), Some(&service));
        }
        text(ask(&over(&main, vec![(a.clone(), 100)]), get("/last")).await).await;

        let has_last = || fakes[1].requests.borrow().iter().any(|r| r.starts_with("GET /last"));
        eventually("the last copy came", has_last).await;
        assert_eq!(fakes[1].seen(), 3);
    });
}

#[test]
fn bodies_are_copied_up_to_the_limit() {
    on_worker(async {
        for (copies_bodies, max_body, body, copy) in [
            (true, None, "hello", Some("hello")),
            (true, Some(5), "hello", Some("hello")),
            (true, Some(4), "hello", None),
            (true, Some(0), "", Some("")),
            (false, None, "hello", Some("")),
            (false, Some(0), "hello", Some("")),
        ] {
            let fakes = [Fake::saying("m").await, Fake::saying("a").await];
            let [main, a] = fakes.each_ref().map(to);
            let service = made(MirroringSettings {
                copies_bodies,
                max_body,
                ..settings_of(&main, vec![(a.clone(), 100)])
            });
            for in_two_frames in [false, true] {
                let mut request = post(body);
                request.headers_mut().insert("x-one", "1".parse().unwrap());
                if in_two_frames && let Some((first, rest)) = body.split_at_checked(2) {
                    *request.body_mut() = Body::from(rest).after(first.into());
                }
                assert_eq!(text(ask(&service, request).await).await, "m");
            }
            text(ask(&over(&main, vec![(a, 100)]), get("/last")).await).await;

            let seen = &fakes[1].requests;
            let is_last = |request: &String| request.starts_with("GET /last");
            eventually("the last copy came", || seen.borrow().iter().any(is_last)).await;
            let wanted = if copy.is_some() { 3 } else { 1 };
            eventually("all copies came", || seen.borrow().len() == wanted).await;
            for request in seen.borrow().iter().filter(|request| !is_last(request)) {
                let (head, sent) = request.split_once("\r\n\r\n").unwrap();
                assert!(head.contains("X-One: 1"), "{head}");
                assert_eq!(Some(sent), copy, "{copies_bodies} {max_body:?}");
            }
        }
    });
}

#[test]
fn a_dead_or_hanging_mirror_costs_the_client_nothing() {
    on_worker(async {
        let main = Fake::saying("m").await;
        let hanging = Fake::new(|_, _| Act::Hang).await;
        let dead = service(settings(vec![server(&refusing().await)]));
        let service = over(&to(&main), vec![(dead, 100), (to(&hanging), 100)]);

        for _ in 0..20 {
            assert_eq!(text(ask(&service, post("x")).await).await, "m");
        }

        eventually("copies reach the mirror that hangs", || hanging.seen() > 0).await;
    });
}

/// Answers with a body that never ends.
struct Endless;

impl crate::message::Handler for Endless {
    fn handle(&self, _: &Exchange, _: Request<Body>) -> Response<Body> {
        let nothing = futures_util::stream::pending();
        Response::new(Body::boxed(http_body_util::StreamBody::new(nothing)))
    }
}

#[test]
fn copies_on_their_way_are_bounded_and_those_not_made_counted() {
    on_worker(async {
        let main = Fake::saying("m").await;
        let dropped = Arc::<AtomicU64>::default();
        let endless = Service::internal("e@file".into(), Arc::new(Endless), Requests::off());
        let mirrors = (0..60).map(|_| (endless.clone(), 100)).collect();
        let settings = settings_of(&to(&main), mirrors);
        let service = made(MirroringSettings { dropped: Arc::clone(&dropped), ..settings });

        for _ in 0..20 {
            text(ask(&service, get("/")).await).await;
        }

        assert_eq!(dropped.load(Relaxed), 200);
    });
}

#[test]
fn a_request_that_its_client_gave_up_is_not_copied() {
    on_worker(async {
        let hanging = Fake::new(|_, _| Act::Hang).await;
        let mirror = Fake::saying("a").await;
        let service = over(&to(&hanging), vec![(to(&mirror), 100)]);

        let given_up = async {
            let _ = ask(&service, get("/")).await;
        };
        tokio::select! {
            () = given_up => panic!("answered"),
            () = eventually("it is on its way", || hanging.seen() == 1) => {}
        }
        text(ask(&over(&to(&mirror), Vec::new()), get("/last")).await).await;

        assert_eq!(mirror.seen(), 1);
    });
}
