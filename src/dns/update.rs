//! Updates of a zone at its server (RFC 2136).

use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, UpdateMessage};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::tsig::{self, Key, Objection};
use super::{Code, Error, Server, exchange, parse};

/// What is done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is put beside those that are there.
    Add,
    /// It alone is taken away.
    Remove,
}

/// A change of one TXT record.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    /// The zone, as its server calls it.
    pub zone: &'a str,
    /// The record's name.
    pub name: &'a str,
    /// Its text, up to 255 bytes.
    pub text: &'a str,
    /// Seconds that it may be remembered.
    pub ttl: u32,
    /// What is done.
    pub change: Change,
}

/// Why a zone was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The server does not say.
    Error(Error),
    /// It does.
    Says(Code, Option<Objection>),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Changes a zone. What is sent again does no harm: the same record is only there once.
pub async fn update(
    server: &Server,
    update: &Update<'_>,
    key: Option<&Key>,
    limit: Duration,
) -> Result<(), Refused> {
    let failed = |why: String| Error::Server { server: server.to_string().into(), why: why.into() };
    let mut message = message(update)?;
    let mac = key.map(|key| key.sign(&mut message)).transpose().map_err(failed)?;
    let (raw, answer) = exchange::exchange(server, &message, limit, false).await?;
    let code = Code::from(answer.metadata.response_code);
    if code != Code::NO_ERROR {
        return Err(Refused::Says(code, tsig::objection(&answer)));
    }
    if let (Some(key), Some(mac)) = (key, mac) {
        key.verify(&raw, &mac).map_err(failed)?;
    }
    Ok(())
}

fn message(update: &Update<'_>) -> Result<Message, Error> {
    let id = rand::random();
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    message.add_zone(Query::query(parse(update.zone)?, RecordType::SOA));
    let text = RData::TXT(TXT::from_bytes(vec![update.text.as_bytes()]));
    let mut record = Record::from_rdata(parse(update.name)?, update.ttl, text);
    if update.change == Change::Remove {
        record.dns_class = DNSClass::NONE;
        record.ttl = 0;
    }
    message.add_update(record);
    Ok(message)
}
