//! What the hosts of requests are aliases of (`hostResolver.cnameFlattening`): asked for at
//! the system's DNS servers, remembered as long as they say. Each worker has its own, so that
//! nothing is locked; who may be asked about at once and what is kept is bounded, since hosts
//! come from strangers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::dns::{self, Kind, Resolver};
use crate::problem::{Code, Origin, Problem};
use crate::settings::HostResolver;

/// What keeps aliases from being found, if they are wanted.
pub fn check(settings: Option<&HostResolver>) -> Option<Problem> {
    let HostResolver { resolv_config: path, resolv_depth, .. } =
        settings.filter(|settings| settings.cname_flattening)?;
    let warning = |text: String, mend: &str| {
        let text = format!("hostResolver: {text}; no host is an alias");
        Some(Problem::warning(Code::BadValue, Origin::Internal, text).mend(mend))
    };
    if *resolv_depth < 1 {
        let text = format!("resolvDepth is {resolv_depth}");
        return warning(text, "leave it out, or set it to how many aliases may follow each other");
    }
    let servers = match std::fs::read_to_string(path) {
        Ok(file) => dns::configured(&file),
        Err(error) => {
            let text = format!("resolvConfig {path}: {error}");
            return warning(text, "name a file in the form of resolv.conf(5) that can be read");
        }
    };
    if servers.is_empty() {
        let text = format!("resolvConfig {path} names no DNS server");
        return warning(text, "add a line such as `nameserver 192.0.2.1`");
    }
    None
}

/// Questions of one worker at a time; further hosts wait their turn, and not for long: servers
/// that never answer about a stranger's hosts must hold up nobody else's.
const OPEN: usize = 64;
const TURN: Duration = Duration::from_millis(200);
/// On top of that, for aliases that are known and to be asked for anew.
const RENEWED: usize = 16;
/// A request goes on by its own host after that.
const WAIT: Duration = Duration::from_secs(5);
/// For one server to answer, and before the next one is asked beside it.
const LIMIT: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_millis(500);
/// Hosts remembered at least, per worker; at most twice as many.
const KEPT: usize = 2048;
/// Shortest and longest time that an alias is remembered, whatever its TTL.
const ALIAS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30 * 60));
/// How long it is remembered that a host is no alias, and that nobody knew.
const NONE: Duration = Duration::from_secs(60);
const UNKNOWN: Duration = Duration::from_secs(10);
/// What is out of date is used that much longer, while it is asked for anew.
const STALE: Duration = Duration::from_secs(60);
/// Aliases of aliases that are followed at most: they may form a ring.
const DEEPEST: i64 = 50;
/// How long the list of servers is taken for true.
const SERVERS: Duration = Duration::from_secs(30);

/// A host's alias in the end; `None`: it is none.
type Alias = Option<Rc<str>>;

/// The aliases of one worker.
pub(super) struct Aliases {
    settings: HostResolver,
    known: RefCell<Known>,
    open: RefCell<HashMap<Box<str>, watch::Receiver<()>, ahash::RandomState>>,
    turns: Arc<Semaphore>,
    renewals: Arc<Semaphore>,
    /// Who is asked, and when that was read; who answered last goes first.
    servers: RefCell<Option<(Instant, Rc<Resolver>)>>,
}

impl Aliases {
    /// `None` where nobody wants them.
    pub(super) fn of(settings: Option<&HostResolver>) -> Option<Rc<Self>> {
        let settings = settings.filter(|settings| settings.cname_flattening)?.clone();
        Some(Rc::new(Self {
            settings,
            known: RefCell::default(),
            open: RefCell::default(),
            turns: Arc::new(Semaphore::new(OPEN)),
            renewals: Arc::new(Semaphore::new(RENEWED)),
            servers: RefCell::default(),
        }))
    }

