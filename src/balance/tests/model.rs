//! What must hold whatever happens, in any order: random events against a service, with a
//! clock that stands still until it is moved.

use proptest::prelude::{Just, ProptestConfig, any, prop, prop_oneof, proptest};
use proptest::strategy::Strategy;
use tokio::task::yield_now;
use tokio::time::{Instant, advance};

use super::generations::deployed;
use super::*;
use crate::balance::deploy::BackOffRules;
use crate::balance::{forward, outlier};

const LIMIT: Duration = Duration::from_secs(10);
/// What timers are rounded to.
const MILLISECOND: Duration = Duration::from_millis(1);

/// What may happen; the number says to which server.
#[derive(Clone, Debug)]
enum Event {
    Engine(usize, EngineState),
    ConnectFailed(usize),
    Answered(usize),
    Connected(usize),
    Checked(usize, bool),
    Eject(usize, u64),
    /// The labels say that it is a member, or is not.
    Member(usize, bool),
    Pass(u64),
    Arrive,
    /// The client of the request that came first goes away.
    Leave,
    /// Requests fail there, and somebody looks at the counts.
    Fail(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let engine = prop_oneof![
        Just(EngineState::Starting),
        Just(EngineState::Running),
        Just(EngineState::Unhealthy),
        Just(EngineState::Paused),
        Just(EngineState::Stopping),
        Just(EngineState::Gone),
    ];
    let server = 0..SERVERS;
    prop_oneof![
        4 => (server.clone(), engine).prop_map(|(at, state)| Event::Engine(at, state)),
        2 => server.clone().prop_map(Event::ConnectFailed),
        1 => server.clone().prop_map(Event::Answered),
        3 => server.clone().prop_map(Event::Connected),
        2 => (server.clone(), any::<bool>()).prop_map(|(at, well)| Event::Checked(at, well)),
        3 => (server.clone(), 1..60_u64).prop_map(|(at, seconds)| Event::Eject(at, seconds)),
        1 => server.clone().prop_map(Event::Fail),
        2 => (server, any::<bool>()).prop_map(|(at, is_in)| Event::Member(at, is_in)),
        2 => (1..12_000_u64).prop_map(Event::Pass),
        4 => Just(Event::Arrive),
        1 => Just(Event::Leave),
    ]
}

const SERVERS: usize = 5;

/// How a request fared.
struct Fate {
    arrived: Instant,
    number: usize,
    ended: Instant,
    /// The server that it was sent to.
    got: Option<Arc<Replica>>,
}

/// Servers from this one on are of the newer generation.
const NEWER: usize = 3;

/// What the deploy says; none, some, and all of the requests for the newer generation.
fn rules() -> impl Strategy<Value = DeployRules> {
    let percent = prop_oneof![Just(None), Just(Some(0)), Just(Some(50)), Just(Some(100))];
    (1..3_usize, percent, any::<bool>(), any::<bool>()).prop_map(
        |(min_ready, percent, pin, backs_off)| {
            let window = Duration::from_secs(5);
            let back_off = BackOffRules { errors: 50, window, min_requests: 20 };
            let back_off = backs_off.then_some(back_off);
            DeployRules { min_ready, percent, pin, back_off, ..DeployRules::default() }
        },
    )
}

struct World {
    rules: DeployRules,
    service: Arc<Service>,
    is_member: [bool; SERVERS],
    cells: Vec<Arc<Replica>>,
    arrived: Vec<Instant>,
    waiting: Vec<(usize, tokio::task::JoinHandle<()>)>,
    done: Rc<RefCell<Vec<Fate>>>,
}

fn build(
    rules: &DeployRules,
    is_member: [bool; SERVERS],
    previous: Option<&Arc<Service>>,
) -> Arc<Service> {
    let transport = previous
        .and_then(|before| before.balancer())
        .map_or_else(transport, |balancer| Arc::clone(&balancer.transport));
    let servers = (0..SERVERS)
        .filter(|at| is_member[*at])
        .map(|at| deployed(at as u64, if at < NEWER { "old" } else { "new" }, rules));
    let settings =
        LoadBalancerSettings { slow_start: Duration::from_secs(3), ..settings(servers.collect()) };
    let name = "web@docker".into();
    Service::load_balancer(name, settings, &transport, Requests::off(), previous).unwrap()
}

impl World {
    fn new(rules: DeployRules) -> Self {
        let is_member = [true; SERVERS];
        let service = build(&rules, is_member, None);
        Self {
            rules,
            cells: service.replicas().to_vec(),
            service,
            is_member,
            arrived: Vec::new(),
            waiting: Vec::new(),
            done: Rc::default(),
        }
    }

