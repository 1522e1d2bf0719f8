//! Routers.

use serde_json::{Value, json};

use super::{Form, NO_OUTCOME, Object};
use crate::api::list::{Key, Row, holds, status_key};
use crate::model::{Name, Provider, Router, RouterTls, Sourced};
use crate::table::{Outcome, Table};

/// One router and what became of it.
pub(in crate::api) struct RouterRow<'t> {
    pub(in crate::api) name: &'t Name,
    pub(in crate::api) router: &'t Sourced<Router>,
    pub(in crate::api) outcome: &'t Outcome,
}

/// All routers by name.
pub(in crate::api) fn routers(table: &Table) -> impl Iterator<Item = RouterRow<'_>> {
    table.desired.routers.iter().map(|(name, router)| RouterRow {
        name,
        router,
        outcome: table.routers.get(name).unwrap_or(&NO_OUTCOME),
    })
}

impl RouterRow<'_> {
    pub(in crate::api) fn json(&self, form: Form) -> Value {
        let router = &self.router.value;
        let mut object = Object::default();
        object.put_list("entryPoints", &self.outcome.entry_points);
        object.put_list("middlewares", &self.outcome.middlewares);
        object.put_text("service", &router.service);
        object.put_text("rule", &router.rule);
        if self.name.provider() == Provider::Internal {
            object.put("ruleSyntax", "default");
        } else {
            object.put_text("ruleSyntax", &router.rule_syntax);
        }
        if self.outcome.priority != 0 {
            object.put("priority", self.outcome.priority);
        }
        if let Some(tls) = &router.tls {
            object.put("tls", tls_json(tls));
        }
        object.put("observability", self.observability());
        object.put_list("error", &self.outcome.errors);
        object.put("status", self.outcome.status.as_str());
        object.put_list("using", &self.outcome.used);
        if form == Form::Listed {
            object.put("name", self.name);
            object.put("provider", self.name.provider().as_str());
            object.put("priorityStr", self.outcome.priority.to_string());
        }
        object.into_value()
    }

    /// Effective values; always there.
    fn observability(&self) -> Value {
        let said = self.router.value.observability.clone().unwrap_or_default();
        json!({
            "accessLogs": said.access_logs.unwrap_or(true),
            "metrics": said.metrics.unwrap_or(true),
            "tracing": said.tracing.unwrap_or(true),
            "traceVerbosity": said.trace_verbosity.as_deref().unwrap_or("minimal"),
        })
    }

    /// Its service with the provider's name.
    pub(in crate::api) fn service(&self) -> Option<Name> {
        let written = &self.router.value.service;
        if written.is_empty() { None } else { Name::resolve(written, self.name.provider()) }
    }
}

/// An empty section prints the options that it means.
fn tls_json(tls: &RouterTls) -> Value {
    let mut object = Object::of(tls);
    if object.0.is_empty() {
        object.put("options", "default");
    }
    object.into_value()
}

impl Row for RouterRow<'_> {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn status(&self) -> &str {
        self.outcome.status.as_str()
    }

    fn contains(&self, search: &str) -> bool {
        holds(self.name.as_str(), search) || holds(&self.router.value.rule, search)
    }

    fn column(&self, name: &str) -> Option<Key> {
        let text = |text: &str| Some(Key::Text(text.to_owned()));
        match name {
            "provider" => text(self.name.provider().as_str()),
            "priority" => Some(Key::Number(self.outcome.priority)),
            "status" => Some(status_key(self.outcome.status)),
            "rule" => text(&self.router.value.rule),
            "service" => text(&self.router.value.service),
            "entryPoints" => Some(Key::Number(
                i64::try_from(self.outcome.entry_points.len()).unwrap_or(i64::MAX),
            )),
            _ => None,
        }
    }

    fn has_service(&self, name: &str) -> bool {
        let own = &self.router.value.service;
        // As Traefik: an unqualified service is compared with the part before the `@`.
        let wanted = if own.contains('@') { name } else { name.split('@').next().unwrap_or(name) };
        own == wanted
    }

    fn has_middleware(&self, name: &str) -> bool {
        self.outcome.middlewares.iter().any(|own| own == name)
    }
}
