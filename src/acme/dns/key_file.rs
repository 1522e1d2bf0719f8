//! A key as `tsig-keygen` writes it: `key "name" { algorithm hmac-sha256; secret "..."; };`.

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) algorithm: String,
    pub(super) secret: String,
}

/// Reads the first key of a file. The error never shows what is in it.
pub(super) fn read(text: &str) -> Result<Written, String> {
    let mut words = words(text).into_iter();
    let mut next = || words.next();
    let mut key = Written::default();
    loop {
        match next().as_deref() {
            Some("key") => break,
            Some(_) => {}
            None => return Err("no `key` in it, as tsig-keygen writes one".into()),
        }
    }
    key.name = next().ok_or("the key has no name")?;
    if next().as_deref() != Some("{") {
        return Err(format!("no `{{` after the key's name {:?}", key.name));
    }
    while let Some(word) = next().filter(|word| word != "}") {
        match word.as_str() {
            "algorithm" => key.algorithm = next().unwrap_or_default(),
            "secret" => key.secret = next().unwrap_or_default(),
            _ => {}
        }
    }
    for (what, value) in [("algorithm", &key.algorithm), ("secret", &key.secret)] {
        if value.is_empty() || value == ";" {
            return Err(format!("the key {:?} has no {what}", key.name));
        }
    }
    Ok(key)
}

/// Words, quoted or not, braces and semicolons by themselves; without comments (`//`, `#`,
/// and between `/*` and `*/`), which a quoted word has none of.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..).unwrap_or_default();
        let skipped = match letter {
            '"' => {
                let (quoted, after) = after.split_once('"').unwrap_or((after, ""));
                words.push(quoted.to_owned());
                Some(after)
            }
            '#' => Some(after.split_once('\n').map_or("", |(_, after)| after)),
            '/' if after.starts_with('/') => {
                Some(after.split_once('\n').map_or("", |(_, after)| after))
            }
            '/' if after.starts_with('*') => {
                Some(after.split_once("*/").map_or("", |(_, after)| after))
            }
            _ => None,
        };
        let is_mark = matches!(letter, '{' | '}' | ';');
        if skipped.is_none() && !is_mark && !letter.is_whitespace() {
            word.push(letter);
        } else if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if is_mark {
            words.push(letter.to_string());
        }
        rest = skipped.unwrap_or(after);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_tsig_keygen_and_people_write_it() {
        let wanted = Written {
            name: "k.example.org".into(),
            algorithm: "hmac-sha256".into(),
            secret: "ab//cd#e==".into(),
        };
        for text in [
            "key \"k.example.org\" {\n\talgorithm hmac-sha256;\n\tsecret \"ab//cd#e==\";\n};\n",
            "// old: key \"x\"\n/* key y { */ # key z\nkey k.example.org{secret \"ab//cd#e==\" ; \
             algorithm \"hmac-sha256\";}; key other { };",
        ] {
            assert_eq!(read(text).as_ref(), Ok(&wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_its_secret() {
        for (text, wanted) in [
            ("", "no `key`"),
            ("key", "no name"),
            ("key k algorithm a;", "no `{`"),
            ("key k { secret \"hidden\"; };", "no algorithm"),
            ("key k { algorithm a; secret ; };", "no secret"),
            ("key k { algorithm a; secret \"\"; };", "no secret"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("hidden"), "{text}: {error}");
        }
    }
}
