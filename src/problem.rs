//! What a user wrote that can't be used as written: where, what, and how to mend it.
//! Must never know what produced it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is served, but perhaps not as meant.
    Warning,
    /// Something is left out.
    Error,
}

/// The stable kind of a [`Problem`], for scripts and the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A key that nobody knows.
    UnknownKey,
    /// A key that Traefik knows and Wharf has not built.
    NotBuilt,
    /// A value that its key does not take.
    BadValue,
    /// A rule that does not parse.
    BadRule,
    /// A name that nothing has: middleware, service, entry point, TLS options, transport.
    UnknownName,
    /// The same name with different settings, or the same key twice.
    Conflict,
    /// No port, or several that can't be told apart.
    Port,
    /// The container shares no network with the proxy, or the named one is missing.
    Network,
    /// A file that can't be read or parsed.
    File,
    /// The Docker engine can't be reached or refuses.
    Engine,
    /// A certificate or key that can't be used.
    Certificate,
    /// A server that did not answer while it was starting, or a generation of servers that
    /// fails.
    Server,
    /// Something that is served but deserves a second look.
    Notice,
}

impl Code {
    /// The code as printed: `unknown-key`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown-key",
            Self::NotBuilt => "not-built",
            Self::BadValue => "bad-value",
            Self::BadRule => "bad-rule",
            Self::UnknownName => "unknown-name",
            Self::Conflict => "conflict",
            Self::Port => "port",
            Self::Network => "network",
            Self::File => "file",
            Self::Engine => "engine",
            Self::Certificate => "certificate",
            Self::Server => "server",
            Self::Notice => "notice",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A container as people know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ContainerRef {
    /// The name without the leading slash.
    pub name: Arc<str>,
    /// The full hexadecimal id.
    pub id: Arc<str>,
}

impl ContainerRef {
    /// The first twelve characters of the id, as `docker ps` shows it; the whole when it is
    /// no engine's: `service web`.
    pub fn short_id(&self) -> &str {
        let is_engines = self.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.id.get(..12).filter(|_| is_engines).unwrap_or(&self.id)
    }
}

impl fmt::Display for ContainerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.short_id())
    }
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A label of a container.
    Label {
        /// Whose label.
        container: ContainerRef,
        /// The whole key as written.
        key: Box<str>,
    },
    /// A container as such, where no single label is meant.
    Container(ContainerRef),
    /// A command line flag, with its dashes.
    Flag(Box<str>),
    /// An environment variable.
    Env(Box<str>),
    /// A place in a file.
    File {
        /// The file.
        path: Arc<PathBuf>,
        /// Line, from 1; 0 when only the file is known.
        line: u32,
        /// Column, from 1; 0 when only the line is known.
        column: u32,
    },
    /// The Docker engine at this address.
    Engine(Box<str>),
    /// Wharf itself.
    Internal,
}

impl Origin {
    /// A file without a place in it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: Arc::new(path.into()), line: 0, column: 0 }
    }

    /// The container this was written on, if any.
    pub fn container(&self) -> Option<&ContainerRef> {
        match self {
            Self::Label { container, .. } | Self::Container(container) => Some(container),
            Self::Flag(_) | Self::Env(_) | Self::File { .. } | Self::Engine(_) | Self::Internal => {
                None
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { container, key } => write!(f, "container {container}, label {key}"),
            Self::Container(container) => write!(f, "container {container}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, column: 0 } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Engine(address) => write!(f, "engine {address}"),
            Self::Internal => write!(f, "wharf"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What else a [`Problem`] is about; rare, and so a pointer there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Other(pub Box<str>);

/// Something the user can mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Its stable kind.
    pub code: Code,
    /// Where it was written.
    pub origin: Origin,
    /// What it is about, qualified: `router web@docker`; empty when nothing was made of it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub subject: Box<str>,
    /// What else it is about: the other router of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub also: Option<Box<Other>>,
    /// What is wrong, with the value. Lower case, no full stop.
    pub text: Box<str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<Box<str>>,
}

impl Problem {
    /// A problem that leaves something out.
    pub fn error(code: Code, origin: Origin, text: impl Into<Box<str>>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            origin,
            subject: Box::default(),
            also: None,
            text: text.into(),
            mend: None,
        }
    }

    /// A problem that leaves nothing out.
    pub fn warning(code: Code, origin: Origin, text: impl Into<Box<str>>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, origin, text) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<Box<str>>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// Adds the thing it is about: `router web@docker`.
    #[must_use]
    pub fn about(mut self, subject: impl Into<Box<str>>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Adds what else it is about.
    #[must_use]
    pub fn and(mut self, also: impl Into<Box<str>>) -> Self {
        self.also = Some(Box::new(Other(also.into())));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        f.write_str(&self.text)?;
        if let Some(mend) = &self.mend {
            write!(f, "; {mend}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_how_to_mend_it() {
        let container = ContainerRef { name: "web-1".into(), id: "0123456789abcdef".into() };
        let origin = Origin::Label { container, key: "traefik.http.routers.web.rul".into() };

        let problem =
            Problem::error(Code::UnknownKey, origin, "no such key").mend("did you mean `rule`?");

        assert_eq!(
            problem.to_string(),
            "container web-1 (0123456789ab), label traefik.http.routers.web.rul: no such key; \
             did you mean `rule`?"
        );
    }
}
