//! Where labels may send requests to (`security.md` L4): anyone who may start a container
//! may write them.

use std::net::IpAddr;

use http::Uri;

use crate::middleware::Spec;
use crate::problem::{Code, Problem};
use crate::redis::Address;
use crate::tree::Node;

/// What servers are spoken to in.
pub(super) const SCHEMES: [&str; 3] = ["http", "https", "h2c"];

/// A URL that a label may send requests to: no link-local address (cloud metadata), no
/// password, no other protocol.
pub(super) fn check_url(text: &str) -> Result<(), String> {
    let uri: Uri =
        text.parse().map_err(|error| format!("error parsing server URL {text}: {error}"))?;
    if !uri.scheme_str().is_some_and(|scheme| SCHEMES.contains(&scheme)) {
        return Err(format!(
            "error parsing server URL {text}: the scheme must be http, https or h2c"
        ));
    }
    check_place(&uri).map_err(|why| format!("server URL {text}: {why}"))
}

/// The same for the address of a `forwardAuth`, and for that of a Redis. As Traefik: one that is
/// no URL is taken, and every request gets 500.
pub(super) fn middleware(node: &Node, problems: &mut Vec<Problem>) -> Option<Spec> {
    let spec = Spec::decode(node, problems)?;
    let url = spec.address().and_then(|address| address.parse::<Uri>().ok());
    let url = url.filter(|uri| uri.scheme().is_some());
    let (option, why, mend) =
        match (url.as_ref().map(check_place), check_endpoints(spec.endpoints())) {
            (Some(Err(why)), _) => {
                ("forwardAuth.address", why, "write a URL such as http://auth:9091/verify")
            }
            (_, Err(why)) => (
                "rateLimit.redis.endpoints",
                why,
                "write the name of a container, such as redis:6379",
            ),
            (Some(Ok(())) | None, Ok(())) => return Some(spec),
        };
    let origin = node.get(&option.to_ascii_lowercase()).map_or(&node.origin, |node| &node.origin);
    let text = format!("{option}: {why}");
    problems.push(Problem::error(Code::BadValue, origin.clone(), text).mend(mend));
    None
}

/// Addresses of a Redis. What is none is told when the middleware is made.
fn check_endpoints(endpoints: &[String]) -> Result<(), String> {
    for text in endpoints {
        let Ok(address) = Address::parse(text.trim()) else { continue };
        match address.host() {
            None => return Err(format!("{text}: labels name no sockets of this machine")),
            Some(host) => check_host(host).map_err(|why| format!("{text}: {why}"))?,
        }
    }
    Ok(())
}

fn check_place(uri: &Uri) -> Result<(), String> {
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err("user names and passwords are not taken".to_owned());
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("no host".to_owned());
    }
    check_host(host)
}

fn check_host(host: &str) -> Result<(), String> {
    // Resolvers read 2852039166 and 0xa9fea9fe as addresses, too.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.bytes().all(|b| b.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X"));
    match host.parse::<IpAddr>() {
        Ok(address) if is_link_local(address) => Err("link-local addresses are refused".to_owned()),
        Err(_) if is_number => Err(format!("{host} is no plain address")),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Origin;

    #[test]
    fn a_labels_url_is_http_without_password_and_not_link_local() {
        for url in ["http://10.0.0.5:80", "https://example.test/base", "h2c://[fd00::1]:81"] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for (url, text) in [
            ("::bad", "error parsing server URL"),
            ("ftp://a", "the scheme must be"),
            ("foo:80", "the scheme must be"),
            ("http://me:secret@a", "passwords are not taken"),
            ("http://169.254.169.254/latest", "link-local"),
            ("http://[fe80::1]", "link-local"),
            ("http://[::ffff:169.254.169.254]", "link-local"),
            ("http://2852039166", "no plain address"),
            ("http://169.254.43518", "no plain address"),
            ("http://0xa9fea9fe", "no plain address"),
        ] {
            let error = check_url(url).unwrap_err();
            assert!(error.contains(text), "{url}: {error}");
        }
    }

    #[test]
    fn sec_l4_a_label_asks_no_link_local_address_whether_a_request_may_pass() {
        for (address, is_taken) in [
            ("http://auth:9091/verify", true),
            ("odd value", true),
            ("http://169.254.169.254/latest", false),
            ("https://me:secret@auth/", false),
        ] {
            let mut node = Node::new(Origin::Internal);
            node.insert("forwardauth.address", address, Origin::Internal).unwrap();
            let mut problems = Vec::new();

            assert_eq!(middleware(&node, &mut problems).is_some(), is_taken, "{address}");
            assert!(!problems.iter().any(|problem| problem.text.contains("secret")));
        }
    }

    #[test]
    fn sec_l4_a_label_keeps_its_buckets_at_no_link_local_address_and_no_socket() {
        for (endpoints, is_taken) in [
            ("redis:6379,[fd00::1]:6379,10.0.0.5", true),
            ("redis:6379, 169.254.169.254:80", false),
            ("[fe80::1]:6379", false),
            ("2852039166:80", false),
            ("/run/docker.sock", false),
        ] {
            let mut node = Node::new(Origin::Internal);
            node.insert("ratelimit.redis.endpoints", endpoints, Origin::Internal).unwrap();
            let mut problems = Vec::new();

            assert_eq!(middleware(&node, &mut problems).is_some(), is_taken, "{endpoints}");
            assert_eq!(problems.is_empty(), is_taken, "{problems:?}");
        }
    }
}
