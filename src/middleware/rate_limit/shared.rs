//! Buckets in a Redis, which several proxies share: Wharf with Wharf, and with Traefik.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::buckets::{Rate, Verdict};
use super::settings::{Redis, Settings, Tls};
use crate::middleware::client_tls;
use crate::redis::resp::Reply;
use crate::redis::{Client, Options, Script, Standing};
use crate::upstream::{Transport, TransportSettings};

/// Takes a token: the words are ours, what is kept and how it is counted are Traefik's.
const BUCKET: &str = include_str!("bucket.lua");

/// As Traefik's keys.
const PREFIX: &[u8] = b"rate:";
/// Longest source in a key; of a longer one it is the hash. A header may have many kilobytes.
const LONGEST_SOURCE: usize = 256;

/// Clients by what they were made from: middlewares with the same Redis share connections.
static CLIENTS: Mutex<Vec<(Made, Weak<Client>)>> = Mutex::new(Vec::new());

/// What a client is made from: its settings, and what was in the files that they name.
type Made = (Redis, Option<TransportSettings>);

/// The buckets of one middleware.
pub(super) struct Shared {
    client: Arc<Client>,
    script: Arc<Script>,
    /// What stands before the source: `rate:limit@docker:`.
    prefix: Box<[u8]>,
    longest_delay: Duration,
}

impl Shared {
    /// Prepares them. The error is in Traefik's words, where it has some.
    pub(super) fn build(settings: &Settings, redis: &Redis, rate: &Rate) -> Result<Self, String> {
        let transport = match &redis.tls {
            None => None,
            Some(tls) => Some(
                transport(tls)
                    .map_err(|why| format!("creating redis limiter: creating TLS config: {why}"))?,
            ),
        };
        Ok(Self {
            client: client(redis, transport)?,
            script: Arc::new(script(settings, rate)),
            prefix: PREFIX.into(),
            longest_delay: Duration::from_nanos(rate.longest_delay),
        })
    }

    /// Learns whose buckets they are. Those of one middleware are the same on all routers, as
    /// in Traefik.
    pub(super) fn place(&mut self, name: &str, workers: usize) {
        self.prefix = [PREFIX, name.as_bytes(), b":"].concat().into();
        self.client.share(workers);
    }

    /// Takes a token for the source that `write` writes; `None`: Redis can't be asked. While
    /// it is not known to answer, one request in a second starts a try, and none waits for it.
    pub(super) async fn take(&self, write: impl FnOnce(&mut Vec<u8>)) -> Option<Verdict> {
        let key = self.key(write);
        match self.client.standing(&key) {
            Standing::Up => {}
            Standing::Down => return None,
            Standing::Due => {
                self.client.try_again(&self.script, key, verdict);
                return None;
            }
        }
        // On the heap, since every request with any middleware would have room for it.
        let verdict = Box::pin(self.client.run(&self.script, key, verdict)).await;
        verdict.ok().map(|verdict| match verdict {
            Verdict::Delay(delay) => Verdict::Delay(delay.min(self.longest_delay)),
            Verdict::Pass | Verdict::Refuse(_) => verdict,
        })
    }

    fn key(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut key = self.prefix.to_vec();
        write(&mut key);
        let source = key.get(self.prefix.len()..).unwrap_or_default();
        if source.len() > LONGEST_SOURCE {
            let hash = Sha256::digest(source);
            key.truncate(self.prefix.len());
            key.extend_from_slice(b"sha256:");
            key.extend(hash.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()));
        }
        key
    }
}

/// What the script said.
fn verdict(reply: &Reply) -> Option<Verdict> {
    let Reply::List(items) = reply else { return None };
    let [Reply::Number(passes), Reply::Number(wait)] = &items[..] else { return None };
    let wait = Duration::from_micros(u64::try_from(*wait).ok()?);
    match passes {
        0 => Some(Verdict::Refuse(wait)),
        1 if wait.is_zero() => Some(Verdict::Pass),
        1 => Some(Verdict::Delay(wait)),
        _ => None,
    }
}

fn script(settings: &Settings, rate: &Rate) -> Script {
    let period = settings.period.positive().unwrap_or(Duration::from_secs(1)).as_nanos();
    #[expect(clippy::cast_precision_loss, reason = "as Traefik, which counts in floats")]
    let per_microsecond = settings.average as f64 * 1000.0 / period as f64;
    // As long as Traefik keeps them.
    let shortest = match rate.interval / 1_000_000_000 {
        0 => 2,
        seconds => 1 + seconds,
    };
    let arguments = [
        format!("{per_microsecond}"),
        settings.burst.max(1).to_string(),
        shortest.to_string(),
        (rate.longest_delay / 1000).to_string(),
    ];
    Script::new(BUCKET, &arguments)
}

