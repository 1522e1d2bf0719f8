//! Locations made whole (RFC 3986 section 5): a relative one is meant from the server that
//! wrote it, where the client never was.

use http::{HeaderValue, Uri};

/// The location as the client is told; as it is without a base. `None`: it is no URL.
pub(super) fn resolve(said: &HeaderValue, base: Option<&Uri>) -> Option<HeaderValue> {
    let text = said.to_str().ok()?;
    let host = text.split_once("//").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    if host.is_some_and(|host| host.contains('[') != host.contains(']')) {
        return None;
    }
    let Some(base) = base.filter(|_| !text.is_empty() && !has_scheme(text)) else {
        return Some(said.clone());
    };
    let scheme = base.scheme_str()?;
    let origin = || Some(format!("{scheme}://{}", base.authority()?));
    let whole = if text.starts_with("//") {
        format!("{scheme}:{text}")
    } else if text.starts_with('/') {
        origin()? + &without_dots(text)
    } else if text.starts_with('?') {
        origin()? + base.path() + text
    } else if text.starts_with('#') {
        origin()? + base.path_and_query().map_or("/", |target| target.as_str()) + text
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        origin()? + &without_dots(&format!("{folder}/{text}"))
    };
    HeaderValue::try_from(whole).ok()
}

/// Whether it begins with a scheme, as only a whole URL does.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// A path with its dot segments resolved; what follows it stays.
fn without_dots(target: &str) -> String {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let (path, rest) = target.split_at_checked(end).unwrap_or((target, ""));
    let mut out = String::with_capacity(target.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    out.truncate(out.rfind('/').unwrap_or(0));
                }
                if is_last {
                    out.push('/');
                }
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_locations_are_meant_from_the_server() {
        let base = Uri::from_static("http://auth:9091/api/verify?x=1");
        for (said, whole) in [
            ("/login?a=b#f", "http://auth:9091/login?a=b#f"),
            ("login", "http://auth:9091/api/login"),
            ("../y", "http://auth:9091/y"),
            ("../../../y/./z/..", "http://auth:9091/y/"),
            ("/a/../b?c=../d", "http://auth:9091/b?c=../d"),
            ("?q", "http://auth:9091/api/verify?q"),
            ("#f", "http://auth:9091/api/verify?x=1#f"),
            ("//other/x", "http://other/x"),
            ("https://other/x", "https://other/x"),
            ("mailto:a", "mailto:a"),
            ("", ""),
        ] {
            let resolved = resolve(&HeaderValue::from_static(said), Some(&base));
            assert_eq!(resolved.unwrap(), whole, "{said}");
            let kept = resolve(&HeaderValue::from_static(said), None);
            assert_eq!(kept.unwrap(), said);
        }
    }

    #[test]
    fn what_is_no_url_is_not_passed_on() {
        assert_eq!(resolve(&HeaderValue::from_static("http://[::1/x"), None), None);
        assert_eq!(resolve(&HeaderValue::from_bytes(b"/\xff").unwrap(), None), None);
    }
}
