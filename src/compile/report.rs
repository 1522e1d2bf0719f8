//! How compile says what is wrong: a problem for people, a sentence for the API.

use crate::model::{Name, Provider, Sourced};
use crate::problem::{Code, Origin, Problem};
use crate::tree::suggest::nearest;

/// Why something can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// In Traefik's words where it has any.
    pub(super) text: String,
    pub(super) mend: Option<String>,
    /// The same for people, where Traefik's words are roundabout.
    pub(super) plain: Option<String>,
    /// The problem was already reported, against what it is really about.
    pub(super) is_reported: bool,
}

impl Fault {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), mend: None, plain: None, is_reported: false }
    }

    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    /// The same, for those that depend on the thing at fault.
    pub(super) fn reported(mut self) -> Self {
        self.is_reported = true;
        self
    }

    /// The fault as a problem of `subject`.
    pub(super) fn problem<T>(&self, subject: String, source: &Sourced<T>) -> Problem {
        let text = self.plain.as_ref().unwrap_or(&self.text).as_str();
        let problem = Problem::error(self.code, origin(source), text).about(subject);
        match &self.mend {
            Some(mend) => problem.mend(mend.as_str()),
            None => problem,
        }
    }
}

/// Where a thing was written first.
pub(super) fn origin<T>(source: &Sourced<T>) -> Origin {
    source.from.first().cloned().unwrap_or(Origin::Internal)
}

/// A reference as Traefik prints it: with its provider.
pub(super) fn qualify(reference: &str, home: Provider) -> String {
    if reference.contains('@') {
        return reference.to_owned();
    }
    format!("{reference}@{}", home.as_str())
}

/// What to do about a name that nothing has.
pub(super) fn known<'a>(
    name: &str,
    names: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> String {
    let names = names.into_iter();
    if let Some(nearest) = nearest(name, names.clone()) {
        return format!("did you mean `{nearest}`?");
    }
    let names: Vec<_> = names.take(9).collect();
    match names.as_slice() {
        [] => "nothing of that kind is defined".to_owned(),
        [.., _] if names.len() > 8 => "define it, or correct the name".to_owned(),
        _ => format!("known are: {}", names.join(", ")),
    }
}

/// The mend for a reference: the nearest name, or the same one of another provider.
pub(super) fn known_names<'a>(
    reference: &str,
    home: Provider,
    names: impl Iterator<Item = &'a Name> + Clone,
) -> String {
    let local = reference.split('@').next().unwrap_or(reference);
    if let Some(other) = names.clone().find(|name| name.local() == local) {
        return format!("did you mean `{other}`?");
    }
    let qualified = qualify(reference, home);
    let home = names.filter(|name| name.provider() != Provider::Internal);
    known(&qualified, home.map(Name::as_str))
}
