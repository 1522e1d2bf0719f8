//! Text that may be a private key.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A key, or where one is: wiped from memory when it is dropped, and not printed when it is a
/// key.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Secret(Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0.to_string()
    }
}

impl Deref for Secret {
    type Target = String;

    fn deref(&self) -> &String {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path is short and has no lines.
        if self.contains('\n') || self.contains("-----BEGIN") || self.len() > 4096 {
            f.write_str("(not shown)")
        } else {
            self.0.as_str().fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_printed_and_a_key_is_not() {
        let path = Secret::from("/etc/a.key".to_owned());
        let key = Secret::from("-----BEGIN PRIVATE KEY-----\nAQID\n".to_owned());

        assert_eq!(format!("{path:?} {key:?}"), "\"/etc/a.key\" (not shown)");
        assert_eq!(serde_json::to_value(&path).unwrap(), "/etc/a.key");
    }
}