fn client(redis: &Redis, transport: Option<Arc<Transport>>) -> Result<Arc<Client>, String> {
    let made: Made = (redis.clone(), transport.as_ref().map(|made| made.settings().clone()));
    let endpoints = redis.addresses()?;
    let mut all = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|(_, known)| known.strong_count() > 0);
    let mut known = all.iter().filter(|(from, _)| *from == made);
    if let Some(known) = known.find_map(|(_, known)| known.upgrade()) {
        return Ok(known);
    }
    let tls = match transport {
        None => None,
        Some(_) if endpoints.iter().any(|address| address.host().is_none()) => {
            return Err("redis.tls: a socket of this machine speaks no TLS".to_owned());
        }
        Some(transport) => {
            let mut config = rustls::ClientConfig::clone(&*transport.client_config()?);
            // Redis has no protocols to choose from, and what stands before it may refuse HTTP.
            config.alpn_protocols.clear();
            Some(Arc::new(config))
        }
    };
    let client = Arc::new(Client::new(Options {
        endpoints,
        tls,
        username: redis.username.clone(),
        password: redis.password.clone(),
        database: u64::try_from(redis.db).unwrap_or_default(),
        most: redis.most(),
        fewest: redis.fewest(),
        dial: redis.dial(),
        write: redis.write(),
        read: redis.read(),
    }));
    all.push((made, Arc::downgrade(&client)));
    Ok(client)
}

fn transport(tls: &Tls) -> Result<Arc<Transport>, String> {
    let material = client_tls::Material {
        ca: &tls.ca,
        cert: &tls.cert,
        key: &tls.key,
        insecure_skip_verify: tls.insecure_skip_verify,
    };
    client_tls::transport(&material, TransportSettings::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis() -> Redis {
        Redis { endpoints: vec!["redis:6379".to_owned()], ..Redis::default() }
    }

    fn shared(settings: &Settings) -> Result<Shared, String> {
        let rate = Rate { interval: 1, capacity: 1, longest_delay: 500_000_000 };
        Shared::build(settings, settings.redis.as_ref().unwrap(), &rate)
    }

    #[test]
    fn keys_are_those_of_traefik_and_never_long() {
        let settings = Settings { average: 1, redis: Some(redis()), ..Settings::default() };
        let mut shared = shared(&settings).unwrap();
        shared.place("limit@docker", 2);
        let key = |source: &str| {
            String::from_utf8(shared.key(|out| out.extend_from_slice(source.as_bytes()))).unwrap()
        };

        assert_eq!(key("10.0.0.1"), "rate:limit@docker:10.0.0.1");
        assert_eq!(key(""), "rate:limit@docker:");
        assert_eq!(key(&"a".repeat(256)).len(), 18 + 256);
        let long = key(&"a".repeat(257));
        assert!(long.starts_with("rate:limit@docker:sha256:"), "{long}");
        assert_eq!(long.len(), 25 + 64);
        assert_ne!(long, key(&"b".repeat(257)));
    }

    #[test]
    fn only_what_the_script_says_is_a_verdict() {
        let list =
            |numbers: &[i64]| Reply::List(numbers.iter().copied().map(Reply::Number).collect());
        for (reply, wanted) in [
            (list(&[1, 0]), Some(Verdict::Pass)),
            (list(&[1, 1500]), Some(Verdict::Delay(Duration::from_micros(1500)))),
            (list(&[0, 7]), Some(Verdict::Refuse(Duration::from_micros(7)))),
            (list(&[1, -1]), None),
            (list(&[2, 0]), None),
            (list(&[1]), None),
            (list(&[1, 0, 0]), None),
            (Reply::Text(b"1".to_vec()), None),
            (Reply::Nothing, None),
        ] {
            assert_eq!(verdict(&reply), wanted, "{reply:?}");
        }
    }

    #[test]
    fn middlewares_with_the_same_redis_share_its_connections() {
        let client = |redis: &Redis| client(redis, None).unwrap();
        let one = client(&redis());

        assert!(Arc::ptr_eq(&one, &client(&redis())));
        assert!(!Arc::ptr_eq(&one, &client(&Redis { db: 1, ..redis() })));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let tls = |ca: &str, cert: &str| {
            Some(Tls { ca: ca.to_owned(), cert: cert.to_owned(), ..Tls::default() })
        };
        let endpoints = |text: &str| vec![text.to_owned()];
        for (redis, error) in [
            (
                Redis { endpoints: endpoints("redis://a:1"), ..redis() },
                "redis.endpoints: \"redis://a:1\" is a URL; write host:port, such as redis:6379",
            ),
            (
                Redis { tls: tls("/nowhere", ""), ..redis() },
                "creating redis limiter: creating TLS config: tls.ca: open /nowhere: no such file \
                 or directory",
            ),
            (
                Redis { tls: tls("", "-----BEGIN"), ..redis() },
                "creating redis limiter: creating TLS config: both TLS cert and key must be defined",
            ),
            (
                Redis { tls: tls("", ""), endpoints: endpoints("/run/redis.sock"), ..redis() },
                "redis.tls: a socket of this machine speaks no TLS",
            ),
        ] {
            let settings = Settings { average: 1, redis: Some(redis), ..Settings::default() };

            assert_eq!(shared(&settings).err().as_deref(), Some(error));
        }
    }
}
