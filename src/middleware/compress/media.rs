//! Media types, compared without their parameters.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// Which media types are compressed.
pub(super) enum MediaTypes {
    /// All but these.
    AllBut(Box<[Box<str>]>),
    /// These.
    Only(Box<[Box<str>]>),
}

impl MediaTypes {
    /// Prepares them. The error is in Traefik's words.
    pub(super) fn build(excluded: &[String], included: &[String]) -> Result<Self, String> {
        if !excluded.is_empty() && !included.is_empty() {
            return Err(
                "excludedContentTypes and includedContentTypes options are mutually exclusive"
                    .to_owned(),
            );
        }
        let parse_all = |items: &[String], kind: &str| {
            let types = items.iter().map(|item| parse(item));
            types
                .collect::<Result<_, _>>()
                .map_err(|error| format!("parsing {kind} media type: mime: {error}"))
        };
        if included.is_empty() {
            parse_all(excluded, "excluded").map(Self::AllBut)
        } else {
            parse_all(included, "included").map(Self::Only)
        }
    }

    /// Whether a request's own type keeps its answer from being compressed.
    pub(super) fn exclude_request(&self, headers: &HeaderMap) -> bool {
        let Some(media_type) = headers.get(CONTENT_TYPE).map(essence) else { return false };
        is_grpc(media_type)
            || match self {
                Self::AllBut(types) => contain(types, media_type),
                Self::Only(_) => false,
            }
    }

    /// Whether an answer of this type is compressed.
    pub(super) fn take(&self, content_type: Option<&HeaderValue>) -> bool {
        let media_type = content_type.map(essence).unwrap_or_default();
        !is_grpc(media_type)
            && match self {
                Self::AllBut(types) => !contain(types, media_type),
                Self::Only(types) => contain(types, media_type),
            }
    }
}

/// gRPC compresses its messages itself, and its frames must not wait for one another.
fn is_grpc(media_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let (start, rest) = media_type.split_at_checked(GRPC.len()).unwrap_or_default();
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b'-'))
}

fn contain(types: &[Box<str>], media_type: &[u8]) -> bool {
    types.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(media_type))
}

/// `text/html` of `text/html; charset=utf-8`.
fn essence(value: &HeaderValue) -> &[u8] {
    value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The type without parameters; errors as Go's `mime` package words them.
fn parse(text: &str) -> Result<Box<str>, &'static str> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte);
    let token = |text: &str| text.bytes().take_while(|byte| is_token(*byte)).count();
    let end = token(essence);
    if end == 0 {
        return Err("no media type");
    }
    let Some(rest) = essence.get(end..).filter(|rest| !rest.is_empty()) else {
        return Ok(essence.to_ascii_lowercase().into());
    };
    let Some(subtype) = rest.strip_prefix('/') else {
        return Err("expected slash after first token");
    };
    match token(subtype) {
        0 => Err("expected token after slash"),
        end if end < subtype.len() => Err("unexpected content after media type subtype"),
        _ => Ok(essence.to_ascii_lowercase().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_types_are_told_in_gos_words() {
        for (text, result) in [
            ("Text/HTML; charset=utf-8", Ok("text/html")),
            ("text", Ok("text")),
            ("a b", Err("expected slash after first token")),
            ("a/", Err("expected token after slash")),
            ("a/b c", Err("unexpected content after media type subtype")),
            ("", Err("no media type")),
        ] {
            assert_eq!(parse(text).as_deref().map_err(|error| *error), result, "{text}");
        }
    }
}
