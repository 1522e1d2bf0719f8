use super::health::check;
use super::*;

fn failing() -> impl Fn(usize, &str) -> Act {
    |_, _| Act::Say(ok("").replace("200 OK", "500 Oh"))
}

#[test]
fn a_server_that_fails_where_the_others_do_not_is_left_alone_for_a_time() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await, Fake::new(failing()).await];
        let service = service(settings(fakes.iter().map(|fake| server(&fake.url)).collect()));
        let (_checks, _) = check(&service);
        let sick = Arc::clone(&service.replicas()[2]);

        while sick.state() == ReplicaState::Ready {
            ask(&service, get("/")).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }

        assert_eq!(sick.state(), ReplicaState::Ejected);
        // One that is on its way has not failed yet.
        let reason = sick.reason();
        assert!(reason.ends_with(" failed within 10 s, and 0% of the others'"), "{reason}");
        let seen = fakes[2].seen();
        for _ in 0..10 {
            assert_eq!(ask(&service, get("/")).await.status(), 200);
        }
        assert_eq!(fakes[2].seen(), seen);
        let changes = sick.changes();
        let last = changes.last().unwrap();
        assert_eq!((last.from, last.to), (ReplicaState::Ready, ReplicaState::Ejected));
    });
}

#[test]
fn one_that_is_out_is_brought_back_when_too_few_are_left() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let service = service(settings(vec![
            container(&fakes[0].url, "a", EngineState::Running),
            container(&fakes[1].url, "b", EngineState::Running),
        ]));
        let [well, sick] = service.replicas() else { panic!() };
        let until = Instant::now() + Duration::from_secs(60);

        assert!(service.eject(sick, until, "it fails".into()));
        assert!(!service.eject(well, until, "the last one".into()));
        well.set_engine(EngineState::Stopping);

        assert!(sick.is_ready());
        assert_eq!(text(ask(&service, get("/")).await).await, "b");
    });
}

#[test]
fn all_that_fail_alike_stay() {
    on_worker(async {
        let fakes = [Fake::new(failing()).await, Fake::new(failing()).await];
        let service = service(settings(fakes.iter().map(|fake| server(&fake.url)).collect()));
        let (_checks, _) = check(&service);

        let began = Instant::now();
        while began.elapsed() < 2 * crate::balance::outlier::TICK {
            assert_eq!(ask(&service, get("/")).await.status(), 500);
        }

        assert!(service.replicas().iter().all(|replica| replica.is_ready()));
    });
}

#[test]
fn where_it_is_switched_off_or_passive_checks_rule_nobody_is_ejected() {
    let passive =
        PassiveSettings { failure_window: Duration::from_secs(1), max_failed_attempts: 9 };
    let servers = || settings(vec![server("http://127.0.0.1:1"), server("http://127.0.0.1:2")]);
    let one = settings(vec![server("http://127.0.0.1:1")]);
    for (settings, is_watched) in [
        (servers(), true),
        (LoadBalancerSettings { outlier_ejection: false, ..servers() }, false),
        (LoadBalancerSettings { passive: Some(passive), ..servers() }, false),
        (one, false),
    ] {
        assert_eq!(service(settings).watches_outliers(), is_watched);
    }
}
