//! What a client says in `Authorization: Digest ...` (RFC 7616 section 3.4).

use std::borrow::Cow;

/// The parameters that count; those that are not said are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    pub(super) username: Cow<'a, str>,
    pub(super) nonce: Cow<'a, str>,
    pub(super) uri: Cow<'a, str>,
    pub(super) response: Cow<'a, str>,
    pub(super) algorithm: Cow<'a, str>,
    pub(super) cnonce: Cow<'a, str>,
    pub(super) opaque: Cow<'a, str>,
    pub(super) qop: Cow<'a, str>,
    pub(super) nc: Cow<'a, str>,
}

impl<'a> Parameters<'a> {
    /// Reads the field; `None` when it is of another scheme or no text.
    pub(super) fn parse(field: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = std::str::from_utf8(field).ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut said = Self::default();
        for (name, value) in Pairs(rest) {
            let place = match name {
                "username" => &mut said.username,
                "nonce" => &mut said.nonce,
                "uri" => &mut said.uri,
                "response" => &mut said.response,
                "algorithm" => &mut said.algorithm,
                "cnonce" => &mut said.cnonce,
                "opaque" => &mut said.opaque,
                "qop" => &mut said.qop,
                "nc" => &mut said.nc,
                _ => continue,
            };
            *place = value;
        }
        Some(said)
    }

    /// Whether it is what was asked for: MD5, which is meant when none is named, and
    /// `auth`. The older way without `qop` would let the same answer pass twice.
    pub(super) fn is_supported(&self) -> bool {
        matches!(&*self.algorithm, "" | "MD5") && self.qop == "auth"
    }

    /// How often the nonce was used, this time included.
    pub(super) fn count(&self) -> Option<u64> {
        if !self.nc.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u64::from_str_radix(&self.nc, 16).ok().filter(|count| *count > 0)
    }
}

/// `name=value` and `name="value"`, with commas between them.
struct Pairs<'a>(&'a str);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let is_between = |c: char| matches!(c, ',' | ' ' | '\t');
        let (name, rest) = self.0.trim_start_matches(is_between).split_once('=')?;
        if let Some(inner) = rest.strip_prefix('"') {
            let (value, rest) = unquote(inner)?;
            self.0 = rest;
            return Some((name, value));
        }
        let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
        self.0 = rest;
        Some((name, value.trim_end().into()))
    }
}

/// The inside of a quoted string, from behind its first quote, and what follows it.
fn unquote(inner: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut plain = Cow::Borrowed("");
    let mut rest = inner;
    loop {
        let at = rest.find(['"', '\\'])?;
        let (before, from) = rest.split_at_checked(at)?;
        plain += before;
        let mut behind = from.chars();
        if behind.next() == Some('"') {
            return Some((plain, behind.as_str()));
        }
        plain.to_mut().push(behind.next()?);
        rest = behind.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_read_quoted_or_not_in_any_order() {
        let field = b"digest qop=auth, nc=00000001,username=\"a \\\"b\\\\ c\",\turi=\"/x,y=z\"  ,\
                      algorithm = MD5, odd=1, nonce=\"\"";
        let said = Parameters::parse(field).unwrap();

        let wanted = Parameters {
            username: "a \"b\\ c".into(),
            uri: "/x,y=z".into(),
            qop: "auth".into(),
            nc: "00000001".into(),
            ..Parameters::default()
        };
        assert_eq!(said, wanted);
    }

    #[test]
    fn another_scheme_or_no_text_is_nothing() {
        for field in [&b"Basic eA=="[..], b"Digest", b"", b"Digest \xff=1", b"Digestx a=b"] {
            assert_eq!(Parameters::parse(field), None);
        }
    }

    #[test]
    fn a_count_is_hexadecimal_and_not_nothing() {
        for (nc, count) in [
            ("00000001", Some(1)),
            ("a", Some(10)),
            ("0000000B", Some(11)),
            ("0", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("0x1", None),
            ("10000000000000001", None),
        ] {
            let said = Parameters { nc: nc.into(), ..Parameters::default() };
            assert_eq!(said.count(), count, "{nc}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_what_was_quoted_comes_back(
            name in "\\PC{0,12}",
            noise in "[a-z=,\"\\\\ \u{e9}]{0,24}",
        ) {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            let field = format!("Digest username=\"{quoted}\", {noise}");
            let said = Parameters::parse(field.as_bytes()).unwrap();
            if !noise.contains("username") {
                prop_assert_eq!(&*said.username, &name);
            }
            let _ = Parameters::parse(format!("Digest {noise}").as_bytes());
        }
    }
}
