//! Entry points: from their settings to what connections see.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;

use super::StartError;
use crate::message::{AliasNames, Aliases, EntryPoint};
use crate::settings::{self, AliasStrategy, EncodedCharacters, EntryPointHttp, Settings};

/// The entry points in table order.
pub fn entry_points(settings: &Settings) -> Result<Arc<[Arc<EntryPoint>]>, StartError> {
    settings
        .entry_points
        .iter()
        .enumerate()
        .map(|(index, (name, entry_point))| {
            one(index, name.as_str().into(), entry_point, settings).map(Arc::new)
        })
        .collect()
}

fn one(
    index: usize,
    name: Arc<str>,
    entry_point: &settings::EntryPoint,
    settings: &Settings,
) -> Result<EntryPoint, StartError> {
    let address = address(&name, &entry_point.address)?;
    let forwarded = &entry_point.forwarded_headers;
    let trusted = if forwarded.insecure {
        None
    } else {
        Some(nets(&name, "forwardedHeaders.trustedIPs", &forwarded.trusted_ips)?)
    };
    let field = |text: &String| {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| StartError::Value {
            entry_point: Arc::clone(&name),
            option: "forwardedHeaders.connection",
            value: text.clone(),
            mend: "use a header name",
        })
    };
    Ok(EntryPoint {
        index,
        port: address.port(),
        trusted,
        keep_forwarded_for: forwarded.not_append_x_forwarded_for
            || settings.global.not_append_x_forwarded_for,
        connection_fields: forwarded.connection.iter().map(field).collect::<Result<_, _>>()?,
        sanitize_path: entry_point.http.sanitize_path,
        encode_query_semicolons: entry_point.http.encode_query_semicolons,
        refused_escapes: refused(&entry_point.http.encoded_characters),
        aliases: aliases(&entry_point.http),
        is_admin: &*name == "traefik",
        name,
    })
}

/// `[host]:port[/tcp]`; without a host all addresses, IPv6 and IPv4.
pub(super) fn address(name: &Arc<str>, text: &str) -> Result<SocketAddr, StartError> {
    let error = |reason| StartError::Address {
        entry_point: Arc::clone(name),
        address: text.to_owned(),
        reason,
    };
    let (address, network) = text.split_once('/').unwrap_or((text, "tcp"));
    match network.to_ascii_lowercase().as_str() {
        "tcp" => {}
        "udp" => return Err(error("UDP entry points are not built yet; remove it")),
        _ => return Err(error("the protocol behind the slash must be tcp")),
    }
    let (host, port) =
        address.rsplit_once(':').ok_or_else(|| error("write it as `:80` or `127.0.0.1:80`"))?;
    let port = port.parse().map_err(|_| error("the port must be a number from 0 to 65535"))?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let ip = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => host.parse().map_err(|_| {
            error("the host must be an IP address of this machine, or empty for all")
        })?,
    };
    Ok(SocketAddr::new(ip, port))
}

/// Addresses and ranges.
pub(super) fn nets(
    name: &Arc<str>,
    option: &'static str,
    texts: &[String],
) -> Result<Box<[IpNet]>, StartError> {
    texts
        .iter()
        .map(|text| {
            let text = text.trim();
            text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                StartError::Value {
                    entry_point: Arc::clone(name),
                    option,
                    value: text.to_owned(),
                    mend: "use an IP address or a range such as 10.0.0.0/8",
                }
            })
        })
        .collect()
}

/// Both options together say the same, or the start has ended.
fn aliases(http: &EntryPointHttp) -> Aliases {
    let (strategy, names) = match (http.alias_headers_strategy, http.underscore_headers_strategy) {
        (None, Some(strategy)) => (strategy, AliasNames::Underscore),
        (strategy, _) => (strategy.unwrap_or(AliasStrategy::Keep), AliasNames::All),
    };
    match strategy {
        AliasStrategy::Keep => Aliases::Keep,
        AliasStrategy::Delete => Aliases::Delete(names),
        AliasStrategy::Reject => Aliases::Reject(names),
    }
}

fn refused(allowed: &EncodedCharacters) -> Box<[&'static str]> {
    [
        (allowed.allow_encoded_slash, "%2F"),
        (allowed.allow_encoded_back_slash, "%5C"),
        (allowed.allow_encoded_null_character, "%00"),
        (allowed.allow_encoded_semicolon, "%3B"),
        (allowed.allow_encoded_percent, "%25"),
        (allowed.allow_encoded_question_mark, "%3F"),
        (allowed.allow_encoded_hash, "%23"),
    ]
    .into_iter()
    .filter_map(|(allowed, escape)| (!allowed).then_some(escape))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_traefik_writes_them() {
        let name: Arc<str> = "web".into();
        for (text, expected) in [
            (":80", "[::]:80"),
            (":80/tcp", "[::]:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:443", "[::1]:443"),
            ("localhost:1", "127.0.0.1:1"),
        ] {
            assert_eq!(address(&name, text).unwrap().to_string(), expected);
        }
        for text in ["80", ":99999", ":80/udp", "host.example:80", ":80/x", ""] {
            assert!(address(&name, text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_trusted_address_names_its_entry_point_and_option() {
        let error = nets(&"web".into(), "forwardedHeaders.trustedIPs", &["10.0.0.300".into()]);

        assert_eq!(
            error.unwrap_err().to_string(),
            "entry point web: forwardedHeaders.trustedIPs: invalid value \"10.0.0.300\": use an \
             IP address or a range such as 10.0.0.0/8"
        );
    }

    /// The answers are those of Traefik 3.7.15.
    #[test]
    fn fields_that_alias_others_are_kept_taken_out_or_refused() {
        use AliasStrategy::{Delete, Keep, Reject};

        let settle = |all, underscores, fields: &[&'static str]| {
            let http = EntryPointHttp {
                alias_headers_strategy: all,
                underscore_headers_strategy: underscores,
                ..EntryPointHttp::default()
            };
            let mut headers: http::HeaderMap = fields
                .iter()
                .map(|name| (HeaderName::from_static(name), http::HeaderValue::from_static("1")))
                .collect();
            aliases(&http).settle(&mut headers).then(|| headers.keys_len())
        };
        let fields = ["x-a", "x_a", "x.a", "x!a"];
        for (all, underscores, left) in [
            (None, None, Some(4)),
            (Some(Keep), None, Some(4)),
            (Some(Delete), None, Some(1)),
            (Some(Reject), None, None),
            (None, Some(Delete), Some(3)),
            (None, Some(Reject), None),
            (Some(Delete), Some(Delete), Some(1)),
        ] {
            assert_eq!(settle(all, underscores, &fields), left, "{all:?} {underscores:?}");
        }
        assert_eq!(settle(None, Some(Reject), &["x.a", "x-a"]), Some(2));
    }

    #[test]
    fn only_what_is_not_allowed_is_refused() {
        let allowed =
            EncodedCharacters { allow_encoded_slash: false, ..EncodedCharacters::default() };
        assert_eq!(&*refused(&allowed), &["%2F"]);
    }
}