    fn in_state(&self, state: ReplicaState) -> Vec<&Arc<Replica>> {
        self.service.replicas().iter().filter(|replica| replica.state() == state).collect()
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Engine(at, state) => self.cells[at].set_engine(state),
            Event::ConnectFailed(at) => self.cells[at].request_failed(true, None),
            Event::Answered(at) => self.cells[at].request_answered(),
            Event::Connected(at) => self.cells[at].connected(),
            Event::Checked(at, well) => {
                self.cells[at].set_health((!well).then(|| "it says so".into()));
            }
            Event::Eject(at, seconds) => {
                let until = Instant::now() + Duration::from_secs(seconds);
                self.service.eject(&self.cells[at], until, "it stands out".into());
            }
            Event::Member(at, is_in) => {
                self.is_member[at] = is_in;
                self.service = build(&self.rules, self.is_member, Some(&self.service));
                for replica in self.service.replicas() {
                    let at: usize = replica.container.as_ref().unwrap().parse().unwrap();
                    self.cells[at] = Arc::clone(replica);
                }
            }
            Event::Fail(at) => {
                for _ in 0..20 {
                    self.cells[at].enter();
                    self.cells[at].leave(true, false);
                }
                let is_last = !self.may_back_off();
                let was_out = self.is_backed_off();
                self.service.look_at_generations(Instant::now());
                // Never from the last one.
                assert!(was_out || !is_last || !self.is_backed_off());
            }
            Event::Pass(millis) => self.pass(Duration::from_millis(millis)).await,
            Event::Arrive => self.arrive(),
            Event::Leave => {
                if !self.waiting.is_empty() {
                    self.waiting.remove(0).1.abort();
                }
            }
        }
        for _ in 0..8 {
            yield_now().await;
        }
    }

