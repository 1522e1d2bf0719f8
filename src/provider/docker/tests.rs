//! The watcher against an engine in memory, in simulated time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::fake::Fake;
use super::watch::Watch;
use crate::model::{Desired, Provider, ReplicaState, ServiceKind};
use crate::provider::Change;
use crate::settings::{self, Settings};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const HOUR: Duration = Duration::from_secs(3600);

/// An engine, and all that its watcher told of it.
struct Watched {
    engine: Fake,
    told: Arc<Mutex<Vec<Change>>>,
    settings: watch::Sender<Arc<Settings>>,
}

impl Watched {
    /// An engine with these containers, and a watcher that knows them.
    async fn with(ids: &[&str]) -> Self {
        let engine = Fake::new();
        for id in ids {
            engine.start(id);
        }
        let (sender, mut receiver) = mpsc::channel(64);
        let docker = settings::Docker { watch: true, ..settings::Docker::default() };
        let wharf = settings::Wharf::default();
        let (settings, latest) = watch::channel(Arc::new(Settings::default()));
        settings.send_modify(|settings| {
            Arc::make_mut(settings).providers.docker = Some(docker.clone());
        });
        tokio::spawn(Watch::new(engine.endpoint(), &docker, &wharf, sender, latest).run());
        let told: Arc<Mutex<Vec<Change>>> = Arc::default();
        let all = Arc::clone(&told);
        tokio::spawn(async move {
            while let Some(change) = receiver.recv().await {
                all.lock().unwrap().push(change);
            }
        });
        sleep(ms(100)).await;
        let watched = Self { engine, told, settings };
        assert_eq!(watched.take().servers().len(), ids.len());
        watched
    }

    /// What was told since the last call.
    fn take(&self) -> Told {
        Told(std::mem::take(&mut *self.told.lock().unwrap()))
    }
}

struct Told(Vec<Change>);

impl Told {
    fn desired(&self) -> Vec<&Desired> {
        let desired = self.0.iter().map(|change| {
            let Change::Desired(Provider::Docker, desired) = change else { return None };
            Some(&**desired)
        });
        desired.flatten().collect()
    }

    /// States that were told at once, in order.
    fn states(&self) -> Vec<(&str, ReplicaState)> {
        let states = self.0.iter().map(|change| {
            let Change::Replica { container, state } = change else { return None };
            Some((&**container, *state))
        });
        states.flatten().collect()
    }

    /// The servers as they were last told.
    fn servers(&self) -> BTreeMap<String, ReplicaState> {
        self.desired().last().map(|desired| servers(desired)).unwrap_or_default()
    }
}

/// The servers that are wanted, and their states.
fn servers(desired: &Desired) -> BTreeMap<String, ReplicaState> {
    let services = desired.services.values();
    let balancers = services.filter_map(|service| {
        let ServiceKind::LoadBalancer(balancer) = &service.value.kind else { return None };
        Some(balancer)
    });
    let facts = balancers.flat_map(|balancer| &balancer.servers).filter_map(|s| s.replica.as_ref());
    facts.map(|facts| (facts.container.id.to_string(), facts.state)).collect()
}