    /// What a request's host is an alias of, as far as it can be learnt in time.
    pub(super) async fn find(self: &Rc<Self>, host: &str) -> Alias {
        if host.is_empty() || host.parse::<IpAddr>().is_ok() || host.len() > 253 {
            return None;
        }
        let found = self.known.borrow_mut().get(host, Instant::now());
        match found {
            Found::Fresh(alias) => return alias,
            Found::Stale(alias) => {
                // One turn at most is taken for it; where there is none, later.
                let turns = if alias.is_some() { &self.renewals } else { &self.turns };
                if !self.open.borrow().contains_key(host)
                    && let Ok(turn) = Arc::clone(turns).try_acquire_owned()
                {
                    self.ask(host, turn);
                }
                return alias;
            }
            Found::Nothing => {}
        }
        timeout(WAIT, self.learn(host)).await.unwrap_or_default()
    }

    /// Asks, or waits for who did.
    async fn learn(self: &Rc<Self>, host: &str) -> Alias {
        loop {
            let open = self.open.borrow().get(host).cloned();
            let mut asked = match open {
                Some(asked) => asked,
                None => match timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await {
                    // Somebody may have asked while this one stood in line.
                    Ok(Ok(_)) if self.open.borrow().contains_key(host) => continue,
                    Ok(Ok(turn)) => match self.known.borrow_mut().get(host, Instant::now()) {
                        // Asked and answered meanwhile.
                        Found::Fresh(alias) | Found::Stale(alias) => return alias,
                        Found::Nothing => self.ask(host, turn),
                    },
                    Ok(Err(_)) | Err(_) => return None,
                },
            };
            // It ends with an error: the other side is gone.
            let _ = asked.changed().await;
            match self.known.borrow_mut().get(host, Instant::now()) {
                Found::Fresh(alias) | Found::Stale(alias) => return alias,
                // Pushed out by others already.
                Found::Nothing => return None,
            }
        }
    }

    /// Begins to ask about a host. It goes on when nobody waits for it any more, so that the
    /// next one need not.
    fn ask(self: &Rc<Self>, host: &str, turn: OwnedSemaphorePermit) -> watch::Receiver<()> {
        let (done, asked) = watch::channel(());
        let host: Box<str> = host.into();
        self.open.borrow_mut().insert(host.clone(), asked.clone());
        let this = Rc::clone(self);
        drop(tokio::task::spawn_local(async move {
            let told = timeout(WAIT, this.question(&host)).await;
            let told = told.unwrap_or_else(|_| Err(format!("no answer within {WAIT:?}")));
            let mut known = this.known.borrow_mut();
            match told {
                Ok((alias, rest)) => known.put(&host, alias, Instant::now() + rest),
                Err(why) => {
                    tracing::debug!("the alias of {host:?}: {why}");
                    known.unknown(&host, Instant::now() + UNKNOWN);
                }
            }
            drop(known);
            this.open.borrow_mut().remove(&host);
            drop((turn, done));
        }));
        asked
    }

    /// Follows a host's aliases; how long that may be remembered. The error says why nobody
    /// knows.
    async fn question(&self, host: &str) -> Result<(Alias, Duration), String> {
        let resolver = self.servers().await?;
        let mut name = format!("{host}.");
        let mut rest = ALIAS.1;
        let mut is_alias = false;
        for _ in 0..self.settings.resolv_depth.min(DEEPEST) {
            let reply = match resolver.ask_first(&name, Kind::Cname, PATIENCE).await {
                Ok(reply) if reply.is_certain() => reply,
                // As Traefik: what is known up to there counts.
                Ok(_) | Err(_) if is_alias => break,
                Ok(reply) => return Err(format!("{} answered {}", reply.server, reply.code)),
                Err(dns::Error::Name { .. }) => return Ok((None, NONE)),
                Err(error) => return Err(error.to_string()),
            };
            self.prefer(&reply.server);
            let Some((target, ttl)) = reply.alias(&name) else { break };
            rest = rest.min(Duration::from_secs(ttl.into()));
            is_alias = true;
            name = target.to_owned();
        }
        let alias = name.trim_end_matches('.');
        if !is_alias || alias == host {
            return Ok((None, NONE));
        }
        Ok((Some(alias.into()), rest.max(ALIAS.0)))
    }

