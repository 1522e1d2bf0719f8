//! Host names as they come in requests.

/// The host for routing: lower case, without port, brackets and one trailing dot.
pub fn for_routing(authority: &str) -> Box<str> {
    let host = without_port(authority);
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut host: Box<str> = host.into();
    host.make_ascii_lowercase();
    host
}

/// The port that an authority names, if any.
pub fn port(authority: &str) -> Option<&str> {
    let (host, port) = authority.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    (is_port && is_host).then_some(port)
}

/// Whether this may stand in a Host field: a name, an IPv4 address or an IPv6 address in
/// brackets, and a port; no user-info, path, blank or control byte (RFC 9110 section 7.2).
pub fn is_valid(authority: &[u8]) -> bool {
    let (host, rest) = if authority.first() == Some(&b'[') {
        let Some(end) = authority.iter().position(|byte| *byte == b']') else { return false };
        let (host, rest) = authority.split_at(end + 1);
        let inner = host.get(1..end).unwrap_or_default();
        let is_address = inner.len() >= 2
            && inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        if !is_address {
            return false;
        }
        (host, rest)
    } else {
        let end = authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len());
        authority.split_at(end)
    };
    let is_host = host.first() == Some(&b'[') || host.iter().all(|byte| is_host_byte(*byte));
    let is_port = match rest.split_first() {
        None => true,
        Some((b':', port)) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    is_host && is_port
}

/// RFC 3986's reg-name without the empty and the percent-encoded forms of trouble.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
        || matches!(byte, b'*' | b'+' | b';' | b'=')
}

fn without_port(authority: &str) -> &str {
    if let Some(inner) = authority.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match authority.split_once(':') {
        // Several colons without brackets: not a port.
        Some((_, rest)) if rest.contains(':') => authority,
        Some((host, _)) => host,
        None => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_case_port_brackets_and_one_dot() {
        for (authority, host) in [
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com"),
            ("example.com.", "example.com"),
            ("example.com.:443", "example.com"),
            ("example.com..", "example.com."),
            ("[::1]:80", "::1"),
            ("[::1]", "::1"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(&*for_routing(authority), host, "{authority}");
        }
    }

    #[test]
    fn ports_are_told_from_addresses() {
        for (authority, expected) in [
            ("a:80", Some("80")),
            ("[::1]:8080", Some("8080")),
            ("[::1]", None),
            ("a", None),
            ("a:", None),
            ("a:x", None),
        ] {
            assert_eq!(port(authority), expected, "{authority}");
        }
    }

    #[test]
    fn only_names_and_addresses_are_hosts() {
        for good in ["a", "a.b-c_d:80", "127.0.0.1", "[::1]", "[::1]:443", "", "a:"] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "a@b", "a/b", "a b", "a\\b", "[::1", "[]", "[::1]x", "a:b", "a:123456", "a,b", "a?b",
            "a#b", "a%2e", "<a>", "a:80:90",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
