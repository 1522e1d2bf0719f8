//! Which coding a client likes best (RFC 9110 section 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Brotli, Self::Zstd]
            .into_iter()
            .find(|coding| coding.as_str().eq_ignore_ascii_case(name))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The weights that a client gave, in thousandths.
#[derive(Default)]
struct Weights {
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    others: Option<u16>,
}

/// The coding to use; `None` leaves the answer as it is. Among equals the order of
/// `offered` decides, and where the client left the choice to us (`*`), `default`.
pub(super) fn choose(
    headers: &HeaderMap,
    offered: &[Coding],
    default: Option<Coding>,
) -> Option<Coding> {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return default;
    }
    let weights = Weights::read(headers);
    let mut best: Option<(Coding, (u16, bool, bool))> = None;
    for coding in offered {
        let said = weights.of(*coding);
        let rank =
            (said.or(weights.others).unwrap_or_default(), said.is_some(), default == Some(*coding));
        // Only among those that `*` stands for does the default go first.
        let rank = if rank.1 { (rank.0, true, false) } else { rank };
        if rank.0 > 0 && best.is_none_or(|(_, highest)| rank > highest) {
            best = Some((*coding, rank));
        }
    }
    let (coding, rank) = best?;
    (rank.0 >= weights.identity.unwrap_or_default()).then_some(coding)
}

impl Weights {
    fn read(headers: &HeaderMap) -> Self {
        let mut weights = Self::default();
        for line in headers.get_all(ACCEPT_ENCODING) {
            for item in line.to_str().unwrap_or_default().split(',') {
                weights.add(item);
            }
        }
        weights
    }

    /// Notes one item; one with a weight that is none is passed over.
    fn add(&mut self, item: &str) {
        let (name, parameter) = item.split_once(';').unwrap_or((item, ""));
        let Some(weight) = weight(parameter.trim()) else { return };
        let name = name.trim();
        let place = match Coding::from_name(name) {
            Some(Coding::Gzip) => &mut self.gzip,
            Some(Coding::Brotli) => &mut self.brotli,
            Some(Coding::Zstd) => &mut self.zstd,
            None if name.eq_ignore_ascii_case("identity") => &mut self.identity,
            None if name == "*" => &mut self.others,
            None => return,
        };
        *place = Some(weight);
    }

    fn of(&self, coding: Coding) -> Option<u16> {
        match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        }
    }
}

/// `q=0.5` in thousandths; 1000 where nothing is said.
fn weight(parameter: &str) -> Option<u16> {
    if parameter.is_empty() {
        return Some(1000);
    }
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, part) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = part.as_bytes().get(place).map_or(0, |byte| u16::from(byte - b'0'));
        thousandths = thousandths * 10 + digit;
    }
    match whole {
        "0" | "" => Some(thousandths),
        "1" => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    fn ask(lines: &[&str], default: Option<Coding>) -> &'static str {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        choose(&headers, &ALL, default).map_or("none", Coding::as_str)
    }

    #[test]
    fn the_weight_decides_and_then_our_order() {
        for (accepted, chosen) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("gzip, br, zstd", "gzip"),
            ("zstd,br", "br"),
            ("zstd;q=1, gzip;q=0.5", "zstd"),
            ("gzip;q=0.123, br; Q=0.124", "br"),
            ("identity", "none"),
            ("identity, gzip", "gzip"),
            ("identity;q=1, gzip;q=0.5", "none"),
            ("gzip, identity;q=0", "gzip"),
            ("gzip;q=0", "none"),
            ("gzip;q=0.0", "none"),
            ("gzip;q=abc", "none"),
            ("gzip;q=0.1234", "none"),
            ("deflate", "none"),
            ("", "none"),
            ("*", "gzip"),
            ("gzip;q=0, *", "br"),
            ("*;q=0.5, zstd", "zstd"),
            ("*;q=0", "none"),
        ] {
            assert_eq!(ask(&[accepted], None), chosen, "{accepted}");
        }
        assert_eq!(ask(&["gzip;q=0.1", "br"], None), "br");
        assert_eq!(ask(&[], None), "none");
    }

    #[test]
    fn the_default_is_for_clients_that_leave_the_choice_to_us() {
        for (lines, chosen) in [
            (&[][..], "br"),
            (&["*"], "br"),
            (&["gzip"], "gzip"),
            (&["gzip, *"], "gzip"),
            (&["gzip, br"], "gzip"),
            (&["identity"], "none"),
            (&["br;q=0, *"], "gzip"),
        ] {
            assert_eq!(ask(lines, Some(Coding::Brotli)), chosen, "{lines:?}");
        }
    }
}
