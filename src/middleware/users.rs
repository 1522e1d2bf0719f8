//! Who may pass, as lists of texts: from the settings and from a file.

use std::collections::HashMap;

use super::disk;

/// What is known of each user, by name.
pub(super) type Users<T> = HashMap<Box<str>, T, ahash::RandomState>;

/// Reads them; those in the settings win. `kind` is Traefik's word for an entry. The error
/// is in Traefik's words where it has any, and never shows what a file holds: its path may
/// come from a label.
pub(super) fn load<T>(
    kind: &str,
    users: &[String],
    file: &str,
    parse: impl Fn(&str) -> Option<(Box<str>, T)>,
) -> Result<Users<T>, String> {
    let mut known = Users::default();
    if !file.is_empty() {
        let text = disk::read(file)?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, secret) = parse(line)
                .ok_or_else(|| format!("error parsing {kind}: line {} of {file}", number + 1))?;
            known.insert(name, secret);
        }
    }
    for user in users {
        let (name, secret) = parse(user).ok_or_else(|| format!("error parsing {kind}: {user}"))?;
        known.insert(name, secret);
    }
    Ok(known)
}
