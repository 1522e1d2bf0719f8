//! The path and query of an error page.

use http::StatusCode;
use http::uri::PathAndQuery;

/// What is filled in.
const URL: &str = "{url}";

/// The text of `errors.query`.
pub(super) struct Query(Box<str>);

impl Query {
    pub(super) fn new(text: &str) -> Self {
        Self(text.strip_prefix('/').unwrap_or(text).into())
    }

    /// The target of the page's request. `None` when this is none: an escape that is cut
    /// off, or a URL too long to be put into another.
    pub(super) fn target(
        &self,
        status: StatusCode,
        original: StatusCode,
        url: impl FnOnce() -> String,
    ) -> Option<PathAndQuery> {
        let mut text = self
            .0
            .replace("{status}", status.as_str())
            .replace("{originalStatus}", original.as_str());
        if text.contains(URL) {
            text = text.replace(URL, &escaped(&url()));
        }
        let text = text.split_once('#').map_or(text.as_str(), |(text, _)| text);
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        if !has_whole_escapes(path) {
            return None;
        }
        let mut target = String::with_capacity(text.len() + 1);
        target.push('/');
        push(&mut target, path, b"%!$&'()*+,;=:@/[]-._~");
        if let Some(query) = query {
            target.push('?');
            push(&mut target, query, b"%!$&'()*+,;=:@/[]-._~?{}|\\^`");
        }
        target.parse().ok()
    }
}

/// Text in a query, as Go escapes it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            out.push('+');
        }
        push(&mut out, word, b"-_.~");
    }
    out
}

/// Adds letters, digits and what is in `kept` as they are, the rest escaped.
fn push(out: &mut String, text: &str, kept: &[u8]) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(digit), 16).unwrap_or_default();
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
}

fn has_whole_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(query: &str) -> Option<String> {
        let status = |code| StatusCode::from_u16(code).unwrap();
        let url = || "http://a.test:8080/x/%2F?a=1&b=c d~".to_owned();
        Query::new(query).target(status(599), status(503), url).map(|target| target.to_string())
    }

    #[test]
    fn statuses_and_url_are_filled_in_as_traefik_does() {
        let url = "http%3A%2F%2Fa.test%3A8080%2Fx%2F%252F%3Fa%3D1%26b%3Dc+d~";
        for (query, wanted) in [
            ("", "/".to_owned()),
            ("/", "/".to_owned()),
            ("/{status}.html", "/599.html".to_owned()),
            ("e?s={status}&o={originalStatus}&u={url}", format!("/e?s=599&o=503&u={url}")),
            ("/{url}", format!("/{url}")),
            ("/a b/\u{fc}/%2f#part?x", "/a%20b/%C3%BC/%2f".to_owned()),
            ("//other.test/x", "//other.test/x".to_owned()),
            ("/x?y=\"z\" \u{fc}", "/x?y=%22z%22%20%C3%BC".to_owned()),
            ("/{other}", "/%7Bother%7D".to_owned()),
        ] {
            assert_eq!(target(query), Some(wanted), "{query}");
        }
    }

    #[test]
    fn what_makes_no_target_is_told() {
        assert_eq!(target("/%zz"), None);
        assert_eq!(target("/x%2"), None);
        let status = StatusCode::NOT_FOUND;
        let long = || "/".repeat(60_000);
        assert!(Query::new("/{url}").target(status, status, long).is_none());
    }
}
