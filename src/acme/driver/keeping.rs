//! What was obtained: looked at, kept in the file, handed to the table.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::{Driver, Source};
use crate::acme::client::Failure;
use crate::acme::order::{Failed, Pair};
use crate::acme::plan::{self, Job, at, covers, due, key};
use crate::acme::setup::{self, Resolver};
use crate::acme::store::Certificate;
use crate::provider::Change;
use crate::tls::{self, Facts};

/// For a certificate to get into the file before it is served all the same.
const SAVING: Duration = Duration::from_secs(2);

impl<S: Source + 'static> Driver<S> {
    pub(super) async fn keep(&self, job: &Job, pair: &Pair) {
        let Resolver { name, shelf, .. } = &self.resolver;
        let names = job.names.join(", ");
        let now = SystemTime::now();
        let facts = match usable(now, job, pair) {
            Ok(facts) => facts,
            Err(text) => {
                self.failed(job, &Failed { name: None, why: Failure::Local(text) });
                return;
            }
        };
        let certificate = Certificate::new(&job.names, &pair.chain, &pair.key);
        shelf.store.borrow_mut().put_certificate(name, certificate);
        let due = due(at(facts.about.not_before), at(facts.not_after), &job.names);
        let rest = plan::rest(now, due, self.tried.borrow().get(&key(&job.names)));
        self.tried.borrow_mut().insert(key(&job.names), rest);
        self.words.borrow_mut().remove(&key(&job.names));
        self.renewals.borrow_mut().remove(&key(&job.names));
        self.shared.board.write(name, |entry| entry.obtained += 1);
        self.metrics.acme(name, true);
        tracing::info!("resolver {name}: got a certificate for {names}");
        // Kept before it is served; but a disk that hangs keeps nobody waiting.
        let mut save = std::pin::pin!(self.save());
        let is_saved = timeout(SAVING, save.as_mut()).await.is_ok();
        self.publish().await;
        if !is_saved {
            save.await;
        }
    }

    /// Has the table take what is on hand.
    async fn publish(&self) {
        let Resolver { name, shelf, .. } = &self.resolver;
        let files =
            shelf.store.borrow().certificates(name).iter().filter_map(setup::files).collect();
        let change = Change::Certificates { resolver: Arc::clone(name), files };
        // Its receiver is gone only at the end.
        let _ = self.changes.send(change).await;
    }

    /// Writes what is not in the file yet; one that can't be written is told, and tried
    /// again.
    pub(super) async fn save(&self) {
        let Resolver { name, shelf, .. } = &self.resolver;
        let writing = Arc::clone(&shelf.writing).lock_owned().await;
        if !shelf.store.borrow().is_unsaved() {
            return;
        }
        self.written.set(Some(Instant::now()));
        let (path, text, changes) = shelf.store.borrow().to_save();
        let shown = path.display().to_string();
        // Nobody else writes until it is done, even if nobody waits for it any more.
        let write = move || {
            let result = crate::acme::file::replace(&path, &text);
            (result, writing)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let error = match &written {
            Ok((Ok(()), _)) => None,
            Ok((Err(error), _)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if error.is_none() {
            shelf.store.borrow_mut().saved(changes);
        }
        let trouble = error.map(|error| {
            (
                format!("{shown} can't be written: {error}; what is new is only in memory"),
                "make it writable, or free some space: it is tried again".to_owned(),
            )
        });
        let was = self.shared.board.read().get(name).and_then(|entry| entry.error.clone());
        if let Some((error, mend)) =
            trouble.as_ref().filter(|(error, _)| was.as_ref() != Some(error))
        {
            tracing::error!("resolver {name}: {error}; {mend}");
        }
        if self.shared.board.write(name, |entry| entry.trouble(trouble)) {
            self.source.touch();
        }
    }
}

/// What a CA's certificate says, if it is any use for what was ordered; else why not.
fn usable(now: SystemTime, job: &Job, pair: &Pair) -> Result<Facts, String> {
    let facts = tls::facts_of_pair(&pair.chain, &pair.key)
        .map_err(|error| format!("the CA's certificate can't be used: {error}"))?;
    let is_named = |name: &&String| facts.names.iter().any(|have| covers(have, name));
    if let Some(name) = job.names.iter().find(|name| !is_named(name)) {
        return Err(format!("the CA's certificate is not for {name}"));
    }
    if at(facts.not_after) <= now {
        let text = "the CA's certificate has ended already: is this machine's clock right?";
        return Err(text.to_owned());
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pair(names: &[&str], until: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem().into() }
    }

    #[test]
    fn what_a_ca_gives_is_looked_at_before_it_is_kept() {
        let now = at(1_800_000_000);
        let names = vec!["a.example.org".to_owned(), "*.b.example.org".to_owned()];
        let job = Job { names, is_renewal: false };
        let right = pair(&["a.example.org", "*.b.example.org"], 2090);
        assert!(usable(now, &job, &right).is_ok());

        let other = pair(&["a.example.org", "*.b.example.org"], 2090);
        for (pair, wanted) in [
            (Pair { chain: right.chain.clone(), key: other.key }, "does not belong"),
            (Pair { chain: "nonsense".into(), key: right.key }, "can't be used"),
            (pair(&["a.example.org"], 2090), "not for *.b.example.org"),
            (pair(&["a.example.org", "*.b.example.org"], 2021), "clock"),
        ] {
            let error = usable(now, &job, &pair).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
