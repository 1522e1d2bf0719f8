//! A line as JSON.

use std::io::Write as _;
use std::time::SystemTime;

use time::OffsetDateTime;

use super::clip;
use super::line::Out;

/// A JSON object that is being written.
#[derive(Default)]
pub(super) struct Object(pub(super) Vec<u8>);

impl Object {
    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        push_json(&mut self.0, key);
        self.0.push(b':');
    }
}

impl Out for Object {
    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_json(&mut self.0, clip(value));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        // Writing to a vector does not fail.
        let _ = write!(self.0, "{value}");
    }

    fn time(&mut self, key: &str, at: SystemTime) {
        self.text(key, &rfc3339(at));
    }

    fn own(&mut self, key: &str, value: &str) {
        self.text(key, value);
    }
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = serde_json::to_writer(&mut *out, text);
    if text.contains(['&', '<', '>']) {
        let written = String::from_utf8_lossy(out.get(start..).unwrap_or_default());
        let escaped =
            written.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        out.truncate(start);
        out.extend_from_slice(escaped.as_bytes());
    }
}

fn rfc3339(at: SystemTime) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}

/// The same without fractions.
pub(super) fn rfc3339_seconds(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let format = &time::format_description::well_known::Rfc3339;
    at.replace_nanosecond(0).unwrap_or(at).format(format).unwrap_or_default()
}
