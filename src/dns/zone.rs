//! Where a name leads and whose it is: aliases, zones, their servers.

use std::net::IpAddr;

use super::{Code, Data, Error, Kind, Reply, Resolver};

/// Aliases that are followed at most; as lego.
const LONGEST: usize = 50;

impl Resolver {
    /// What a name is an alias of in the end; the name itself when it is none, or nobody
    /// says so. With the dot at its end.
    pub async fn follow(&self, name: &str) -> String {
        let mut name = name.to_owned();
        for _ in 0..LONGEST {
            let reply = match self.ask(&name, Kind::Cname).await {
                Ok(reply) => reply,
                Err(error) => {
                    tracing::debug!("looking for an alias at {name}: {error}");
                    break;
                }
            };
            match reply.alias(&name) {
                Some((target, _)) if reply.code == Code::NO_ERROR && target != name => {
                    tracing::debug!("{name} is an alias of {target}");
                    name = target.to_owned();
                }
                _ => break,
            }
        }
        name
    }

    /// The zone that a name is in: the nearest name above it, or itself, with a SOA record.
    pub async fn zone(&self, name: &str) -> Result<String, Error> {
        let mut rest = name;
        while !rest.is_empty() {
            let reply = self.ask(rest, Kind::Soa).await?;
            if ![Code::NO_ERROR, Code::NO_NAME].contains(&reply.code) {
                return Err(says(&reply, &format!("{} for the SOA record of {rest}", reply.code)));
            }
            // There is no zone at an alias; its target's SOA record is another zone's.
            let is_alias = reply.records.iter().any(|one| matches!(one.data, Data::Alias(_)));
            let start = reply.records.into_iter().find(|one| one.data == Data::Start);
            if let Some(start) = start.filter(|_| !is_alias) {
                return Ok(start.name);
            }
            rest = rest.split_once('.').map_or("", |(_, above)| above);
        }
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        let why = format!("no zone found that {name} is in");
        Err(Error::Server { server: servers.join(", ").into(), why: why.into() })
    }

    /// The servers of a zone, by name.
    pub async fn name_servers(&self, zone: &str) -> Result<Vec<String>, Error> {
        let reply = self.ask(zone, Kind::Ns).await?;
        let mut found: Vec<String> = Vec::new();
        for record in &reply.records {
            if let Data::Server(name) = &record.data {
                found.push(name.clone());
            }
        }
        if found.is_empty() {
            return Err(says(&reply, &format!("{}, no name servers of {zone}", reply.code)));
        }
        Ok(found)
    }

    /// A host's addresses; what these servers don't know, the system may.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let mut found = Vec::new();
        let mut error = None;
        for kind in [Kind::A, Kind::Aaaa] {
            match self.ask(host, kind).await {
                Ok(reply) => found.extend(reply.records.iter().filter_map(|one| {
                    let Data::Address(address) = one.data else { return None };
                    Some(address)
                })),
                Err(why) => error = Some(why),
            }
        }
        if found.is_empty()
            && let Ok(addresses) = tokio::net::lookup_host((host, 0)).await
        {
            found.extend(addresses.map(|address| address.ip()));
        }
        if found.is_empty() {
            let why = "it has no address".into();
            return Err(error.unwrap_or(Error::Server { server: host.into(), why }));
        }
        Ok(found)
    }
}

fn says(reply: &Reply, what: &str) -> Error {
    Error::Server { server: reply.server.clone(), why: format!("it says {what}").into() }
}
