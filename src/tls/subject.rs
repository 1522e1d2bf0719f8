//! Distinguished names as Go prints them.

use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// A certificate's subject as Go prints it (RFC 2253: the last part first).
pub fn subject(der: &[u8]) -> Option<Box<str>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(print(certificate.subject()).into())
}

fn print(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes = rdn.iter().map(|attribute| {
                let oid = attribute.attr_type().to_id_string();
                let value = attribute.as_str().unwrap_or_default();
                format!("{}={}", short_name(&oid), escape(value))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn short_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        other => other,
    }
}

fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, letter) in value.chars().enumerate() {
        let special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        let edge = (letter == ' ' && (at == 0 || at == last)) || (letter == '#' && at == 0);
        if special || edge {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}
