//! Statuses: ranges of them as settings write them, and the reason beside one.

use http::{Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::Body;

/// Statuses and ranges of them: `404`, `500-599`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusRanges(Box<[(i64, i64)]>);

impl StatusRanges {
    /// Reads them as Traefik does: what follows a second `-` does not count, and a range
    /// that ends before it begins holds nothing. The error is in Go's words.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        texts.iter().map(|text| range(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Those among these texts that end before they begin.
    pub fn inverted(texts: &[String]) -> impl Iterator<Item = &str> {
        let is_inverted = |text: &&String| range(text).is_ok_and(|(from, to)| from > to);
        texts.iter().filter(is_inverted).map(String::as_str)
    }

    /// None are named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is among them.
    pub fn contain(&self, status: StatusCode) -> bool {
        let status = i64::from(status.as_u16());
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// How many statuses the widest range holds.
    pub fn width(&self) -> i64 {
        let widths = self.0.iter().map(|(from, to)| to.saturating_sub(*from).saturating_add(1));
        widths.max().unwrap_or_default()
    }
}

fn range(text: &str) -> Result<(i64, i64), String> {
    let mut parts = text.split('-');
    let from = parts.next().unwrap_or_default();
    Ok((number(from)?, number(parts.next().unwrap_or(from))?))
}

fn number(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let is_large = matches!(error.kind(), PosOverflow | NegOverflow);
        let why = if is_large { "value out of range" } else { "invalid syntax" };
        format!("strconv.Atoi: parsing {text:?}: {why}")
    })
}

/// As Traefik: the reason beside a status is the proxy's own, also where the server said
/// another, or the standard has none. So is the version, which is of one hop (RFC 9110
/// section 2.5): a server's 1.0 would cost the client its connection.
#[must_use]
pub fn worded<B>(mut response: Response<B>) -> Response<B> {
    *response.version_mut() = Version::HTTP_11;
    let status = response.status();
    let ours = match status_text(status) {
        text if text == status.canonical_reason() && text.is_some() => None,
        Some(text) => Some(ReasonPhrase::from_static(text.as_bytes())),
        None => ReasonPhrase::try_from(format!("status code {}", status.as_u16())).ok(),
    };
    match ours {
        Some(reason) => response.extensions_mut().insert(reason),
        None => response.extensions_mut().remove::<ReasonPhrase>(),
    };
    response
}

/// The text of a status as Go has it; `None` when it has none.
pub fn status_text(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Some("Request Entity Too Large"),
        StatusCode::RANGE_NOT_SATISFIABLE => Some("Requested Range Not Satisfiable"),
        status => status.canonical_reason(),
    }
}

/// A refusal as Go's `http.Error` writes it: text with a line end, its type said and not
/// to be guessed.
pub fn error_text(status: StatusCode, text: &str) -> Response<Body> {
    use http::HeaderValue;
    use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    worded(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Result<StatusRanges, String> {
        StatusRanges::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn statuses_and_ranges_are_read_as_traefik_does() {
        for (texts, within, beyond) in [
            (&["404"][..], &[404][..], &[403, 405][..]),
            (&["500-599", "418"], &[500, 550, 599, 418], &[499, 600, 417]),
            (&["599-500"], &[], &[500, 599, 550]),
            (&["500-502-599"], &[502], &[503]),
            (&[], &[], &[200]),
        ] {
            let ranges = ranges(texts).unwrap();
            for (statuses, holds) in [(within, true), (beyond, false)] {
                for status in statuses {
                    let status = StatusCode::from_u16(*status).unwrap();
                    assert_eq!(ranges.contain(status), holds, "{texts:?} {status}");
                }
            }
        }
    }

    #[test]
    fn the_servers_version_ends_at_the_proxy() {
        let mut response = Response::new(());
        *response.version_mut() = Version::HTTP_10;

        assert_eq!(worded(response).version(), Version::HTTP_11);
    }

    #[test]
    fn what_is_no_status_is_told_in_gos_words() {
        for (text, error) in [
            ("5x", "strconv.Atoi: parsing \"5x\": invalid syntax"),
            ("500-", "strconv.Atoi: parsing \"\": invalid syntax"),
            ("500 - 599", "strconv.Atoi: parsing \"500 \": invalid syntax"),
            (
                "99999999999999999999",
                "strconv.Atoi: parsing \"99999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(ranges(&[text]), Err(error.to_owned()));
        }
    }

    #[test]
    fn a_status_without_a_reason_of_its_own_gets_traefiks() {
        for (status, reason) in
            [(503, None), (413, Some("Request Entity Too Large")), (599, Some("status code 599"))]
        {
            let mut response = Response::new(());
            response.extensions_mut().insert(ReasonPhrase::from_static(b"Whatever"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();

            let response = worded(response);

            let said = response.extensions().get::<ReasonPhrase>();
            assert_eq!(said.map(AsRef::as_ref), reason.map(str::as_bytes));
        }
    }
}
