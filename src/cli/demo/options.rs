//! The demo's own options.

use std::net::IpAddr;

/// What `wharf demo --help` prints.
pub(super) const HELP: &str = "\
Starts a small project of its own behind Wharf and lets you watch it.

Usage: wharf demo [OPTIONS]

      --steady           leave the number of replicas alone
      --engine WHICH     docker: fail without an engine; embedded: do not look for one;
                         auto: Docker when it can be used [auto]
      --address IP       address to listen on [127.0.0.1]
      --port N           port of the services [8000, or the next free one]
      --dashboard-port N port of the dashboard [8080, or the next free one]
      --https            certificates, too, by pebble (apt install pebble), which
                         nobody trusts
      --https-port N     port of HTTPS [8443, or the next free one]
      --for SECONDS      end by itself after so long

Everything that the demo starts is removed when it ends.
";

/// Where the project runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// Docker if it can be used.
    Auto,
    /// Docker or nothing.
    Docker,
    /// Inside this process.
    Embedded,
}

/// The options as given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Do not scale.
    pub(super) steady: bool,
    /// Where the project runs.
    pub(super) engine: Engine,
    /// Where to listen.
    pub(super) address: IpAddr,
    /// Of the services; `None`: 8000 or the next free one.
    pub(super) port: Option<u16>,
    /// Of the dashboard; `None`: 8080 or the next free one.
    pub(super) dashboard_port: Option<u16>,
    /// Certificates, too.
    pub(super) https: bool,
    /// Of HTTPS; `None`: 8443 or the next free one.
    pub(super) https_port: Option<u16>,
    /// End after so many seconds.
    pub(super) seconds: Option<u32>,
}

impl Options {
    /// Reads the arguments after `demo`.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            steady: false,
            engine: Engine::Auto,
            address: IpAddr::from([127, 0, 0, 1]),
            port: None,
            dashboard_port: None,
            https: false,
            https_port: None,
            seconds: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (flag, joined) = match argument.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                joined
                    .or_else(|| rest.next().map(String::as_str))
                    .ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag {
                "--steady" => options.steady = true,
                "--engine" => options.engine = engine(value()?)?,
                "--address" => options.address = number(flag, value()?)?,
                "--port" => options.port = Some(number(flag, value()?)?),
                "--dashboard-port" => options.dashboard_port = Some(number(flag, value()?)?),
                "--https" => options.https = true,
                "--https-port" => options.https_port = Some(number(flag, value()?)?),
                "--for" => options.seconds = Some(number(flag, value()?)?),
                _ => return Err(format!("no such option: {argument}; see wharf demo --help")),
            }
        }
        Ok(options)
    }
}

fn engine(value: &str) -> Result<Engine, String> {
    match value {
        "auto" => Ok(Engine::Auto),
        "docker" => Ok(Engine::Docker),
        "embedded" => Ok(Engine::Embedded),
        _ => Err(format!("--engine: {value:?} is none of auto, docker, embedded")),
    }
}

fn number<N: std::str::FromStr>(flag: &str, value: &str) -> Result<N, String> {
    value.parse().map_err(|_| format!("{flag}: {value:?} is not a value for it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn values_stand_behind_an_equals_sign_or_a_blank() {
        let blank = Options::parse(&words("--steady --engine embedded --port 9000"));
        let equals = Options::parse(&words("--steady --engine=embedded --port=9000"));

        assert_eq!(blank, equals);
        assert!(blank.is_ok_and(|options| options.steady && options.port == Some(9000)));
    }

    #[test]
    fn a_bad_option_is_named() {
        let cases = [
            ("--steaddy", "no such option: --steaddy; see wharf demo --help"),
            ("--engine podman", "--engine: \"podman\" is none of auto, docker, embedded"),
            ("--port", "--port needs a value"),
            ("--port x", "--port: \"x\" is not a value for it"),
        ];
        for (arguments, text) in cases {
            assert_eq!(Options::parse(&words(arguments)), Err(text.to_owned()));
        }
    }
}