    /// Asks the server first that has just answered.
    fn prefer(&self, answered: &str) {
        let mut servers = self.servers.borrow_mut();
        let Some((_, resolver)) = servers.as_mut() else { return };
        let at = resolver.servers.iter().position(|server| server.to_string() == *answered);
        if let Some(at) = at.filter(|at| *at > 0) {
            let mut others = Resolver::clone(resolver);
            others.servers.swap(0, at);
            *resolver = Rc::new(others);
        }
    }

    async fn servers(&self) -> Result<Rc<Resolver>, String> {
        if let Some((read, resolver)) = &*self.servers.borrow()
            && read.elapsed() < SERVERS
        {
            return Ok(Rc::clone(resolver));
        }
        let path = &self.settings.resolv_config;
        let file = tokio::fs::read_to_string(path).await;
        let mut servers = dns::configured(&file.map_err(|error| format!("{path}: {error}"))?);
        let before = self.servers.borrow();
        let first = before.as_ref().and_then(|(_, before)| before.servers.first());
        if let Some(at) = first.and_then(|first| servers.iter().position(|one| one == first)) {
            servers.swap(0, at);
        }
        drop(before);
        let resolver = Rc::new(Resolver { servers, limit: LIMIT, is_tcp_only: false });
        *self.servers.borrow_mut() = Some((Instant::now(), Rc::clone(&resolver)));
        Ok(resolver)
    }
}

/// What is remembered of hosts: those asked for lately, and those before them. What was not
/// asked for while the first of them filled up is forgotten, so that a flood of new hosts
/// pushes out itself and not what is in use.
#[derive(Default)]
struct Known {
    lately: HashMap<Box<str>, Entry, ahash::RandomState>,
    before: HashMap<Box<str>, Entry, ahash::RandomState>,
}

struct Entry {
    alias: Alias,
    until: Instant,
}

impl Entry {
    fn at(&self, now: Instant) -> Found {
        match &self.alias {
            alias if self.until > now => Found::Fresh(alias.clone()),
            alias if self.until + STALE > now => Found::Stale(alias.clone()),
            _ => Found::Nothing,
        }
    }
}

/// What is remembered of one host.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Fresh(Alias),
    Stale(Alias),
    Nothing,
}

impl Known {
    fn get(&mut self, host: &str, now: Instant) -> Found {
        if let Some(entry) = self.lately.get(host) {
            return entry.at(now);
        }
        let Some((host, entry)) = self.before.remove_entry(host) else { return Found::Nothing };
        let found = entry.at(now);
        self.keep(host, entry);
        found
    }

    fn put(&mut self, host: &str, alias: Alias, until: Instant) {
        self.before.remove(host);
        self.keep(host.into(), Entry { alias, until });
    }

    /// Nobody knows now: what was known before stays.
    fn unknown(&mut self, host: &str, until: Instant) {
        let known = self.lately.get(host).or_else(|| self.before.get(host));
        let alias = known.and_then(|entry| entry.alias.clone());
        self.put(host, alias, until);
    }

    fn keep(&mut self, host: Box<str>, entry: Entry) {
        if self.lately.len() >= KEPT && !self.lately.contains_key(&host) {
            self.before = std::mem::take(&mut self.lately);
        }
        self.lately.insert(host, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_date_is_used_for_a_while_and_then_not() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.put("a.org", Some("b.org".into()), now + Duration::from_secs(5));

        assert_eq!(known.get("a.org", now), Found::Fresh(Some("b.org".into())));
        let later = now + Duration::from_secs(5);
        assert_eq!(known.get("a.org", later), Found::Stale(Some("b.org".into())));
        assert_eq!(known.get("a.org", later + STALE), Found::Nothing);
        assert_eq!(known.get("x.org", now), Found::Nothing);
    }

    #[test]
    fn an_alias_outlives_servers_that_do_not_answer() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.put("a.org", Some("b.org".into()), now);

        known.unknown("a.org", now + UNKNOWN);
        known.unknown("x.org", now + UNKNOWN);

        assert_eq!(known.get("a.org", now), Found::Fresh(Some("b.org".into())));
        assert_eq!(known.get("x.org", now), Found::Fresh(None));
    }

