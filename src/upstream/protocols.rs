//! TLS versions and cipher suites towards servers, from Go's names to rustls.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use super::transport::TransportSettings;

/// The versions from `minVersion` to `maxVersion` that are spoken.
pub(super) fn versions(
    settings: &TransportSettings,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let min = number("minVersion", &settings.min_version)?.unwrap_or(12);
    let max = number("maxVersion", &settings.max_version)?.unwrap_or(13);
    let mut versions = Vec::new();
    if min <= 13 && max >= 13 {
        versions.push(&version::TLS13);
    }
    if min <= 12 && max >= 12 {
        versions.push(&version::TLS12);
    }
    if versions.is_empty() {
        return Err(format!(
            "no TLS version from {:?} to {:?}; allow VersionTLS12 or VersionTLS13",
            settings.min_version, settings.max_version
        ));
    }
    Ok(versions)
}

fn number(key: &str, text: &str) -> Result<Option<u8>, String> {
    match text {
        "" => Ok(None),
        "VersionTLS10" => Ok(Some(10)),
        "VersionTLS11" => Ok(Some(11)),
        "VersionTLS12" => Ok(Some(12)),
        "VersionTLS13" => Ok(Some(13)),
        other => Err(format!("invalid TLS {key}: {other}; use VersionTLS12 or VersionTLS13")),
    }
}

/// The suites of `cipherSuites` that are there. Those of TLS 1.3 can't be chosen, as in Go.
pub(super) fn provider(settings: &TransportSettings) -> Result<CryptoProvider, String> {
    let mut provider = aws_lc_rs::default_provider();
    if settings.cipher_suites.is_empty() {
        return Ok(provider);
    }
    let chosen: Vec<_> = settings.cipher_suites.iter().filter_map(|name| suite(name)).collect();
    if chosen.is_empty() {
        return Err("cipherSuites: none of them is offered; name \
                    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 or another ECDHE suite with GCM or \
                    CHACHA20_POLY1305"
            .to_owned());
    }
    provider.cipher_suites.retain(|suite| suite.tls13().is_some() || chosen.contains(suite));
    Ok(provider)
}

fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let name = match name {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        name => name,
    };
    // Go's names of the suites of TLS 1.3 lack a word.
    let is_it = |known: &str| known == name || known.replacen("TLS13_", "TLS_", 1) == name;
    let mut all = aws_lc_rs::ALL_CIPHER_SUITES.iter().copied();
    all.find(|suite| suite.suite().as_str().is_some_and(is_it))
}

/// What is asked for and not done, in words for the user.
pub(super) fn remarks(settings: &TransportSettings) -> Vec<String> {
    let unknown = settings.cipher_suites.iter().filter(|name| suite(name).is_none());
    let mut remarks: Vec<_> = unknown
        .map(|name| {
            format!(
                "cipher suite {name} is not offered to servers: it is not known, has no forward \
                 secrecy or uses CBC"
            )
        })
        .collect();
    let min = settings.min_version.as_str();
    if matches!(min, "VersionTLS10" | "VersionTLS11") {
        remarks.push(format!("minVersion {min}: TLS 1.2 is the oldest version spoken to servers"));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(min: &str, max: &str) -> TransportSettings {
        TransportSettings {
            min_version: min.to_owned(),
            max_version: max.to_owned(),
            ..TransportSettings::default()
        }
    }

    #[test]
    fn versions_are_those_between_the_two() {
        for (min, max, wanted) in [
            ("", "", Some(2)),
            ("VersionTLS10", "", Some(2)),
            ("VersionTLS13", "", Some(1)),
            ("", "VersionTLS12", Some(1)),
            ("VersionTLS13", "VersionTLS12", None),
            ("", "VersionTLS11", None),
            ("TLS12", "", None),
        ] {
            let made = versions(&with(min, max)).ok().map(|versions| versions.len());

            assert_eq!(made, wanted, "{min} {max}");
        }
    }

    #[test]
    fn suites_that_are_not_there_are_told_and_the_others_are_used() {
        let names = ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_RSA_WITH_AES_128_CBC_SHA"];
        let both = TransportSettings {
            cipher_suites: names.map(str::to_owned).to_vec(),
            ..TransportSettings::default()
        };
        let none = TransportSettings {
            cipher_suites: vec![names[1].to_owned()],
            ..TransportSettings::default()
        };

        let suites = provider(&both).unwrap().cipher_suites;
        assert_eq!(suites.iter().filter(|suite| suite.tls13().is_none()).count(), 1);
        assert_eq!(remarks(&both).len(), 1);
        assert!(provider(&none).unwrap_err().starts_with("cipherSuites"));
    }
}
