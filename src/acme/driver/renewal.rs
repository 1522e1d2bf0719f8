//! What goes on beside orders: asking the CA when to renew, and writing what is unsaved.

use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::{Driver, LONGEST, LOOK, LOOK_UNSAVED, Source, Wanted};
use crate::acme::client::{Client, Failure};
use crate::acme::plan::{Held, key};
use crate::tls;

/// What goes on beside orders: nobody waits for a CA or a disk that hangs.
pub(super) type Errand = Pin<Box<dyn Future<Output = ()>>>;

/// A certificate whose CA is to be asked when to renew it.
struct Question {
    names: Vec<String>,
    id: String,
    due: SystemTime,
}

impl<S: Source + 'static> Driver<S> {
    /// What is to be done beside orders, if anything.
    pub(super) fn errand(self: Rc<Self>, wanted: &[Wanted], held: &[Held]) -> Option<Errand> {
        let is_time = self.written.get().is_none_or(|at| at.elapsed() >= LOOK_UNSAVED);
        if is_time && self.resolver.shelf.store.borrow().is_unsaved() {
            return Some(Box::pin(async move { self.save().await }));
        }
        let client = self.client.borrow().clone().filter(|client| client.has_renewal_info())?;
        let questions = self.questions(wanted, held);
        if questions.is_empty() {
            return None;
        }
        Some(Box::pin(async move { self.ask(&client, questions).await }))
    }

    /// Certificates whose CA was not asked for a while.
    fn questions(&self, wanted: &[Wanted], held: &[Held]) -> Vec<Question> {
        let now = SystemTime::now();
        let renewals = self.renewals.borrow();
        let open = held.iter().filter(|one| one.not_after > now && one.due > now);
        let questions = open.filter_map(|one| {
            let names = key(&one.names);
            let is_wanted = wanted.iter().any(|set| set.names.iter().any(|n| names.contains(n)));
            let is_known = renewals
                .get(&names)
                .is_some_and(|(_, again)| *again > now && *again < now + LONGEST);
            if !is_wanted || is_known {
                return None;
            }
            Some(Question { id: self.identity(&one.names)?, names, due: one.due })
        });
        questions.collect()
    }

    /// Asks the CA when to renew (RFC 9773).
    async fn ask(&self, client: &Client, questions: Vec<Question>) {
        const LATER: Duration = Duration::from_secs(6 * 3600);
        let mut is_away = false;
        for Question { names, id, due } in questions {
            let answer = if is_away { Ok(None) } else { client.renewal_info(&id).await };
            let now = SystemTime::now();
            let told = match answer {
                Ok(Some(polled)) => {
                    let again = polled.wait.unwrap_or(LATER);
                    let again = now + again.clamp(LOOK, Duration::from_secs(24 * 3600));
                    (polled.value.at(&names).unwrap_or(due), again)
                }
                Ok(None) => (due, now + LATER),
                Err(error) => {
                    tracing::debug!("renewal information for {}: {error}", names.join(", "));
                    // One that hangs is not asked for each of a thousand.
                    is_away = matches!(error, Failure::Server(_));
                    (due, now + LATER)
                }
            };
            // A certificate that came meanwhile was not what was asked about.
            if self.identity(&names).is_some_and(|now| now == id) {
                self.renewals.borrow_mut().insert(names, told);
            }
        }
    }

    /// How the CA calls the certificate on hand for these names.
    pub(super) fn identity(&self, names: &[String]) -> Option<String> {
        let store = self.resolver.shelf.store.borrow();
        let wanted = key(names);
        let found = store.certificates(&self.resolver.name).iter().find(|certificate| {
            let names: Vec<String> =
                certificate.names().map(|name| name.to_ascii_lowercase()).collect();
            key(&names) == wanted
        })?;
        let (chain, _) = found.pair()?;
        tls::renewal_id(&chain)
    }
}
