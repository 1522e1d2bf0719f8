//! Which cipher suite goes before which.

use std::sync::Arc;

use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

/// One configuration in the two orders that clients are served in. As Go: ours, but clients
/// that put ChaCha20 first most likely lack instructions for AES, and get what they ask for.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    pub(super) ours: Arc<ServerConfig>,
    pub(super) theirs: Arc<ServerConfig>,
}

impl From<ServerConfig> for Ordered {
    fn from(config: ServerConfig) -> Self {
        let (mut ours, mut theirs) = (config.clone(), config);
        ours.ignore_client_order = true;
        theirs.ignore_client_order = false;
        Self { ours: Arc::new(ours), theirs: Arc::new(theirs) }
    }
}

/// As Go: AES-128 costs least and is strong enough, ChaCha20 comes last.
pub(super) fn sort(suites: &mut [SupportedCipherSuite]) {
    suites.sort_by_key(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        let rank = ["AES_128", "AES_256"].iter().position(|bulk| name.contains(bulk));
        (suite.tls13().is_none(), rank.unwrap_or(2))
    });
}

/// Whether a client puts ChaCha20 before AES.
pub(super) fn prefers_chacha(offered: &[CipherSuite]) -> bool {
    let mut bulk = offered.iter().filter_map(|suite| {
        let name = suite.as_str()?;
        let is_chacha = name.contains("CHACHA20");
        (is_chacha || name.contains("_GCM_")).then_some(is_chacha)
    });
    bulk.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;

    use super::*;

    #[test]
    fn ours_is_the_order_of_go() {
        let mut suites = aws_lc_rs::ALL_CIPHER_SUITES.to_vec();

        sort(&mut suites);

        let names: Vec<_> = suites.iter().filter_map(|suite| suite.suite().as_str()).collect();
        assert_eq!(
            names,
            [
                "TLS13_AES_128_GCM_SHA256",
                "TLS13_AES_256_GCM_SHA384",
                "TLS13_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            ]
        );
    }

    #[test]
    fn clients_without_instructions_for_aes_are_told_by_their_order() {
        use CipherSuite as Suite;
        let (aes, chacha) =
            (Suite::TLS13_AES_128_GCM_SHA256, Suite::TLS13_CHACHA20_POLY1305_SHA256);
        let old = Suite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA;
        let grease = Suite::Unknown(0x0a0a);
        for (offered, expected) in [
            (&[aes, chacha][..], false),
            (&[chacha, aes], true),
            (&[grease, old, chacha, aes], true),
            (&[old], false),
            (&[], false),
        ] {
            assert_eq!(prefers_chacha(offered), expected, "{offered:?}");
        }
    }
}