fn running(ids: &[&str]) -> BTreeMap<String, ReplicaState> {
    ids.iter().map(|id| ((*id).to_owned(), ReplicaState::Running)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_engine_changes_nothing_and_is_made_up_for_by_one_list() {
    let watched = Watched::with(&["a", "b"]).await;
    let engine = &watched.engine;
    let (lists, knocks) = (engine.lists(), engine.knocks());

    engine.leave();
    sleep(HOUR / 2).await;
    engine.remove("b");
    engine.start("c");
    sleep(HOUR / 2).await;

    let away = watched.take();
    // With the problem: the stream has ended, then nobody answers.
    let states: Vec<_> = away.desired().into_iter().map(servers).collect();
    assert_eq!(states, [running(&["a", "b"]), running(&["a", "b"])]);
    assert_eq!(away.states(), []);
    // At most one attempt in two and a half seconds, at least one in five.
    let knocks = engine.knocks() - knocks;
    assert!((720..=1450).contains(&knocks), "{knocks}");
    assert_eq!((engine.lists(), engine.inspects()), (lists, 0));

    engine.come_back();
    sleep(Duration::from_secs(10)).await;

    let back = watched.take();
    let states: Vec<_> = back.desired().into_iter().map(servers).collect();
    assert_eq!(states, [running(&["a", "c"])], "once");
    assert_eq!(back.states(), []);
    assert_eq!((engine.lists(), engine.inspects()), (lists + 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_during_the_list_after_an_outage_is_no_flap() {
    let watched = Watched::with(&["a", "b"]).await;
    let engine = &watched.engine;
    engine.leave();
    sleep(ms(50)).await;
    watched.take();

    engine.takes(ms(100));
    engine.come_back();
    let lists = engine.lists();
    while engine.lists() == lists {
        // Before the list is made, and while it is on its way.
        for action in ["die", "start"] {
            engine.tell(action, "a");
        }
        sleep(ms(1)).await;
    }
    for action in ["die", "start"] {
        engine.tell(action, "a");
    }
    sleep(Duration::from_secs(5)).await;

    let back = watched.take();
    assert_eq!(back.states(), []);
    for desired in back.desired() {
        assert_eq!(servers(desired), running(&["a", "b"]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_while_it_is_looked_at_is_known_to_have_ended() {
    let watched = Watched::with(&["a"]).await;
    let engine = &watched.engine;
    engine.takes(ms(50));

    engine.start("b");
    engine.tell("start", "b");
    sleep(ms(10)).await;
    engine.end("b");
    engine.tell("die", "b");
    sleep(Duration::from_secs(1)).await;

    let told = watched.take();
    assert_eq!(told.servers(), running(&["a"]));
    assert_eq!(told.states(), [], "it was never told to run");
    assert_eq!(engine.inspects_of("b"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_told_to_stop_while_it_is_looked_at_stops() {
    let watched = Watched::with(&["a"]).await;
    let engine = &watched.engine;
    engine.takes(ms(50));

    engine.start("b");
    engine.tell("start", "b");
    sleep(ms(10)).await;
    engine.tell("kill", "b");
    sleep(Duration::from_secs(1)).await;

    assert_eq!(watched.take().servers()["b"], ReplicaState::Stopping);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_stop_and_runs_again_after_an_outage_takes_requests_at_once() {
    // What was seen before the engine went, whether the container was started again
    // meanwhile, and what it is after.
    let cases: [(&[&str], bool, ReplicaState); 4] = [
        (&["kill", "die"], true, ReplicaState::Running),
        (&["kill"], true, ReplicaState::Running),
        (&[], true, ReplicaState::Running),
        (&["kill"], false, ReplicaState::Stopping),
    ];
    for (seen, is_restarted, after) in cases {
        let watched = Watched::with(&["a", "b"]).await;
        let engine = &watched.engine;
        sleep(ms(100)).await;
        for action in seen {
            engine.tell(action, "a");
        }
        sleep(ms(100)).await;

        engine.leave();
        sleep(ms(900)).await;
        if is_restarted {
            engine.start("a");
        }
        watched.take();
        engine.come_back();
        sleep(Duration::from_secs(8)).await;

        assert_eq!(watched.take().servers()["a"], after, "{seen:?} {is_restarted}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_events_is_looked_at_a_few_times() {
    let watched = Watched::with(&["a", "b", "restless"]).await;
    let engine = &watched.engine;
    engine.takes(ms(3));
    let lists = engine.lists();

    // A thousand events a second for five seconds: one container that restarts a hundred times
    // a second, health checks, and others that come and go at once.
    for turn in 0..500 {
        engine.end("restless");
        engine.tell("die", "restless");
        engine.start("restless");
        engine.tell("start", "restless");
        for action in ["exec_create: check", "exec_start: check", "exec_die"] {
            engine.tell(action, "a");
        }
        engine.tell("health_status: healthy", "b");
        let passing = format!("passing{turn}");
        engine.start(&passing);
        engine.tell("start", &passing);
        engine.end(&passing);
        engine.tell("die", &passing);
        engine.remove(&passing);
        engine.tell("destroy", &passing);
        engine.tell("kill", "nobody");
        sleep(ms(10)).await;
    }

    let restless = engine.inspects_of("restless");
    assert!((10..=30).contains(&restless), "{restless}");
    assert_eq!((engine.inspects_of("a"), engine.inspects_of("b")), (0, 0));
    assert_eq!(engine.lists(), lists);
    assert!(engine.inspects() <= restless + 500, "{}", engine.inspects());
    let desired = watched.take().desired().len();
    assert!(desired <= 170, "{desired}");

    engine.tell("rename", "restless");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(watched.take().servers(), running(&["a", "b", "restless"]));
}

#[tokio::test(start_paused = true)]
async fn of_more_containers_than_can_be_looked_at_a_list_tells_which_are_there() {
    let watched = Watched::with(&["a"]).await;
    let engine = &watched.engine;
    engine.takes(ms(3));
    let lists = engine.lists();

    // Nobody says that they are removed again.
    for turn in 0..3000 {
        engine.tell("start", &format!("passing{turn}"));
        sleep(ms(1)).await;
    }
    engine.start("b");
    engine.tell("start", "b");
    sleep(Duration::from_secs(6)).await;

    assert!((1..=3).contains(&(engine.lists() - lists)), "{}", engine.lists() - lists);
    assert!(engine.inspects() <= 1500, "{}", engine.inspects());
    assert_eq!(watched.take().servers(), running(&["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn other_options_are_read_by_within_the_session_and_what_they_left_out_is_found_again() {
    let watched = Watched::with(&["a"]).await;
    let takes = |constraints: &str| {
        let constraints = constraints.to_owned();
        watched.settings.send_modify(|settings| {
            let docker = settings::Docker { constraints, ..settings::Docker::default() };
            Arc::make_mut(settings).providers.docker = Some(docker);
        });
    };

    takes("Label(`no.such`, `label`)");
    sleep(ms(1000)).await;
    assert_eq!(watched.take().servers(), running(&[]));
    watched.engine.start("b");
    sleep(ms(1000)).await;
    takes("");
    sleep(ms(1000)).await;

    let told = watched.take();
    assert_eq!(told.servers(), running(&["a", "b"]));
    let is_lost = |change: &Change| matches!(change, Change::Engine(state) if !state.connected);
    assert!(!told.0.iter().any(is_lost));
}