    #[test]
    fn a_flood_of_hosts_pushes_out_itself_and_not_what_is_in_use() {
        let (mut known, now) = (Known::default(), Instant::now());
        let until = now + Duration::from_secs(60);
        known.put("in.use.org", Some("b.org".into()), until);
        known.put("unused.org", Some("b.org".into()), until);

        for number in 0..100_000 {
            known.put(&format!("{number}.org"), None, until);
            assert!(known.lately.len() + known.before.len() <= 2 * KEPT);
            if number % 1000 == 0 {
                assert_eq!(known.get("in.use.org", now), Found::Fresh(Some("b.org".into())));
            }
        }

        assert_eq!(known.get("unused.org", now), Found::Nothing);
    }

    #[test]
    fn what_keeps_aliases_from_being_found_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let told = |path: &str, resolv_depth| {
            let resolv_config = path.to_owned();
            let settings = HostResolver { cname_flattening: true, resolv_config, resolv_depth };
            check(Some(&settings)).map(|problem| problem.to_string())
        };

        assert!(told("/no/such", 5).unwrap().contains("resolvConfig /no/such: No such file"));
        assert!(told(&path, 5).unwrap().contains("names no DNS server"));
        assert!(told(&path, 0).unwrap().contains("resolvDepth is 0"));
        std::fs::write(file.path(), "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(told(&path, 5), None);
        assert_eq!(check(None), None);
        assert_eq!(check(Some(&HostResolver::default())), None);
    }

    fn aliases(resolv_config: &str) -> Rc<Aliases> {
        let settings = HostResolver {
            cname_flattening: true,
            resolv_config: resolv_config.to_owned(),
            ..HostResolver::default()
        };
        Aliases::of(Some(&settings)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn sec_who_takes_all_turns_holds_up_nobody_for_long_and_keeps_no_alias_from_its_renewal()
    {
        let aliases = aliases("/no/such/file");
        let began = Instant::now();
        aliases.known.borrow_mut().put("old.org", Some("b.org".into()), began);
        let turns = u32::try_from(OPEN).unwrap();
        let _taken = Arc::clone(&aliases.turns).try_acquire_many_owned(turns).unwrap();

        assert_eq!(aliases.find("new.org").await, None);
        assert!(began.elapsed() < WAIT / 5);
        let asking = tokio::task::LocalSet::new();
        let alias = asking.run_until(aliases.find("old.org")).await;

        assert_eq!(alias, Some("b.org".into()));
        assert!(aliases.open.borrow().contains_key("old.org"));
    }

    #[tokio::test]
    async fn who_answered_last_is_asked_first_also_when_the_list_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let servers = "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        std::fs::write(file.path(), servers).unwrap();
        let aliases = aliases(file.path().to_str().unwrap());
        let first = async || aliases.servers().await.unwrap().servers[0].to_string();
        assert_eq!(first().await, "192.0.2.1:53");

        aliases.prefer("192.0.2.3:53");
        assert_eq!(first().await, "192.0.2.3:53");
        if let Some((read, _)) = &mut *aliases.servers.borrow_mut() {
            *read -= SERVERS;
        }
        assert_eq!(first().await, "192.0.2.3:53");
        assert_eq!(aliases.servers().await.unwrap().servers.len(), 3);
    }

    #[tokio::test]
    async fn nobody_is_asked_about_addresses_and_what_is_no_name() {
        let aliases = aliases("/no/such/file");

        for host in ["", "192.0.2.1", "::1", &"a.".repeat(200)] {
            assert_eq!(aliases.find(host).await, None);
        }
        assert!(aliases.open.borrow().is_empty() && aliases.known.borrow().lately.is_empty());
        assert!(Aliases::of(Some(&HostResolver::default())).is_none());
        assert!(Aliases::of(None).is_none());
    }
}
