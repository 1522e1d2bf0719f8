//! Sticky cookies, named and set as Traefik does.

use http::header::{COOKIE, HeaderMap};
use http::{HeaderValue, header};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::settings::CookieSettings;

/// What a cookie says of a server or a child service: 16 hexadecimal digits.
pub(super) type Mark = [u8; 16];

/// The cookie values that stand for one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// What is set.
    set: Mark,
    /// What Traefik sets.
    traefik: Mark,
    /// What it set in versions past: the FNV-1 hash of the subject, and that hash's.
    old: [u64; 2],
}

/// Values of one cookie that are looked at. A client may send thousands of the same name,
/// and each is compared with every server.
const MOST_VALUES: usize = 4;

fn old(subject: &str) -> [u64; 2] {
    let once = fnv1(subject.as_bytes());
    [once, fnv1(format!("{once:x}").as_bytes())]
}

/// What a request's cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    No,
    /// It stands for this server.
    Yes,
    /// It does, in a form of old: a new one is to be set.
    Old,
}

impl Marks {
    /// The marks of a server. Traefik's is a bare hash of the URL, and private addresses
    /// are so few that trying them all gives the address away. The id of the container is
    /// a secret of the engine's, and lasts as long as the container: a hash over both can't
    /// be tried, and is the same on all workers, after a restart and on a second proxy.
    /// A server from a file has no such secret; there the mark is Traefik's.
    pub(super) fn new(url: &str, container: Option<&str>) -> Self {
        let traefik = mark(&[url]);
        let set = container.map_or(traefik, |id| mark(&["wharf sticky", id, url]));
        Self { set, traefik, old: old(url) }
    }

    /// Traefik's marks of a child service: no address is in them.
    pub(super) fn of_child(name: &str) -> Self {
        let traefik = mark(&[name]);
        Self { set: traefik, traefik, old: old(name) }
    }

    /// Whether a cookie's value stands for this server, `subject` being its URL or name.
    pub(super) fn claim(&self, value: &[u8], subject: &str) -> Claim {
        if value == self.set || value == self.traefik {
            Claim::Yes
        } else if value == subject.as_bytes()
            || number(value).is_some_and(|n| self.old.contains(&n))
        {
            Claim::Old
        } else {
            Claim::No
        }
    }

    /// The value to set.
    pub(super) fn value(&self) -> &str {
        str::from_utf8(&self.set).unwrap_or_default()
    }
}

/// A 64-bit number in hexadecimal digits; most foreign values are none.
fn number(value: &[u8]) -> Option<u64> {
    if !(1..=16).contains(&value.len()) || !value.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(value).ok()?, 16).ok()
}

/// FNV-1, 64 bits.
pub(super) fn fnv1(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte)
    })
}

pub(super) fn mark(parts: &[&str]) -> Mark {
    let mut hash = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update([0]);
        }
        hash.update(part.as_bytes());
    }
    let mut mark = Mark::default();
    for (pair, byte) in mark.chunks_exact_mut(2).zip(hash.finalize()) {
        pair.copy_from_slice(&hex(byte));
    }
    mark
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

/// A service's sticky cookie, its fixed parts made once.
#[derive(Debug)]
pub(super) struct Cookie {
    name: Box<str>,
    attributes: Box<str>,
}

impl Cookie {
    /// `service` is the qualified name.
    pub(super) fn new(settings: &CookieSettings, service: &str) -> Self {
        let name = if settings.name.is_empty() {
            default_name(service)
        } else {
            settings.name.chars().map(|c| if is_token(c) { c } else { '_' }).collect()
        };
        Self { name: name.into(), attributes: attributes(settings).into() }
    }

    /// The values of that name among a request's cookies.
    pub(super) fn values<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
        values(headers, &self.name)
    }

    /// Sets it on a response.
    pub(super) fn set(&self, headers: &mut HeaderMap, marks: &Marks) {
        let text = format!("{}={}{}", self.name, marks.value(), self.attributes);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(header::SET_COOKIE, value);
        }
    }
}

/// The values of the cookies of that name.
pub(super) fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii));
    let values = pairs.filter_map(move |pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some(bare.unwrap_or(value))
    });
    values.take(MOST_VALUES)
}

