//! Who may pass, and what their passwords are compared with.

use std::sync::Arc;

use super::secret::Secret;
use crate::middleware::users;

/// Names and their secrets.
pub(super) struct Users {
    known: users::Users<Arc<Secret>>,
    /// The costliest secret of all. Unknown users are compared with it, so that the time
    /// does not tell who is known.
    decoy: Arc<Secret>,
}

impl Users {
    /// Reads them. The error is in Traefik's words where it has any.
    pub(super) fn load(users: &[String], file: &str) -> Result<Self, String> {
        let known = users::load("BasicUser", users, file, parse)?;
        if let Some((name, _)) = known.iter().find(|(_, secret)| secret.is_too_slow()) {
            return Err(format!(
                "user {name}: a bcrypt cost above 17; make the hash with `htpasswd -B -C 10`"
            ));
        }
        let decoy = known.values().max_by_key(|secret| secret.cost());
        let decoy = decoy.cloned().ok_or_else(|| format!("no users found in {file}"))?;
        Ok(Self { known, decoy })
    }

    /// The secret to compare with, and whether the name is known at all.
    pub(super) fn secret(&self, name: &str) -> (&Arc<Secret>, bool) {
        self.known.get(name).map_or((&self.decoy, false), |secret| (secret, true))
    }
}

fn parse(user: &str) -> Option<(Box<str>, Arc<Secret>)> {
    let (name, hash) = user.split_once(':')?;
    // As Traefik: no known hash has a colon, so a second one is a mistake.
    (!hash.contains(':')).then(|| (name.into(), Arc::new(Secret::parse(hash))))
}
