use super::*;
use crate::balance::forward;

fn balancer(fakes: &[Fake; 2], strategy: Strategy, weights: [i64; 2]) -> Arc<Service> {
    let servers = fakes.iter().zip(weights);
    let servers = servers.map(|(fake, weight)| ServerSettings { weight, ..server(&fake.url) });
    service(LoadBalancerSettings { strategy, ..settings(servers.collect()) })
}

#[test]
fn the_fastest_server_is_asked_and_unknown_ones_are_tried_first() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let service = balancer(&fakes, Strategy::LeastTime, [1, 1]);

        // Nothing is known of either: in turn, so both are asked.
        for _ in 0..2 {
            text(ask(&service, get("/")).await).await;
        }
        assert_eq!(fakes.each_ref().map(Fake::seen), [1, 1]);

        service.replicas()[0].times.add(Duration::from_secs(3600));
        for _ in 0..10 {
            assert_eq!(text(ask(&service, get("/")).await).await, "b");
        }
    });
}

#[test]
fn a_server_that_has_not_answered_yet_is_not_asked_again_meanwhile() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let service = balancer(&fakes, Strategy::LeastTime, [1, 1]);
        service.replicas()[0].times.add(Duration::from_secs(3600));
        service.replicas()[1].enter();

        for _ in 0..4 {
            assert_eq!(text(ask(&service, get("/")).await).await, "a");
        }
        service.replicas()[1].leave(false, false);
        assert_eq!(text(ask(&service, get("/")).await).await, "b");
    });
}

#[test]
fn the_wait_is_the_time_by_requests_in_flight_over_the_weight() {
    on_worker(async {
        for (weights, times, in_flight, wanted) in [
            ([1, 1], [20, 30], [0, 0], "a"),
            ([1, 1], [20, 30], [1, 0], "b"),
            ([3, 1], [20, 30], [1, 0], "a"),
            ([1, 3], [20, 30], [0, 0], "b"),
        ] {
            let fakes = [Fake::saying("a").await, Fake::saying("b").await];
            let service = balancer(&fakes, Strategy::LeastTime, weights);
            for ((replica, seconds), count) in service.replicas().iter().zip(times).zip(in_flight) {
                replica.times.add(Duration::from_secs(seconds));
                (0..count).for_each(|_| replica.enter());
            }

            assert_eq!(text(ask(&service, get("/")).await).await, wanted, "{weights:?} {times:?}");
        }
    });
}

#[test]
fn of_two_choices_the_idle_one_is_taken() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let service = balancer(&fakes, Strategy::TwoChoices, [1, 1]);
        service.replicas()[0].enter();

        for _ in 0..10 {
            assert_eq!(text(ask(&service, get("/")).await).await, "b");
        }
    });
}

#[test]
fn a_client_address_keeps_its_server() {
    on_worker(async {
        let fakes = [Fake::saying("a").await, Fake::saying("b").await];
        let service = balancer(&fakes, Strategy::Rendezvous, [1, 1]);

        let first = text(ask(&service, get("/")).await).await;

        for _ in 0..10 {
            assert_eq!(text(ask(&service, get("/")).await).await, first);
        }
    });
}

#[test]
fn the_share_of_a_server_that_has_just_become_ready_grows() {
    for strategy in [Strategy::RoundRobin, Strategy::TwoChoices, Strategy::LeastTime] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let servers = [
                container("http://127.0.0.1:1", "a", EngineState::Running),
                container("http://127.0.0.1:2", "b", EngineState::Starting),
            ];
            let slow_start = Duration::from_secs(10);
            let settings = settings(servers.to_vec());
            let service = service(LoadBalancerSettings { strategy, slow_start, ..settings });
            let new = &service.replicas()[1];
            new.connected();

            let mut shares = Vec::new();
            for _ in 0..5 {
                let balancer = service.balancer().unwrap();
                let mut asked = 0;
                for _ in 0..1000 {
                    let mut request = get("/");
                    let chosen =
                        forward::choose(balancer, &Exchange::for_tests(), &mut request).await;
                    asked += usize::from(Arc::ptr_eq(&chosen.unwrap(), new));
                }
                shares.push(asked);
                let next = new.review_at().map(|at| at - tokio::time::Instant::now());
                tokio::time::advance(next.unwrap_or_default().max(slow_start / 4)).await;
                new.review();
            }

            assert!(shares[0] > 0 && shares[0] < 100, "{strategy:?} {shares:?}");
            assert!(shares.is_sorted(), "{strategy:?} {shares:?}");
            assert!((450..=550).contains(&shares[4]), "{strategy:?} {shares:?}");
            assert_eq!(new.review_at(), None);
        });
    }
}
