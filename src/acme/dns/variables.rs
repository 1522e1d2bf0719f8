//! A provider's environment variables, as lego reads them: each can be given as a file too,
//! by its name with `_FILE` at the end.

use std::str::FromStr;
use std::time::Duration;

/// What the environment says of a name; the tests have one of their own.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads variables; each error names the variable.
pub(super) struct Variables<'a> {
    environment: Environment<'a>,
    /// What all names begin with: `EXEC_`. Where there are several, the first that is set
    /// counts.
    prefixes: &'a [&'static str],
}

impl<'a> Variables<'a> {
    pub(super) fn new(environment: Environment<'a>, prefixes: &'a [&'static str]) -> Self {
        Self { environment, prefixes }
    }

    /// A variable that is set to something.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.found(name)?.map(|(_, value)| value))
    }

    /// Likewise, and which one it was.
    pub(super) fn found(&self, name: &str) -> Result<Option<(String, String)>, String> {
        let get = |name: &str| (self.environment)(name).filter(|value| !value.is_empty());
        for prefix in self.prefixes {
            let name = format!("{prefix}{name}");
            if let Some(value) = get(&name) {
                return Ok(Some((name, value)));
            }
            let by_file = format!("{name}_FILE");
            if let Some(path) = get(&by_file) {
                let value = std::fs::read_to_string(&path)
                    .map_err(|error| format!("{by_file} {path}: {error}"))?;
                let value = value.trim_end_matches(['\r', '\n']);
                if value.is_empty() {
                    return Err(format!("{by_file} {path}: the file is empty"));
                }
                return Ok(Some((by_file, value.to_owned())));
            }
        }
        Ok(None)
    }

    /// A whole number.
    pub(super) fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        let Some((name, value)) = self.found(name)? else { return Ok(default) };
        value.parse().map_err(|_| format!("{name}={value:?} is no whole number"))
    }

    /// Seconds.
    pub(super) fn seconds(&self, name: &str, default: u32) -> Result<Duration, String> {
        self.number(name, default).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// How long records are looked for, and how often; lego's defaults.
    pub(super) fn patience(&self) -> Result<Patience, String> {
        let limit = self.seconds("PROPAGATION_TIMEOUT", 60)?;
        let pause = self.seconds("POLLING_INTERVAL", 2)?;
        Ok(Patience { limit, pause, prefix: self.prefixes.last().copied().unwrap_or_default() })
    }
}

/// How long records are looked for, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) limit: Duration,
    pub(super) pause: Duration,
    /// Of the variables that say so.
    pub(super) prefix: &'static str,
}

/// Go's truth, for lego's switches.
pub(super) fn is_on(environment: Environment<'_>, name: &str) -> bool {
    let value = environment(name).unwrap_or_default();
    matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_by_either_name_or_from_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret").to_str().unwrap().to_owned();
        std::fs::write(&file, "from file\r\n").unwrap();
        let environment = |name: &str| {
            Some(match name {
                "B_ONE" => "old name".to_owned(),
                "A_TWO" => "new name".to_owned(),
                "B_TWO" => "not this".to_owned(),
                "B_THREE_FILE" => file.clone(),
                "A_FOUR_FILE" => "/no/such".to_owned(),
                "A_TTL" => "many".to_owned(),
                "A_POLLING_INTERVAL" => "7".to_owned(),
                _ => return None,
            })
        };
        let variables = Variables::new(&environment, &["A_", "B_"]);
        let text = |name: &str| variables.text(name);

        assert_eq!(text("ONE"), Ok(Some("old name".into())));
        assert_eq!(text("TWO"), Ok(Some("new name".into())));
        assert_eq!(text("THREE"), Ok(Some("from file".into())));
        assert!(text("FOUR").unwrap_err().starts_with("A_FOUR_FILE /no/such: "));
        assert_eq!(text("FIVE"), Ok(None));
        assert_eq!(variables.number("TTL", 1), Err("A_TTL=\"many\" is no whole number".to_owned()));
        let (limit, pause) = (Duration::from_secs(60), Duration::from_secs(7));
        assert_eq!(variables.patience(), Ok(Patience { limit, pause, prefix: "B_" }));
    }
}
