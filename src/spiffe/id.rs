//! SPIFFE ids and trust domains.
//! <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>

const SCHEME: &str = "spiffe://";
/// Longest id in bytes.
const LONGEST: usize = 2048;

/// A trust domain: `example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

/// An id: `spiffe://example.org/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    text: Box<str>,
    /// Where the path begins.
    path: usize,
}

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Each has it.
    #[error("does not begin with spiffe://")]
    Scheme,
    /// Small letters, digits, `.`, `-` and `_`.
    #[error("has no trust domain of small letters, digits, dots, dashes and underscores")]
    TrustDomain,
    /// Segments of letters, digits, `.`, `-` and `_`.
    #[error(
        "has a path with a segment that is empty, . or .., or of more than letters, digits, dots, \
         dashes and underscores"
    )]
    Path,
    /// As the standard has it.
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
}

impl TrustDomain {
    /// Reads a trust domain, or that of an id, as Traefik does.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if text.contains(":/") {
            return Id::parse(text).map(|id| id.trust_domain());
        }
        let is_known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if text.is_empty() || !text.bytes().all(is_known) {
            return Err(BadId::TrustDomain);
        }
        Ok(Self(text.into()))
    }
}

impl Id {
    /// Reads an id.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if text.len() > LONGEST {
            return Err(BadId::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(BadId::Scheme)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if domain.contains(':') {
            return Err(BadId::TrustDomain);
        }
        TrustDomain::parse(domain)?;
        let is_known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let is_segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_known);
        if !path.is_empty() && !path.split('/').skip(1).all(is_segment) {
            return Err(BadId::Path);
        }
        Ok(Self { text: text.into(), path: SCHEME.len() + domain.len() })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The domain it is of.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.text.get(SCHEME.len()..self.path).unwrap_or_default().into())
    }

    /// It names somebody in the domain, not the domain.
    pub(super) fn has_path(&self) -> bool {
        self.path < self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_trust_domain_and_a_path() {
        for (text, domain) in [
            ("spiffe://example.org/ns/a/sa/b", Ok("example.org")),
            ("spiffe://a_b-1", Ok("a_b-1")),
            ("spiffe://a/B..c", Ok("a")),
            ("https://a/b", Err(BadId::Scheme)),
            ("spiffe:///b", Err(BadId::TrustDomain)),
            ("spiffe://A/b", Err(BadId::TrustDomain)),
            ("spiffe://a:80/b", Err(BadId::TrustDomain)),
            ("spiffe://u@a/b", Err(BadId::TrustDomain)),
            ("spiffe://a/", Err(BadId::Path)),
            ("spiffe://a/b/", Err(BadId::Path)),
            ("spiffe://a//b", Err(BadId::Path)),
            ("spiffe://a/../b", Err(BadId::Path)),
            ("spiffe://a/b?c", Err(BadId::Path)),
            ("spiffe://a/%41", Err(BadId::Path)),
            ("spiffe://a:/b", Err(BadId::TrustDomain)),
        ] {
            let id = Id::parse(text);

            let read = id.as_ref().map(Id::trust_domain).map_err(|error| *error);
            assert_eq!(read, domain.map(|domain: &str| TrustDomain(domain.into())), "{text}");
            assert!(id.is_err() || id.is_ok_and(|id| id.has_path() == (text != "spiffe://a_b-1")));
        }
        let long = format!("spiffe://a/{}", "b".repeat(LONGEST));
        assert_eq!(Id::parse(&long), Err(BadId::TooLong));
    }

    #[test]
    fn a_trust_domain_may_be_written_as_an_id() {
        let domain = TrustDomain("example.org".into());

        assert_eq!(TrustDomain::parse("example.org"), Ok(domain.clone()));
        assert_eq!(TrustDomain::parse("spiffe://example.org"), Ok(domain.clone()));
        assert_eq!(TrustDomain::parse("spiffe://example.org/web"), Ok(domain));
        assert_eq!(TrustDomain::parse(""), Err(BadId::TrustDomain));
        assert_eq!(TrustDomain::parse("Example.org"), Err(BadId::TrustDomain));
    }
}
