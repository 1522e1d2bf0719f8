//! The template of the default rule: the part of Go's `text/template` and of Sprig that
//! rules need. A template that uses anything else is refused by the name of it.

mod functions;
mod parse;
mod run;

use std::collections::BTreeMap;

pub(super) use run::Model;

/// A template, read.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

/// What is wrong with a template, or with what it was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Error(pub(super) String);

impl Error {
    fn new<T>(text: impl Into<String>) -> Result<T, Self> {
        Err(Self(text.into()))
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Print(Pipeline),
    If { branches: Vec<(Pipeline, Vec<Piece>)>, otherwise: Vec<Piece> },
    With { over: Pipeline, body: Vec<Piece>, otherwise: Vec<Piece> },
    Range { over: Pipeline, names: Vec<String>, body: Vec<Piece>, otherwise: Vec<Piece> },
}

/// `$name := a | b c`: each command gets the last one's value as its last argument.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pipeline {
    set: Option<String>,
    commands: Vec<Vec<Operand>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Value(Value),
    Function(String),
    /// `.a.b`
    Dot(Vec<String>),
    /// `$x.a`
    Variable(String, Vec<String>),
    /// `(…).a`
    Group(Pipeline, Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        parse::parse(text).map(Self)
    }

    /// Writes it out for a container.
    pub(super) fn render(&self, model: &Model<'_>) -> Result<String, Error> {
        run::render(&self.0, model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> Result<String, Error> {
        let labels = BTreeMap::from(
            [
                ("tier", "Front"),
                ("hosts", "a.test, b.test"),
                ("evil", "x`) || Host(`y"),
                ("n", "3"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let model = Model { name: "web-shop", container: "shop_web_1", labels: &labels };
        Template::parse(template)?.render(&model)
    }

    #[test]
    fn templates_of_the_documentation_render() {
        for (template, expected) in [
            ("Host(`{{ normalize .Name }}`)", "Host(`web-shop`)"),
            ("Host(`{{ .Name }}.{{ index .Labels \"tier\" }}`)", "Host(`web-shop.Front`)"),
            ("Host(`{{ .ContainerName | normalize }}.test`)", "Host(`shop-web-1.test`)"),
            (
                "Host(`{{ trimPrefix `/` .Name }}.docker.localhost`)",
                "Host(`web-shop.docker.localhost`)",
            ),
            ("Host(`{{ index .Labels \"tier\" | lower }}.x`)", "Host(`front.x`)"),
            ("{{ if eq .Name \"web-shop\" }}a{{ else }}b{{ end }}", "a"),
            (
                "{{- if index .Labels \"none\" -}} a {{- else if .Labels.tier -}} b {{- end -}} ",
                "b",
            ),
            ("{{ with .Labels.tier }}{{ . }}{{ end }}", "Front"),
            ("{{ $h := splitList \",\" .Labels.hosts }}{{ first $h }}", "a.test"),
            (
                "{{ range $i, $h := splitList \", \" .Labels.hosts }}{{ if $i }} || {{ end }}Host(`{{ $h }}`){{ end }}",
                "Host(`a.test`) || Host(`b.test`)",
            ),
            ("{{ default \"x\" .Labels.none }}{{ .Labels.none | default `y` }}", "xy"),
            ("{{ printf \"%s-%d%%\" .Name 4 }}", "web-shop-4%"),
            ("{{ (index .Labels \"hosts\") | replace \", \" \"+\" }}", "a.test+b.test"),
            ("{{ quote .Name }}{{ len .Name }}{{/* note */}}", "\"web-shop\"8"),
            ("{{ if and (hasPrefix \"web\" .Name) (not (contains \"x\" .Name)) }}y{{ end }}", "y"),
            ("{{ regexReplaceAll \"-.*$\" .Name \"\" }}", "web"),
            ("{{ .Labels.none }}", "<no value>"),
            ("{{ join \"-\" (splitList \"_\" .ContainerName | rest) }}", "web-1"),
            ("{{ substr 0 3 .Name }}{{ trunc 3 .Name }}{{ title \"ab\" }}", "webwebAb"),
            ("{{ ternary \"a\" \"b\" (gt (int .Labels.n) 2) }}", "a"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_not_built_or_wrong_is_named() {
        for (template, text) in [
            ("{{ nosuch .Name }}", "function \"nosuch\" is not defined"),
            ("{{ .Nope }}", "no field `.Nope`"),
            ("{{ template \"x\" }}", "`template` is not built"),
            ("{{ if .Name }}", "no {{ end }}"),
            ("{{ end }}", "unexpected {{ end }}"),
            ("{{ .Name ", "no closing }}"),
            ("{{ \"a }}", "unterminated"),
            ("{{ $x }}", "undefined variable `$x`"),
            ("{{ trimPrefix \"a\" }}", "trimPrefix takes 2 arguments"),
        ] {
            let error = render(template).unwrap_err().0;
            assert!(error.contains(text), "{template}: {error}");
        }
    }

    #[test]
    fn a_value_can_not_end_the_literal_that_it_is_put_in() {
        let error = render("Host(`{{ .Labels.evil }}`)").unwrap_err().0;
        assert!(error.contains("back-quote"), "{error}");
        assert!(render("Host(\"{{ quote .Name }}\")").is_err());
        assert!(render("{{ if .Name }}Host(`{{ end }}{{ .Labels.evil }}`)").is_err());

        // Outside of a literal a label may hold a whole rule.
        assert_eq!(render("x{{ .Labels.evil }}").unwrap(), "xx`) || Host(`y");
    }
}
