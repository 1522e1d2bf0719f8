//! What servers answer.

use std::fmt;
use std::net::IpAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{self, RData};

use super::{Server, text};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who said it, as it was named.
    pub server: Box<str>,
    /// How it went.
    pub code: Code,
    /// What was found.
    pub records: Vec<Record>,
}

/// One record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Lower case, with the dot at its end.
    pub name: String,
    /// Seconds that it may be remembered.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says; names are lower case with the dot at their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME.
    Alias(String),
    /// NS.
    Server(String),
    /// SOA.
    Start,
    /// TXT, its strings put together.
    Text(Vec<u8>),
    /// Another one.
    Other,
}

impl Reply {
    /// The server knows: it has records, or there are none.
    pub fn is_certain(&self) -> bool {
        [Code::NO_ERROR, Code::NO_NAME].contains(&self.code)
    }

    pub(super) fn of(server: &Server, message: &Message) -> Self {
        Self {
            server: server.to_string().into(),
            code: Code(message.metadata.response_code.into()),
            records: message.answers.iter().map(Record::of).collect(),
        }
    }

    /// What a name is an alias of.
    pub fn alias(&self, name: &str) -> Option<(&str, u32)> {
        self.records.iter().find_map(|record| {
            let Data::Alias(target) = &record.data else { return None };
            let is_its = record.name.eq_ignore_ascii_case(name);
            is_its.then_some((target.as_str(), record.ttl))
        })
    }
}

impl Record {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only a few kinds are asked for")]
    fn of(record: &rr::Record) -> Self {
        let data = match &record.data {
            RData::A(address) => Data::Address(IpAddr::V4(address.0)),
            RData::AAAA(address) => Data::Address(IpAddr::V6(address.0)),
            RData::CNAME(name) => Data::Alias(text(&name.0)),
            RData::NS(name) => Data::Server(text(&name.0)),
            RData::SOA(_) => Data::Start,
            RData::TXT(strings) => Data::Text(strings.txt_data.concat()),
            _ => Data::Other,
        };
        Self { name: text(&record.name), ttl: record.ttl, data }
    }
}

/// How it went: a response code of DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u16);

impl Code {
    /// NOERROR.
    pub const NO_ERROR: Self = Self(0);
    /// SERVFAIL.
    pub const SERVER_FAILURE: Self = Self(2);
    /// NXDOMAIN.
    pub const NO_NAME: Self = Self(3);
    /// REFUSED.
    pub const REFUSED: Self = Self(5);
    /// NOTAUTH: the server is not the zone's, or does not accept the signature.
    pub const NOT_AUTH: Self = Self(9);
    /// NOTZONE: the name is not in the zone.
    pub const NOT_ZONE: Self = Self(10);
}

impl From<ResponseCode> for Code {
    fn from(code: ResponseCode) -> Self {
        Self(code.into())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 11] = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN",
            "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
        ];
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}
