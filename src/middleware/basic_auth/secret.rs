//! Stored passwords, as `htpasswd` makes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::md5_crypt;
use crate::middleware::login::equal;

/// Highest cost of bcrypt, as in `htpasswd`.
const COSTLIEST: u32 = 17;

/// A stored password.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// `{SHA}`: quick to check.
    Sha([u8; 20]),
    /// `$apr1$` and `$1$`.
    Md5 { text: Box<str>, magic: Box<str>, salt: Box<str>, digest: Box<str> },
    /// `$2y$` and its kin.
    Bcrypt(Box<str>),
    /// A hash of no known kind, which no password matches. As in Traefik it is no error.
    Never,
}

impl Secret {
    pub(super) fn parse(text: &str) -> Self {
        if let Some(digest) = text.strip_prefix("{SHA}") {
            let digest = STANDARD.decode(digest).ok().and_then(|bytes| bytes.try_into().ok());
            return digest.map_or(Self::Never, Self::Sha);
        }
        if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return Self::Bcrypt(text.into());
        }
        for magic in ["$apr1$", "$1$"] {
            if let Some((salt, digest)) =
                text.strip_prefix(magic).and_then(|rest| rest.split_once('$'))
            {
                return Self::Md5 {
                    text: text.into(),
                    magic: magic.into(),
                    salt: salt.into(),
                    digest: digest.into(),
                };
            }
        }
        Self::Never
    }

    /// What a check costs, for choosing whom an unknown user is compared with.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::Never => 0,
            Self::Sha(_) => 1,
            Self::Md5 { .. } => 2,
            // `$2y$10$...`: the two digits are the logarithm of its rounds.
            Self::Bcrypt(text) => text.get(4..6).and_then(|n| n.parse().ok()).unwrap_or(0) + 3,
        }
    }

    /// Whether a check would take minutes and more: bcrypt beyond what `htpasswd` makes. All
    /// routers share the threads that check.
    pub(super) fn is_too_slow(&self) -> bool {
        self.cost() > COSTLIEST + 3
    }

    /// Whether a check takes so long that it must not be done on a worker.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Self::Md5 { .. } | Self::Bcrypt(_))
    }

    /// What tells it from every other secret.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Md5 { text, .. } | Self::Bcrypt(text) => text,
            Self::Sha(_) | Self::Never => "",
        }
    }

    /// Whether this is the password. The time does not tell how much of it was right.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha(digest) => equal(&Sha1::digest(password), digest),
            Self::Md5 { magic, salt, digest, .. } => {
                let hashed = md5_crypt::hash(password, salt.as_bytes(), magic.as_bytes());
                equal(hashed.as_bytes(), digest.as_bytes())
            }
            Self::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Self::Never => false,
        }
    }
}
