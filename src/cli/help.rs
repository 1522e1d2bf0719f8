//! `wharf help`: every command and every option, with its default and what it does.

use std::fmt::Write as _;

use super::COMMANDS;
use crate::settings::options;
use crate::tree::known::{KnownOption, State};

const WIDTH: usize = 96;

/// The whole text.
pub(super) fn text() -> String {
    let mut text = String::from(
        "Wharf is a reverse proxy for Docker that reads traefik.* labels.\n\n\
         Usage: wharf [command] [flags]\n\nCommands:\n",
    );
    for (name, meaning) in COMMANDS {
        let _ = writeln!(text, "    {name:<12} {meaning}");
    }
    text.push_str(concat!(
        "\nwharf check [--format json] [flags] [Compose files]: without files, the running engine's labels\n",
        "are checked. The status is 1 when something would be left out.\n",
        "\nOptions come from one source, as with Traefik: a file, else flags, else the environment.\n",
        "The file is --configFile, else traefik.toml, .yaml or .yml in /etc/traefik,\n",
        "$XDG_CONFIG_HOME, $HOME/.config or the working directory; wharf.* in the same folders and\n",
        "in /etc/wharf comes first. The flag --entrypoints.web.address=:80 is in the environment\n",
        "TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80 (or WHARF_...). Switches may stand alone: --ping.\n",
        "\nFlags:\n",
    ));
    entry(&mut text, "configfile", "(none)", "The file to read");
    let mut group = String::new();
    for option in options().filter(is_shown) {
        let first = option.path.split('.').next().unwrap_or_default();
        if first != group {
            let _ = write!(text, "\n  {first}\n");
            first.clone_into(&mut group);
        }
        entry(&mut text, &option.path.to_lowercase(), option.default, &meaning(&option));
    }
    text.push_str(
        "\nOther options of Traefik's are known, and refused by their names, until Wharf \
         has them.\n",
    );
    text
}

fn is_shown(option: &KnownOption) -> bool {
    match option.state {
        State::Built => true,
        State::Later | State::Removed | State::Ignored => false,
    }
}

fn meaning(option: &KnownOption) -> String {
    match option.kind.strip_prefix("enum(").and_then(|kind| kind.strip_suffix(')')) {
        Some(values) => format!("{}: {}", option.meaning, values.replace(',', ", ")),
        None => option.meaning.to_owned(),
    }
}

fn entry(text: &mut String, name: &str, default: &str, meaning: &str) {
    let default = match default {
        "(none)" | "(absent)" => String::new(),
        _ => format!("  (default: {})", default.trim_matches(['(', ')'])),
    };
    let _ = writeln!(text, "    --{name}{default}");
    let mut line = String::new();
    for word in meaning.split(' ') {
        if !line.is_empty() && line.len() + word.len() + 9 > WIDTH {
            let _ = writeln!(text, "        {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "        {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_that_is_taken_is_described() {
        let text = text();

        for option in options().filter(is_shown) {
            let flag = format!("    --{}", option.path.to_lowercase());
            assert!(
                text.lines().any(|line| line == flag || line.starts_with(&format!("{flag}  ("))),
                "{flag}"
            );
            assert!(!option.meaning.is_empty(), "{flag}");
        }
        assert!(text.lines().all(|line| line.len() <= 100 || line.contains("(default")));
    }
}
