//! What containers say of the deploy that they come from: plain values, checked where labels
//! are read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;

/// The deploy that a server's container comes from. Servers of the same generation are
/// replicas of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Deploy {
    /// Tells one deploy from the next.
    pub generation: Arc<str>,
    /// When the container was made.
    pub created: Option<SystemTime>,
    /// What it says of the way from one generation to the next.
    pub rules: Arc<DeployRules>,
}

/// How the newest generation of a service takes over from the older ones. The default is that
/// every server gets its own share, as in Traefik.
#[derive(Clone, Debug, PartialEq)]
pub struct DeployRules {
    /// So many servers of it must be ready before it gets requests; at least 1.
    pub min_ready: usize,
    /// Its part of the requests that nothing else decides; `None`: as much as its servers
    /// weigh, or nothing where a field decides.
    pub percent: Option<u8>,
    /// A field that decides.
    pub header: Option<HeaderRule>,
    /// A cookie that decides, where the field does not.
    pub cookie: Option<CookieRule>,
    /// Clients stay with the generation that answered them first.
    pub pin: bool,
    /// When it gets no more requests.
    pub back_off: Option<BackOffRules>,
}

/// A request with this field goes to one generation or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Its name.
    pub name: HeaderName,
    /// The value that leads to the newest generation; `None`: `always` does, and `never` does
    /// not.
    pub value: Option<Box<str>>,
}

/// A request with this cookie goes to one generation or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieRule {
    /// Its name.
    pub name: Box<str>,
    /// As of [`HeaderRule`].
    pub value: Option<Box<str>>,
}

/// When a generation is judged to have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOffRules {
    /// So many of its requests failed, in percent.
    pub errors: u8,
    /// Within so long.
    pub window: Duration,
    /// Fewer requests within that time prove nothing.
    pub min_requests: u64,
}

/// The window where nothing is said; figures are shown over it, too.
pub const WINDOW: Duration = Duration::from_secs(10);

impl Default for DeployRules {
    fn default() -> Self {
        Self { min_ready: 1, percent: None, header: None, cookie: None, pin: false, back_off: None }
    }
}

impl DeployRules {
    /// The part of the requests that nothing else decides, where it does not go by the
    /// servers' weights.
    pub(super) fn share(&self) -> Option<u8> {
        let decides = self.header.is_some() || self.cookie.is_some();
        self.percent.or(decides.then_some(0))
    }

    /// What its error rate is taken over.
    pub(super) fn window(&self) -> Duration {
        self.back_off.map_or(WINDOW, |rules| rules.window)
    }
}

/// A generation as it is shown: Compose's hashes are long, and a few digits tell them apart.
pub fn short(generation: &str) -> &str {
    const HASH: usize = 64;
    let is_hash = generation.len() == HASH && generation.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash { generation.get(..12).unwrap_or(generation) } else { generation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_cut_and_words_are_not() {
        let hash = "0123456789abcdef".repeat(4);

        assert_eq!(short(&hash), "0123456789ab");
        assert_eq!(short("v1.2.3-of-a-long-name"), "v1.2.3-of-a-long-name");
    }

    #[test]
    fn where_a_field_decides_nobody_else_is_sent_there() {
        let header = HeaderRule { name: HeaderName::from_static("x-canary"), value: None };
        let rules = DeployRules { header: Some(header), ..DeployRules::default() };

        assert_eq!(rules.share(), Some(0));
        assert_eq!(DeployRules { percent: Some(5), ..rules }.share(), Some(5));
        assert_eq!(DeployRules::default().share(), None);
    }
}
