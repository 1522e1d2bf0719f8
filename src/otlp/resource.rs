//! Who tells: this process, as the attributes of OpenTelemetry's resource.

use std::collections::BTreeMap;

use super::wire::Attributes;

/// The attributes of this process, written once.
#[derive(Clone, Debug)]
pub struct Resource(Attributes);

impl Resource {
    /// This process as `service`. `further` are the user's attributes; those of the environment
    /// (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) are put over them, as by Traefik.
    ///
    /// The arguments of the process are not told, unlike by Traefik: they may hold secrets.
    pub fn new(
        service: &str,
        further: &BTreeMap<String, String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut all: BTreeMap<String, String> = [
            ("service.name", service),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.name", "wharf"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
            ("os.type", std::env::consts::OS),
            ("process.executable.name", "wharf"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            all.insert("host.name".to_owned(), host.trim().to_owned());
        }
        all.extend(further.iter().map(|(key, value)| (key.clone(), value.clone())));
        all.extend(pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()));
        if let Some(name) = variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
            all.insert("service.name".to_owned(), name);
        }
        let mut attributes = Attributes::of(1);
        for (key, value) in &all {
            attributes.text(key, value);
        }
        attributes.int("process.pid", i64::from(std::process::id()));
        Self(attributes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// `a=b,c=d` with percent escapes in the values, as OpenTelemetry has it.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| (key.to_owned(), unescaped(value.trim())))
    })
}

/// Percent-decoded (RFC 3986, section 2.1); what is no escape stays.
pub fn unescaped(text: &str) -> String {
    let mut bytes = text.as_bytes().iter();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let rest = bytes.as_slice();
        let escaped = (*byte == b'%')
            .then(|| rest.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if escaped.is_some() {
            bytes.nth(1);
        }
        out.push(escaped.unwrap_or(*byte));
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_user_and_the_user_over_the_process() {
        let further = BTreeMap::from([
            ("service.version".to_owned(), "9".to_owned()),
            ("team".to_owned(), "blue".to_owned()),
        ]);
        let variable = |name: &str| match name {
            "OTEL_RESOURCE_ATTRIBUTES" => Some("team=a%20b, x = 1,bad,=y".to_owned()),
            "OTEL_SERVICE_NAME" => Some("edge".to_owned()),
            _ => None,
        };

        let resource = Resource::new("traefik", &further, variable);

        let text = String::from_utf8_lossy(resource.as_bytes()).into_owned();
        let pair = |key: &str, value: &str| {
            let mut one = Attributes::of(1);
            one.text(key, value);
            String::from_utf8_lossy(one.as_bytes()).into_owned()
        };
        for (key, value) in
            [("service.name", "edge"), ("service.version", "9"), ("team", "a b"), ("x", "1")]
        {
            assert!(text.contains(&pair(key, value)), "{key}");
        }
        assert!(!text.contains("blue") && !text.contains("bad"));
    }
}
