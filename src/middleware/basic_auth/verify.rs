//! Checking passwords without stopping a worker: slow hashes go to other threads, as many
//! at once as there are processors, and what passed is remembered for a while.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::secret::Secret;

/// How long a password that passed need not be checked again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most passwords remembered on one worker.
const MOST_REMEMBERED: usize = 1024;
/// Most checks that wait for a thread; beyond it requests are turned away.
const MOST_WAITING: usize = 1024;

static THREADS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Arc::new(Semaphore::new(count))
});
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// Makes what is remembered worthless to anyone who reads it without this.
static SALT: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

thread_local! {
    static PASSED: RefCell<HashMap<[u8; 32], Instant, ahash::RandomState>> = RefCell::default();
}

/// What is known of a password without waiting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Refuse,
    /// Ask [`off_thread`].
    Wait,
}

/// Checks a password if that is quick, or if it passed before.
pub(super) fn at_once((secret, known): (&Arc<Secret>, bool), password: &[u8]) -> Verdict {
    if !secret.is_slow() {
        let matches = secret.matches(password);
        return if known && matches { Verdict::Pass } else { Verdict::Refuse };
    }
    let key = key(secret, password);
    let passed = PASSED.with_borrow(|passed| passed.get(&key).copied());
    match passed {
        Some(until) if known && Instant::now() < until => Verdict::Pass,
        Some(_) | None => Verdict::Wait,
    }
}

/// Checks a password on another thread. `None`: too many wait for that already.
pub(super) async fn off_thread(
    (secret, known): (&Arc<Secret>, bool),
    password: Vec<u8>,
) -> Option<bool> {
    let key = key(secret, &password);
    let secret = Arc::clone(secret);
    let permit = {
        let _place = Place::take()?;
        Arc::clone(&THREADS).acquire_owned().await.ok()?
    };
    let check = tokio::task::spawn_blocking(move || {
        let matches = secret.matches(&password);
        drop(permit);
        matches
    });
    let passes = check.await.unwrap_or(false) && known;
    if passes {
        remember(key);
    }
    Some(passes)
}

fn remember(key: [u8; 32]) {
    let now = Instant::now();
    PASSED.with_borrow_mut(|passed| {
        if passed.len() >= MOST_REMEMBERED {
            passed.retain(|_, until| now < *until);
        }
        if passed.len() >= MOST_REMEMBERED {
            passed.clear();
        }
        passed.insert(key, now + REMEMBERED);
    });
}

/// Names a secret and a password. A changed secret is another key, so that a table with a
/// new password does not let the old one pass.
fn key(secret: &Secret, password: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(*SALT);
    hasher.update(secret.text());
    hasher.update([0]);
    hasher.update(password);
    hasher.finalize().into()
}

/// A place in the queue; given back when dropped, also by a client that goes away.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        (WAITING.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}
