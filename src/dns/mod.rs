//! A small DNS client: questions to given servers (RFC 1035), whose zone a name is in, and
//! signed updates of zones (RFC 2136, RFC 8945). Knows neither certificates nor routes, and
//! keeps nothing: who asks often remembers the answers.

mod exchange;
mod reply;
mod server;
mod tsig;
mod update;
mod zone;

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};

use tokio::time::{Instant, timeout_at};

pub use reply::{Code, Data, Record, Reply};
pub use server::{SYSTEM, Server, configured};
pub use tsig::{ALGORITHMS, Key, Objection};
pub use update::{Change, Refused, Update, update};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// The name it is an alias of.
    Cname,
    /// A zone's servers.
    Ns,
    /// The head of a zone.
    Soa,
    /// Text.
    Txt,
}

impl Kind {
    fn wire(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Cname => RecordType::CNAME,
            Self::Ns => RecordType::NS,
            Self::Soa => RecordType::SOA,
            Self::Txt => RecordType::TXT,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It can't be asked for.
    #[error("{name:?} is no DNS name")]
    Name {
        /// As given.
        name: Box<str>,
    },
    /// The list is empty.
    #[error("no DNS server to ask")]
    NoServer,
    /// A server did not answer, or nothing that can be understood.
    #[error("DNS server {server}: {why}")]
    Server {
        /// As it was named.
        server: Box<str>,
        /// What happened.
        why: Box<str>,
    },
    /// None of several did.
    #[error("{}", each(.0))]
    All(Vec<Error>),
}

fn each(errors: &[Error]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether a server is to ask others for what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursion {
    /// It is.
    Wanted,
    /// It is to say what it has itself.
    None,
}

/// Servers that are asked one after the other.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// In the order they are asked.
    pub servers: Vec<Server>,
    /// For one server to answer.
    pub limit: Duration,
    /// Not by UDP.
    pub is_tcp_only: bool,
}

/// Bytes of an answer that are taken by UDP: what passes everywhere in one piece.
const PAYLOAD: u16 = 1232;

impl Resolver {
    /// The first answer with records in it, else the last one without.
    pub async fn ask(&self, name: &str, kind: Kind) -> Result<Reply, Error> {
        let mut last = None;
        let mut errors = Vec::new();
        for server in &self.servers {
            match self.ask_one(server, name, kind, Recursion::Wanted).await {
                Ok(reply) if !reply.records.is_empty() => return Ok(reply),
                Ok(reply) => last = Some(reply),
                Err(error @ Error::Name { .. }) => return Err(error),
                Err(error) => errors.push(error),
            }
        }
        last.ok_or_else(|| failed(errors))
    }

    /// What the first server says that knows, whether or not it has records. Each has `patience`
    /// before the next one is asked beside it, so that one that is dead costs that much.
    pub async fn ask_first(
        &self,
        name: &str,
        kind: Kind,
        patience: Duration,
    ) -> Result<Reply, Error> {
        let mut asked = FuturesUnordered::new();
        let mut errors = Vec::new();
        let mut last = None;
        for server in &self.servers {
            asked.push(self.ask_one(server, name, kind, Recursion::Wanted));
            let next = Instant::now() + patience;
            while let Ok(Some(told)) = timeout_at(next, asked.next()).await {
                match told {
                    Ok(reply) if reply.is_certain() => return Ok(reply),
                    Ok(reply) => last = Some(reply),
                    Err(error @ Error::Name { .. }) => return Err(error),
                    Err(error) => errors.push(error),
                }
            }
        }
        while let Some(told) = asked.next().await {
            match told {
                Ok(reply) if reply.is_certain() => return Ok(reply),
                Ok(reply) => last = Some(reply),
                Err(error) => errors.push(error),
            }
        }
        last.ok_or_else(|| failed(errors))
    }

    /// What this server says.
    pub async fn ask_one(
        &self,
        server: &Server,
        name: &str,
        kind: Kind,
        recursion: Recursion,
    ) -> Result<Reply, Error> {
        let mut message = Message::query();
        message.metadata.recursion_desired = recursion == Recursion::Wanted;
        message.add_query(Query::query(parse(name)?, kind.wire()));
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
        let (_, answer) =
            exchange::exchange(server, &message, self.limit, self.is_tcp_only).await?;
        Ok(Reply::of(server, &answer))
    }
}

/// What several servers did instead of answering.
fn failed(mut errors: Vec<Error>) -> Error {
    match errors.len() {
        0 => Error::NoServer,
        1 => errors.remove(0),
        _ => Error::All(errors),
    }
}

/// A name from its text; with or without the dot at its end, it is fully qualified.
fn parse(name: &str) -> Result<Name, Error> {
    let wrong = || Error::Name { name: name.into() };
    // The library would take letters of other scripts and escapes; DNS over the wire has
    // neither in a host's name.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err(wrong());
    }
    let mut name = Name::from_ascii(name).map_err(|_| wrong())?;
    name.set_fqdn(true);
    Ok(name)
}

/// A name's text: lower case, with the dot at its end.
fn text(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests;
