//! Which fields an access log line holds, decided once at start.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::access_log::Captured;
use crate::settings::{AccessLogFields, AccessLogFilters, FieldMode};

/// What to do with fields and headers.
#[derive(Debug)]
pub(super) struct Plan {
    default_keep: bool,
    names: BTreeMap<String, bool>,
    header_default: FieldMode,
    headers: BTreeMap<String, FieldMode>,
    pub(super) keep_query: bool,
}

impl Plan {
    pub(super) fn new(fields: &AccessLogFields) -> Self {
        let lower = |(name, mode): (&String, &FieldMode)| (name.to_ascii_lowercase(), *mode);
        Self {
            default_keep: fields.default_mode != FieldMode::Drop,
            names: fields
                .names
                .iter()
                .map(lower)
                // As Traefik: fields can't be redacted, which leaves them to the default.
                .filter(|(_, mode)| *mode != FieldMode::Redact)
                .map(|(name, mode)| (name, mode == FieldMode::Keep))
                .collect(),
            header_default: fields.headers.default_mode,
            headers: fields.headers.names.iter().map(lower).collect(),
            keep_query: fields.query_parameters.default_mode != FieldMode::Drop,
        }
    }

    pub(super) fn keeps(&self, field: &str) -> bool {
        if self.names.is_empty() {
            return self.default_keep;
        }
        self.names.get(&field.to_ascii_lowercase()).copied().unwrap_or(self.default_keep)
    }

    /// No header is ever logged.
    pub(super) fn drops_headers(&self) -> bool {
        self.header_default == FieldMode::Drop
            && self.headers.values().all(|mode| *mode == FieldMode::Drop)
    }

    pub(super) fn capture(&self, headers: &HeaderMap) -> Captured {
        if self.drops_headers() {
            return Captured::default();
        }
        // As Traefik, to which Host is no field: the line has RequestHost.
        let kept = headers.keys().filter(|name| *name != http::header::HOST).filter_map(|name| {
            let mode = self.headers.get(name.as_str()).copied().unwrap_or(self.header_default);
            let value = match mode {
                FieldMode::Drop => return None,
                FieldMode::Redact => "REDACTED".to_owned(),
                FieldMode::Keep => joined(headers, name),
            };
            Some((canonical(name.as_str()), value))
        });
        Captured(kept.collect())
    }
}

fn joined(headers: &HeaderMap, name: &http::HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let texts: Vec<_> =
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    texts.join(",")
}

/// `x-request-id` as Go spells it: `X-Request-Id`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    name.chars()
        .map(|c| {
            let out = if upper { c.to_ascii_uppercase() } else { c };
            upper = c == '-';
            out
        })
        .collect()
}

/// Which requests are logged.
#[derive(Debug)]
pub(super) struct Filters {
    statuses: Vec<(u16, u16)>,
    retries: bool,
    min_nanos: i64,
}

impl Filters {
    /// Reads the filters; texts that are no status or range are returned.
    pub(super) fn new(filters: &AccessLogFilters) -> (Self, Vec<String>) {
        let mut bad = Vec::new();
        let statuses = filters.status_codes.iter().filter_map(|text| {
            let range = range(text);
            if range.is_none() {
                bad.push(text.clone());
            }
            range
        });
        let statuses = statuses.collect();
        let min_nanos = filters.min_duration.as_nanos();
        (Self { statuses, retries: filters.retry_attempts, min_nanos }, bad)
    }

    /// Any of those set holds; none set: every line.
    pub(super) fn keep(&self, status: u16, retries: u32, duration: std::time::Duration) -> bool {
        if self.statuses.is_empty() && !self.retries && self.min_nanos <= 0 {
            return true;
        }
        self.statuses.iter().any(|(from, to)| (*from..=*to).contains(&status))
            || (self.retries && retries > 0)
            || (self.min_nanos > 0
                && i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) > self.min_nanos)
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::{GoDuration, HeaderFields};

    #[test]
    fn a_line_is_kept_when_any_filter_holds() {
        let filters = AccessLogFilters {
            status_codes: vec!["404".to_owned(), "500-599".to_owned(), "x".to_owned()],
            retry_attempts: true,
            min_duration: GoDuration::from_millis(100),
        };
        let (filters, bad) = Filters::new(&filters);

        assert_eq!(bad, ["x"]);
        for (status, retries, millis, kept) in [
            (200, 0, 1, false),
            (404, 0, 1, true),
            (503, 0, 1, true),
            (200, 1, 1, true),
            (200, 0, 101, true),
        ] {
            assert_eq!(
                filters.keep(status, retries, Duration::from_millis(millis)),
                kept,
                "{status}"
            );
        }
    }

    #[test]
    fn headers_are_kept_dropped_or_redacted_by_name_in_any_case() {
        let modes = [("USER-agent", FieldMode::Keep), ("authorization", FieldMode::Redact)];
        let fields = AccessLogFields {
            headers: HeaderFields {
                default_mode: FieldMode::Drop,
                names: modes.map(|(name, mode)| (name.to_owned(), mode)).into(),
            },
            ..AccessLogFields::default()
        };
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("user-agent", "curl"), ("authorization", "Basic x"), ("cookie", "a=b")]
        {
            headers.insert(name, value.parse().unwrap());
        }

        let mut captured = Plan::new(&fields).capture(&headers).0;
        captured.sort();

        assert_eq!(
            captured,
            [
                ("Authorization".to_owned(), "REDACTED".to_owned()),
                ("User-Agent".to_owned(), "curl".to_owned())
            ]
        );
    }
}