    /// Time goes by; what waits for a moment is looked at as the checks would.
    async fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let now = Instant::now();
            let reviews = self.cells.iter().filter_map(|cell| cell.review_at());
            let limits = self.arrived.iter().map(|at| *at + LIMIT + MILLISECOND);
            let next = reviews.chain(limits).filter(|at| *at > now).min().unwrap_or(end).min(end);
            advance(next - now).await;
            for _ in 0..8 {
                yield_now().await;
            }
            for cell in &self.cells {
                cell.review();
            }
            if Instant::now() >= end {
                return;
            }
        }
    }

    fn arrive(&mut self) {
        let (service, done) = (Arc::clone(&self.service), Rc::clone(&self.done));
        let (arrived, number) = (Instant::now(), self.arrived.len());
        self.arrived.push(arrived);
        let task = tokio::task::spawn_local(async move {
            let balancer = service.balancer().unwrap();
            let got = forward::choose(balancer, &Exchange::for_tests(), &mut get("/")).await;
            let ready = |replica: &Arc<Replica>| {
                // Whoever is ready was so in this moment: nothing was awaited since.
                let members = service.balancer().unwrap().group.rotation.load();
                let is_one = members.ready.iter().any(|(one, _)| Arc::ptr_eq(one, replica));
                assert!(
                    is_one && replica.is_ready()
                        || members.ready.is_empty()
                            && members.last_resort.iter().any(|one| Arc::ptr_eq(one, replica)),
                    "{} is {}",
                    replica.url,
                    replica.state().as_str()
                );
            };
            got.iter().for_each(ready);
            done.borrow_mut().push(Fate { arrived, number, ended: Instant::now(), got });
        });
        self.waiting.push((number, task));
    }

    async fn check(&mut self) {
        self.waiting.retain(|(_, task)| !task.is_finished());
        let (ready, out) =
            (self.in_state(ReplicaState::Ready), self.in_state(ReplicaState::Ejected));
        // Never more than half, never the last one.
        assert!(out.len() <= outlier::most_out(ready.len() + out.len()));
        // No request waits while a server is ready.
        if !ready.is_empty() {
            assert_eq!(self.service.waiting(), 0);
            self.waiting.iter().for_each(|(_, task)| assert!(task.is_finished()));
        }
        // None that is to be asked is starved: one that has just become ready gets a part of a
        // turn; and none is asked that has to wait for its generation.
        let balancer = self.service.balancer().unwrap();
        let mut asked: Vec<_> = Vec::new();
        for _ in 0..ready.len() * 40 {
            let one = forward::choose(balancer, &Exchange::for_tests(), &mut get("/")).await;
            asked.extend(one.map(|replica| Arc::as_ptr(&replica)));
        }
        let to_ask = self.to_ask();
        for replica in &ready {
            let is_asked = asked.contains(&Arc::as_ptr(replica));
            assert_eq!(is_asked, to_ask.contains(&replica.url), "{}", replica.url);
        }
        let is_halved = self.rules.percent == Some(50) && self.are_both_asked(&to_ask);
        if is_halved {
            let new = asked
                .iter()
                .filter(|one| self.cells[NEWER..].iter().any(|c| Arc::as_ptr(c) == **one));
            assert_eq!(new.count() * 2, asked.len());
        }
        for cell in &self.cells {
            if cell.state() == ReplicaState::Gone {
                assert!(!asked.contains(&Arc::as_ptr(cell)), "{} is gone", cell.url);
            }
        }
        for fate in self.done.borrow().iter() {
            let waited = fate.ended - fate.arrived;
            assert!(waited <= LIMIT + MILLISECOND, "request {} waited too long", fate.number);
        }
    }

    /// Ready servers: of the older generation, and of the newer one.
    fn sides(&self) -> [Vec<Arc<str>>; 2] {
        let ready = self.in_state(ReplicaState::Ready);
        let number =
            |replica: &Replica| -> usize { replica.container.as_deref().unwrap().parse().unwrap() };
        let (new, old): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|replica| number(replica) >= NEWER);
        [old, new].map(|side| side.into_iter().map(|replica| Arc::clone(&replica.url)).collect())
    }

    fn is_backed_off(&self) -> bool {
        self.service.generations().first().is_some_and(|newest| newest.back_off.is_some())
    }

    /// The older generation has a server that could have the requests.
    fn may_back_off(&self) -> bool {
        let [old, _] = self.sides();
        !old.is_empty()
    }

    fn are_both_asked(&self, to_ask: &[Arc<str>]) -> bool {
        self.sides().iter().all(|side| side.iter().any(|url| to_ask.contains(url)))
    }

    /// The servers that requests are for, as the rules say it.
    fn to_ask(&self) -> Vec<Arc<str>> {
        let [old, new] = self.sides();
        let is_closed = self.is_backed_off() || new.len() < self.rules.min_ready;
        match (self.rules.percent, old.is_empty(), new.is_empty()) {
            (_, true, _) => new,
            (_, _, true) => old,
            _ if is_closed => old,
            (Some(0), ..) => old,
            (Some(100), ..) => new,
            _ => [old, new].concat(),
        }
    }

    /// All that waited is released or answered within the bound, in order.
    async fn end(mut self) {
        self.pass(LIMIT + Duration::from_millis(1)).await;
        for _ in 0..8 {
            yield_now().await;
        }
        self.check().await;
        assert!(self.waiting.iter().all(|(_, task)| task.is_finished()));
        let done = self.done.borrow();
        for (one, next) in done.iter().zip(done.iter().skip(1)) {
            let together = one.ended == next.ended && one.got.is_some() && next.got.is_some();
            assert!(!together || one.number < next.number, "{} before {}", one.number, next.number);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_ready_servers_are_asked_and_gone_ones_are_not(
        rules in rules(),
        events in prop::collection::vec(event(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new(rules);
            for event in events {
                world.apply(event).await;
                world.check().await;
            }
            world.end().await;
        });
    }
}
