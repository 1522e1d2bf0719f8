//! Certificates.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Counts, Object, overview};
use crate::api::list::{Key, Row, holds};
use crate::table::Table;
use crate::tls::Facts;

/// With less time than this left, a certificate is a warning.
const SOON: i64 = 30 * 24 * 3600;

/// One certificate and how it stands now.
pub(in crate::api) struct CertificateRow<'t> {
    facts: &'t Facts,
    status: &'static str,
}

/// The declared certificates by fingerprint; the default one is not among them.
pub(in crate::api) fn certificates(table: &Table) -> impl Iterator<Item = CertificateRow<'_>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let mut rows: Vec<_> = table
        .tls
        .declared()
        .map(|facts| CertificateRow { facts, status: status(facts.not_after, now) })
        .collect();
    rows.sort_by(|one, other| one.name().cmp(other.name()));
    rows.into_iter()
}

/// How many there are; expired ones are errors.
pub(in crate::api) fn count_certificates(table: &Table) -> Counts {
    certificates(table).fold(Counts::default(), |mut counts, row| {
        counts.total += 1;
        counts.warnings += usize::from(row.status == "warning");
        counts.errors += usize::from(row.status == "expired");
        counts
    })
}

const fn status(not_after: i64, now: i64) -> &'static str {
    match not_after.saturating_sub(now) {
        left if left <= 0 => "expired",
        left if left < SOON => "warning",
        _ => "enabled",
    }
}

fn moment(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    overview::moment(SystemTime::UNIX_EPOCH + since)
}

impl CertificateRow<'_> {
    pub(in crate::api) fn json(&self) -> Value {
        let about = &self.facts.about;
        let mut object = Object::default();
        object.put("name", &about.fingerprint);
        object.put_list("sans", &about.sans);
        object.put("notAfter", moment(self.facts.not_after));
        object.put("notBefore", moment(about.not_before));
        object.put("serialNumber", &about.serial);
        object.put_text("commonName", &self.facts.common_name);
        object.put_text("issuerOrg", &about.issuer.organization);
        object.put_text("issuerCN", &about.issuer_name);
        object.put_text("issuerCountry", &about.issuer.country);
        object.put_text("organization", &about.subject.organization);
        object.put_text("country", &about.subject.country);
        object.put("version", &about.version);
        object.put("keyType", about.key_type);
        if about.key_size != 0 {
            object.put("keySize", about.key_size);
        }
        object.put("signatureAlgorithm", about.signature);
        object.put("certFingerprint", &about.fingerprint);
        object.put("publicKeyFingerprint", &about.key_fingerprint);
        object.put("status", self.status);
        object.into_value()
    }
}

impl Row for CertificateRow<'_> {
    fn name(&self) -> &str {
        &self.facts.about.fingerprint
    }

    fn status(&self) -> &str {
        self.status
    }

    fn contains(&self, search: &str) -> bool {
        holds(&self.facts.common_name, search)
            || holds(&self.facts.about.issuer_name, search)
            || self.facts.about.sans.iter().any(|name| holds(name, search))
    }

    fn column(&self, name: &str) -> Option<Key> {
        Some(match name {
            "status" => Key::Text(self.status.to_owned()),
            "issuer" => Key::Text(self.facts.about.issuer_name.clone()),
            "validUntil" => Key::Number(self.facts.not_after),
            _ => Key::Text(self.facts.common_name.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_a_warning_in_its_last_thirty_days() {
        for (left, wanted) in [(-1, "expired"), (0, "expired"), (60, "warning"), (SOON, "enabled")]
        {
            assert_eq!(status(1_000_000 + left, 1_000_000), wanted, "{left}");
        }
    }

    #[test]
    fn a_certificate_is_shown_in_traefiks_keys() {
        let mut facts = Facts { common_name: "a.test".to_owned(), ..Facts::default() };
        facts.about.fingerprint = "ab".to_owned();
        facts.about.key_type = "Unknown";

        let shown = CertificateRow { facts: &facts, status: "enabled" }.json();

        assert_eq!((&shown["name"], &shown["certFingerprint"]), (&"ab".into(), &"ab".into()));
        assert_eq!(shown["notBefore"], "1970-01-01T00:00:00Z");
        assert!(shown.get("keySize").is_none());
    }
}
