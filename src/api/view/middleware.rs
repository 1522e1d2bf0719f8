//! Middlewares.

use serde_json::Value;

use super::{Form, NO_OUTCOME, Object};
use crate::api::list::{Key, Row, holds, status_key};
use crate::middleware::Spec;
use crate::model::{Name, Sourced};
use crate::table::{Outcome, Table};

/// One middleware and what became of it.
pub(in crate::api) struct MiddlewareRow<'t> {
    pub(in crate::api) name: &'t Name,
    pub(in crate::api) middleware: &'t Sourced<Spec>,
    pub(in crate::api) outcome: &'t Outcome,
}

/// All middlewares by name.
pub(in crate::api) fn middlewares(table: &Table) -> impl Iterator<Item = MiddlewareRow<'_>> {
    table.desired.middlewares.iter().map(|(name, middleware)| MiddlewareRow {
        name,
        middleware,
        outcome: table.middlewares.get(name).unwrap_or(&NO_OUTCOME),
    })
}

impl MiddlewareRow<'_> {
    /// As the API's `type`: `stripprefix`.
    pub(in crate::api) fn kind(&self) -> String {
        self.middleware.value.kind().to_ascii_lowercase()
    }

    pub(in crate::api) fn json(&self, form: Form) -> Value {
        let mut object = Object::of(&self.middleware.value);
        if let Some(names) = self.middleware.value.chain() {
            // As Traefik: a chain's parts carry their provider.
            let home = self.name.provider().as_str();
            let qualify = |name: &String| {
                if name.contains('@') { name.clone() } else { format!("{name}@{home}") }
            };
            let names: Vec<_> = names.iter().map(qualify).collect();
            object.put("chain", serde_json::json!({ "middlewares": names }));
        }
        object.put_list("error", &self.outcome.errors);
        object.put("status", self.outcome.status.as_str());
        object.put_list("usedBy", &self.outcome.used);
        if form == Form::Listed {
            object.put("name", self.name);
            object.put("provider", self.name.provider().as_str());
            object.put("type", self.kind());
        }
        object.into_value()
    }
}

impl Row for MiddlewareRow<'_> {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn status(&self) -> &str {
        self.outcome.status.as_str()
    }

    fn contains(&self, search: &str) -> bool {
        holds(self.name.as_str(), search)
    }

    fn column(&self, name: &str) -> Option<Key> {
        match name {
            "type" => Some(Key::Text(self.kind())),
            "provider" => Some(Key::Text(self.name.provider().as_str().to_owned())),
            "status" => Some(status_key(self.outcome.status)),
            _ => None,
        }
    }
}
