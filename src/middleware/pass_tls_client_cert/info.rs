//! What a certificate says, in Traefik's form: `Subject="C=FR,CN=a";SerialNumber="7"`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

use super::{Info, Issuer, Subject};

const DOMAIN_COMPONENT: &str = "0.9.2342.19200300.100.1.25";
const COUNTRY: &str = "2.5.4.6";
const PROVINCE: &str = "2.5.4.8";
const LOCALITY: &str = "2.5.4.7";
const ORGANIZATION: &str = "2.5.4.10";
const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
const SERIAL_NUMBER: &str = "2.5.4.5";
const COMMON_NAME: &str = "2.5.4.3";

/// What is to be told.
pub(super) struct Wanted {
    subject: Box<[Part]>,
    issuer: Box<[Part]>,
    serial_number: bool,
    not_before: bool,
    not_after: bool,
    sans: bool,
}

/// A part of a name, in the order in which parts are told.
struct Part {
    key: &'static str,
    oid: &'static str,
    /// Only the last one counts, as Go has it.
    is_single: bool,
}

impl Part {
    const fn many(key: &'static str, oid: &'static str) -> Self {
        Self { key, oid, is_single: false }
    }

    const fn one(key: &'static str, oid: &'static str) -> Self {
        Self { key, oid, is_single: true }
    }
}

impl Wanted {
    pub(super) fn new(info: &Info) -> Self {
        Self {
            subject: info.subject.as_ref().map(subject).unwrap_or_default(),
            issuer: info.issuer.as_ref().map(issuer).unwrap_or_default(),
            serial_number: info.serial_number,
            not_before: info.not_before,
            not_after: info.not_after,
            sans: info.sans,
        }
    }

    /// What is wanted of a certificate; nothing of one that can't be read.
    pub(super) fn tell(&self, der: &[u8]) -> String {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return String::new() };
        let names = [
            ("Subject", name(&self.subject, certificate.subject())),
            ("Issuer", name(&self.issuer, certificate.issuer())),
        ];
        let mut fields: Vec<_> = (names.into_iter())
            .filter(|(_, name)| !name.is_empty())
            .map(|(field, name)| format!("{field}=\"{name}\""))
            .collect();
        if self.serial_number {
            fields.push(format!("SerialNumber=\"{}\"", certificate.tbs_certificate.serial));
        }
        let validity = certificate.validity();
        if self.not_before {
            fields.push(format!("NB=\"{}\"", validity.not_before.timestamp().cast_unsigned()));
        }
        if self.not_after {
            fields.push(format!("NA=\"{}\"", validity.not_after.timestamp().cast_unsigned()));
        }
        let sans = if self.sans { sans(&certificate) } else { Vec::new() };
        if !sans.is_empty() {
            fields.push(format!("SAN=\"{}\"", sans.join(",")));
        }
        fields.join(";")
    }
}

fn subject(wanted: &Subject) -> Box<[Part]> {
    pick([
        (wanted.domain_component, Part::many("DC", DOMAIN_COMPONENT)),
        (wanted.country, Part::many("C", COUNTRY)),
        (wanted.province, Part::many("ST", PROVINCE)),
        (wanted.locality, Part::many("L", LOCALITY)),
        (wanted.organization, Part::many("O", ORGANIZATION)),
        (wanted.organizational_unit, Part::many("OU", ORGANIZATIONAL_UNIT)),
        (wanted.serial_number, Part::one("SN", SERIAL_NUMBER)),
        (wanted.common_name, Part::one("CN", COMMON_NAME)),
    ])
}

fn issuer(wanted: &Issuer) -> Box<[Part]> {
    pick([
        (wanted.domain_component, Part::many("DC", DOMAIN_COMPONENT)),
        (wanted.country, Part::many("C", COUNTRY)),
        (wanted.province, Part::many("ST", PROVINCE)),
        (wanted.locality, Part::many("L", LOCALITY)),
        (wanted.organization, Part::many("O", ORGANIZATION)),
        (wanted.serial_number, Part::one("SN", SERIAL_NUMBER)),
        (wanted.common_name, Part::one("CN", COMMON_NAME)),
    ])
}

fn pick<const N: usize>(parts: [(bool, Part); N]) -> Box<[Part]> {
    parts.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, part)| part).collect()
}

/// `C=FR,CN=a`; empty values are left out.
fn name(parts: &[Part], name: &X509Name<'_>) -> String {
    let mut told = Vec::new();
    for part in parts {
        let mut values: Vec<_> = name
            .iter_attributes()
            .filter(|attribute| attribute.attr_type().to_id_string() == part.oid)
            .map(text)
            .collect();
        if part.is_single {
            values.drain(..values.len().saturating_sub(1));
        }
        let values = values.iter().filter(|value| !value.is_empty());
        told.extend(values.map(|value| format!("{}={value}", part.key)));
    }
    told.join(",")
}

/// The text of an attribute; that of old certificates may be UTF-16.
fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    if value.tag() == Tag::BmpString {
        let units = value.data.chunks_exact(2).map(|pair| match pair {
            [high, low] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        });
        return char::decode_utf16(units).map(|letter| letter.unwrap_or('\u{fffd}')).collect();
    }
    String::from_utf8_lossy(value.data).into_owned()
}

/// Names, mail addresses, addresses, URIs: in this order.
fn sans(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let mut sorted: [Vec<String>; 4] = Default::default();
    let [names, mails, addresses, uris] = &mut sorted;
    for general in &extension.value.general_names {
        match general {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::RFC822Name(mail) => mails.push((*mail).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => {}
        }
    }
    sorted.concat()
}

fn address(bytes: &[u8]) -> Option<String> {
    let address: IpAddr = if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(bytes).into()
    } else {
        Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()
    };
    Some(address.to_canonical().to_string())
}

/// As Go escapes texts in a query: a blank is `+`.
pub(super) fn escape(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().map_or('0', char::from);
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    out
}
