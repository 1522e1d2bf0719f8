//! Whether a TXT record is out: asked for at the servers of its zone, and where it is wanted
//! at the recursive ones, until all of them show it. A CA that looks too early counts it as a
//! failure, and some only let so many of them pass.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::variables::Patience;
use super::{Record, Trouble};
use crate::dns::{Code, Data, Error, Kind, Recursion, Resolver, Server};
use crate::settings::{DnsChallenge, Propagation};

/// Which servers must show a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checks {
    pub(super) delay: Duration,
    /// Those of its zone.
    pub(super) authoritative: bool,
    /// All that are asked for other things.
    pub(super) recursive: bool,
}

impl Checks {
    pub(super) fn of(settings: &DnsChallenge) -> Self {
        let given = settings.propagation.clone().unwrap_or_default();
        let Propagation { disable_checks, disable_ans_checks, require_all_rns, .. } = given;
        // As Traefik: the deprecated ones win where they are set.
        let delay = settings.delay_before_check.positive();
        let delay = delay.or(given.delay_before_checks.positive()).unwrap_or_default();
        let is_off = disable_checks || settings.disable_propagation_check;
        Self {
            delay,
            authoritative: !is_off && !disable_ans_checks,
            recursive: !is_off && require_all_rns,
        }
    }

    /// Waits until all records are out.
    pub(super) async fn wait(
        self,
        resolver: &Resolver,
        patience: Patience,
        records: &[Record],
    ) -> Result<(), (String, Trouble)> {
        sleep(self.delay).await;
        if !self.authoritative && !self.recursive {
            return Ok(());
        }
        let until = Instant::now() + patience.limit;
        if !self.authoritative {
            // Who asks a recursive server too early makes it remember that there is nothing.
            sleep(patience.pause).await;
        }
        let waits = records.iter().map(|record| async move {
            loop {
                let Err(why) = self.look(resolver, record).await else { return Ok(()) };
                if Instant::now() + patience.pause >= until {
                    return Err((record.domain.clone(), late(record, patience, &why)));
                }
                tracing::debug!("the TXT record {} is not out yet: {why}", record.name);
                sleep(patience.pause).await;
            }
        });
        try_join_all(waits).await.map(drop)
    }

    async fn look(self, resolver: &Resolver, record: &Record) -> Result<(), Missing> {
        if self.authoritative {
            Self::look_at_zone(resolver, record).await?;
        }
        if self.recursive {
            for server in &resolver.servers {
                shows(resolver, server, &server.to_string(), record, Recursion::Wanted).await?;
            }
        }
        Ok(())
    }

    /// Whether all servers of its zone show a record.
    async fn look_at_zone(resolver: &Resolver, record: &Record) -> Result<(), Missing> {
        let zone = resolver.zone(&record.name).await.map_err(Missing::Zone)?;
        for host in resolver.name_servers(&zone).await.map_err(Missing::Zone)? {
            let addresses = resolver.addresses(&host).await.map_err(Missing::Silent)?;
            let mut result = Ok(());
            // One address of a server that can be reached is enough: not every machine has
            // both kinds.
            for address in addresses {
                let server = Server::at(address);
                let shown = format!("{host} ({address})");
                result = shows(resolver, &server, &shown, record, Recursion::None).await;
                if !matches!(result, Err(Missing::Silent(_))) {
                    break;
                }
            }
            result?;
        }
        Ok(())
    }
}

/// Whether a server shows a record.
async fn shows(
    resolver: &Resolver,
    server: &Server,
    shown: &str,
    record: &Record,
    recursion: Recursion,
) -> Result<(), Missing> {
    let asked = resolver.ask_one(server, &record.name, Kind::Txt, recursion).await;
    let reply = asked.map_err(Missing::Silent)?;
    let texts = reply.records.iter().filter_map(|one| {
        let Data::Text(text) = &one.data else { return None };
        Some(text.as_slice())
    });
    let texts: Vec<&[u8]> = texts.collect();
    if texts.contains(&record.value.as_bytes()) {
        return Ok(());
    }
    let said = match (reply.code, texts.len()) {
        (Code::NO_ERROR, 0) => "no TXT record at that name".to_owned(),
        (Code::NO_ERROR, 1) => "another TXT record at that name".to_owned(),
        (Code::NO_ERROR, count) => format!("{count} other TXT records at that name"),
        (code, _) => code.to_string(),
    };
    Err(Missing::Otherwise { server: shown.to_owned(), said, recursion })
}

/// Why a record is not out.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("{0}")]
    Zone(Error),
    #[error("{0}")]
    Silent(Error),
    #[error("{server} says {said}")]
    Otherwise { server: String, said: String, recursion: Recursion },
}

fn late(record: &Record, patience: Patience, why: &Missing) -> Trouble {
    let seconds = patience.limit.as_secs();
    let text = format!(
        "the TXT record {} was put up but is not out after {seconds} s: {why}",
        record.name
    );
    let longer = format!("{}PROPAGATION_TIMEOUT", patience.prefix);
    let mend = match why {
        Missing::Zone(_) => {
            "see that the domain is registered and delegated, or set dnsChallenge.resolvers to \
             DNS servers that know its zone; propagation.disableANSChecks does without"
                .to_owned()
        }
        Missing::Silent(_) => "let this machine reach that server by UDP and TCP, or set \
             propagation.disableANSChecks"
            .to_owned(),
        Missing::Otherwise { recursion: Recursion::Wanted, .. } => format!(
            "that server may remember that there was no record: raise {longer}, or leave \
             propagation.requireAllRNS out"
        ),
        Missing::Otherwise { recursion: Recursion::None, .. } => format!(
            "see that the provider changes this zone and that its servers get the change; if \
             they only take longer, raise {longer}"
        ),
    };
    Trouble { text, mend }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::GoDuration;

    #[test]
    fn options_say_which_servers_must_show_it() {
        let none = DnsChallenge::default();
        let checks = |more: Propagation| {
            Checks::of(&DnsChallenge { propagation: Some(more), ..none.clone() })
        };
        let (given, deprecated) = (GoDuration::from_secs(3), GoDuration::from_secs(5));

        let (delay, off) = (Duration::ZERO, Propagation { disable_checks: true, ..<_>::default() });
        let usual = Checks { delay, authoritative: true, recursive: false };
        assert_eq!(Checks::of(&none), usual);
        assert_eq!(checks(Propagation::default()), usual);
        assert_eq!(
            checks(Propagation { disable_ans_checks: true, ..Propagation::default() }),
            Checks { authoritative: false, ..usual }
        );
        assert_eq!(
            checks(Propagation { require_all_rns: true, ..Propagation::default() }),
            Checks { recursive: true, ..usual }
        );
        assert_eq!(checks(off.clone()), Checks { authoritative: false, ..usual });
        let settings = DnsChallenge {
            propagation: Some(Propagation { delay_before_checks: given, ..off }),
            delay_before_check: deprecated,
            ..none.clone()
        };
        assert_eq!(Checks::of(&settings).delay, Duration::from_secs(5));
        let settings = DnsChallenge { disable_propagation_check: true, ..none };
        assert_eq!(Checks::of(&settings), Checks { authoritative: false, ..usual });
    }
}
