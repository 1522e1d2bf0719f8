//! The account at the CA: opened when it is first needed, and left when the CA forgets it.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::{Driver, LONGEST, Source, jittered};
use crate::acme::client::{Client, Failure, Refusal};
use crate::acme::jws::AccountKey;
use crate::acme::order::Failed;
use crate::acme::plan::back_off;
use crate::acme::setup::Resolver;
use crate::acme::store::{Account, Registration};

/// Why the account could not be opened.
pub(super) struct Refused {
    failures: u32,
    /// It is left alone until then.
    until: SystemTime,
    why: Failed,
}

impl<S: Source + 'static> Driver<S> {
    /// Forgets an account that the CA does not know any more, unless another order did.
    pub(super) fn leave(&self, gone: &Rc<Client>, refusal: &Refusal) {
        let mut client = self.client.borrow_mut();
        if client.as_ref().is_some_and(|client| Rc::ptr_eq(client, gone)) {
            *client = None;
            let Resolver { name, shelf, .. } = &self.resolver;
            shelf.store.borrow_mut().drop_account(name);
            tracing::warn!(
                "resolver {name}: the CA does not know the account {} any more, so another one is \
                 registered: {refusal}",
                gone.account
            );
        }
    }

    /// The account, opened when it is first needed. What all orders that wait for it get is
    /// one try's result.
    pub(super) async fn client(&self) -> Result<Rc<Client>, Failed> {
        let _opening = self.opening.lock().await;
        if let Some(client) = &*self.client.borrow() {
            return Ok(Rc::clone(client));
        }
        if let Some((_, why)) = self.refused(SystemTime::now()) {
            return Err(why);
        }
        match self.open().await {
            Ok(client) => {
                let client = Rc::new(client);
                *self.client.borrow_mut() = Some(Rc::clone(&client));
                *self.refused.borrow_mut() = None;
                Ok(client)
            }
            Err(why) => {
                let why = Failed::from(why);
                let mut refused = self.refused.borrow_mut();
                let failures = refused.as_ref().map_or(0, |last| last.failures) + 1;
                let pause = jittered(back_off(failures).min(Duration::from_secs(3600)));
                let until = SystemTime::now() + pause;
                *refused = Some(Refused { failures, until, why: why.clone() });
                Err(why)
            }
        }
    }

    /// Until when the account is left alone, and why.
    pub(super) fn refused(&self, now: SystemTime) -> Option<(SystemTime, Failed)> {
        let refused = self.refused.borrow();
        let Refused { until, why, .. } = refused.as_ref()?;
        (*until > now && *until < now + LONGEST).then(|| (*until, why.clone()))
    }

    async fn open(&self) -> Result<Client, Failure> {
        let Resolver { name, acme, shelf, .. } = &self.resolver;
        let kept = shelf.store.borrow().kept(name).account;
        let uri = kept.as_ref().and_then(|account| account.registration.as_ref());
        let uri = uri.map(|registration| registration.uri.clone()).filter(|uri| !uri.is_empty());
        // Another CA's account is none here.
        let place = |url: &str| url.parse::<::http::Uri>().ok()?.into_parts().authority;
        let uri = uri.filter(|uri| place(uri) == place(&acme.ca_server));
        let key = match kept.as_ref().and_then(Account::key).filter(|_| uri.is_some()) {
            Some(der) => AccountKey::from_der(&der),
            None => tokio::task::spawn_blocking(AccountKey::generate)
                .await
                .unwrap_or_else(|error| Err(error.to_string())),
        };
        let (client, registered) = Client::open(acme, key.map_err(Failure::Local)?, uri).await?;
        if let Some(body) = registered {
            let registration = Registration { body, uri: client.account.clone() };
            let account = Account::new(&acme.email, client.key.der(), registration);
            shelf.store.borrow_mut().put_account(name, account);
            tracing::info!("resolver {name}: registered the account {}", client.account);
            self.save().await;
        }
        Ok(client)
    }
}