/// The name of a sticky cookie that has none of its own, as Traefik makes it of the service's.
pub fn default_name(service: &str) -> String {
    let hash = Sha1::digest(format!("_TRAEFIK_BACKEND_{service}"));
    let digits = hash.iter().flat_map(|byte| hex(*byte)).map(char::from);
    std::iter::once('_').chain(digits).take(6).collect()
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// In Go's order, which is not the order they are written in.
fn attributes(settings: &CookieSettings) -> String {
    let mut text = String::new();
    let path: String =
        settings.path.chars().filter(|c| (' '..='~').contains(c) && *c != ';').collect();
    if !path.is_empty() {
        text.push_str("; Path=");
        text.push_str(&path);
    }
    // As Go: what is no host name is left out, and a leading dot goes.
    let domain = settings.domain.strip_prefix('.').unwrap_or(&settings.domain);
    if is_host_name(domain) {
        text.push_str("; Domain=");
        text.push_str(domain);
    }
    match settings.max_age {
        0 => {}
        seconds if seconds < 0 => text.push_str("; Max-Age=0"),
        seconds => {
            text.push_str("; Max-Age=");
            text.push_str(&seconds.to_string());
        }
    }
    if settings.http_only {
        text.push_str("; HttpOnly");
    }
    if settings.secure {
        text.push_str("; Secure");
    }
    match settings.same_site.to_ascii_lowercase().as_str() {
        "none" => text.push_str("; SameSite=None"),
        "lax" => text.push_str("; SameSite=Lax"),
        "strict" => text.push_str("; SameSite=Strict"),
        _ => {}
    }
    text
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CookieSettings {
        CookieSettings {
            name: String::new(),
            secure: false,
            http_only: false,
            same_site: String::new(),
            max_age: 0,
            path: "/".to_owned(),
            domain: String::new(),
        }
    }

    fn set(settings: &CookieSettings, service: &str, marks: &Marks) -> String {
        let mut headers = HeaderMap::new();
        Cookie::new(settings, service).set(&mut headers, marks);
        headers.get("set-cookie").unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_file_servers_cookie_is_traefiks() {
        let marks = Marks::new("http://127.0.0.1:21150", None);

        assert_eq!(set(&settings(), "st@file", &marks), "_da847=8616df1e91ef0b7c; Path=/");
    }

    #[test]
    fn attributes_come_in_gos_order() {
        let all = CookieSettings {
            name: "l b".to_owned(),
            secure: true,
            http_only: true,
            same_site: "LAX".to_owned(),
            max_age: 60,
            path: "/p".to_owned(),
            domain: ".st.t".to_owned(),
        };

        let wanted = "l_b=7dc96f776c8423e5; Path=/p; Domain=st.t; Max-Age=60; HttpOnly; Secure; \
                      SameSite=Lax";
        assert_eq!(set(&all, "x", &Marks::of_child("b1")), wanted);
        let odd = CookieSettings {
            max_age: -1,
            same_site: "odd".to_owned(),
            domain: "no host".to_owned(),
            ..settings()
        };
        assert!(set(&odd, "x", &Marks::of_child("b1")).ends_with("; Path=/; Max-Age=0"));
    }

    #[test]
    fn a_containers_mark_needs_its_id_and_traefiks_is_honoured() {
        let url = "http://172.18.0.3:80";
        let (one, other) = (Marks::new(url, Some("ab")), Marks::new(url, Some("cd")));

        assert_ne!(one.value(), other.value());
        assert_ne!(one.value().as_bytes(), mark(&[url]));
        assert_eq!(one.claim(&mark(&[url]), url), Claim::Yes);
        assert_eq!(one.claim(one.value().as_bytes(), url), Claim::Yes);
        assert_eq!(one.claim(other.value().as_bytes(), url), Claim::No);
    }

    #[test]
    fn values_of_older_versions_are_honoured_and_renewed() {
        let url = "http://10.0.0.1:80";
        let marks = Marks::new(url, None);
        let once = format!("{:x}", fnv1(url.as_bytes()));
        let twice = format!("{:x}", fnv1(once.as_bytes()));

        for value in [url, &once, &twice] {
            assert_eq!(marks.claim(value.as_bytes(), url), Claim::Old, "{value}");
        }
        assert_eq!(marks.claim(b"", url), Claim::No);
        assert_eq!(marks.claim(b"http://10.0.0.2:80", url), Claim::No);
    }

    #[test]
    fn a_client_that_repeats_a_cookie_is_not_listened_to_for_long() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::try_from("lb=1;".repeat(10_000)).unwrap());
        let cookie = Cookie::new(&CookieSettings { name: "lb".to_owned(), ..settings() }, "x");

        assert_eq!(cookie.values(&headers).count(), MOST_VALUES);
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("xlb=1; lb=2;lb2=3"));
        headers.append(COOKIE, HeaderValue::from_static("lb=\"4\""));
        let cookie = Cookie::new(&CookieSettings { name: "lb".to_owned(), ..settings() }, "x");

        let found: Vec<_> = cookie.values(&headers).collect();

        assert_eq!(found, [b"2", b"4"]);
    }
}
