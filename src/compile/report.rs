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
    /// The field it is about, as its label ends: `tls.options`.
    pub(super) field: &'static str,
    /// The problem was already reported, against what it is really about.
    pub(super) is_reported: bool,
}

impl Fault {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), mend: None, plain: None, field: "", is_reported: false }
    }

    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    pub(super) fn field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }

    /// The same, for those that depend on the thing at fault.
    pub(super) fn reported(mut self) -> Self {
        self.is_reported = true;
        self
    }

    /// The fault as a problem of the `router`, `service` or `middleware` of that name.
    pub(super) fn problem<T>(&self, kind: &str, name: &Name, source: &Sourced<T>) -> Problem {
        let text = self.plain.as_ref().unwrap_or(&self.text).as_str();
        let origin = at_field(origin(source), name.local(), self.field);
        let problem = Problem::error(self.code, origin, text).about(format!("{kind} {name}"));
        match &self.mend {
            Some(mend) => problem.mend(mend.as_str()),
            None => problem,
        }
    }
}

/// A thing's origin is any of its labels; this is the one of the field that is meant.
fn at_field(origin: Origin, name: &str, field: &str) -> Origin {
    let Origin::Label { container, key } = origin else { return origin };
    let section = format!(".{}.", name.to_ascii_lowercase());
    let at = key.to_ascii_lowercase().find(&section).filter(|_| !field.is_empty());
    let key = match at.and_then(|at| key.get(..at + section.len())) {
        Some(above) => format!("{above}{field}").into(),
        None => key,
    };
    Origin::Label { container, key }
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

#[cfg(test)]
mod tests {
    use crate::problem::ContainerRef;

    use super::*;

    #[test]
    fn a_fault_points_at_the_label_of_its_field() {
        let container = ContainerRef { name: "web-1".into(), id: "0123".into() };
        let key = "traefik.http.routers.Web.rule".into();
        let source = Sourced::new((), vec![Origin::Label { container, key }]);
        let name = Name::new("Web", Provider::Docker);
        let fault = Fault::new(Code::UnknownName, "x").field("tls.options");

        assert_eq!(
            fault.problem("router", &name, &source).to_string(),
            "container web-1 (0123), label traefik.http.routers.Web.tls.options: \
             router Web@docker: x"
        );
    }

    #[test]
    fn the_same_name_of_another_provider_is_the_nearest() {
        let names = [Name::new("auth", Provider::File), Name::new("auht", Provider::Docker)];

        let mend = |reference: &str| known_names(reference, Provider::Docker, names.iter());
        assert_eq!(mend("auth"), "did you mean `auth@file`?");
        assert_eq!(mend("auhtt"), "did you mean `auht@docker`?");
        assert_eq!(mend("zzzzzz"), "known are: auth@file, auht@docker");
    }
}
