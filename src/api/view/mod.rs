//! The table as Traefik's API shows it: rows of the lists and their JSON. The dashboard's
//! pages are made of the same rows.

mod certificate;
mod entry_point;
mod generation;
mod issuance;
mod middleware;
mod overview;
mod router;
mod service;
mod wharf;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::table::{Outcome, Status, Table};

pub(super) use certificate::{CertificateRow, certificates, count_certificates};
pub(super) use entry_point::{entry_point, entry_points};
pub(super) use generation::{GenerationRow, generations, problems_now};
pub(super) use issuance::issuance;
pub(super) use middleware::{MiddlewareRow, middlewares};
pub(super) use overview::{Counts, count, overview, version};
pub(super) use router::{RouterRow, routers};
pub(super) use service::{ServiceRow, services};
pub(super) use wharf::{engine, history, problems, replicas, waiting};

/// Where an object stands: `/api/rawdata` leaves out what its keys say already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Listed,
    Raw,
}

/// For a thing that the compiler said nothing about.
static NO_OUTCOME: Outcome = Outcome {
    status: Status::Enabled,
    errors: Vec::new(),
    used: Vec::new(),
    entry_points: Vec::new(),
    priority: 0,
    middlewares: Vec::new(),
};

/// For a thing that the compiler said nothing about.
pub(super) fn no_outcome() -> &'static Outcome {
    &NO_OUTCOME
}

/// A JSON object that is built field by field; empty values are left out, as Go does.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn of(value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(Value::Object(map)) => Self(map),
            _ => Self::default(),
        }
    }

    fn put(&mut self, key: &str, value: impl Serialize) {
        // Only maps with keys that are no strings fail; there are none.
        if let Ok(value) = serde_json::to_value(value) {
            self.0.insert(key.to_owned(), value);
        }
    }

    fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    fn put_list(&mut self, key: &str, list: &[String]) {
        if !list.is_empty() {
            self.put(key, list);
        }
    }

    fn put_text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.put(key, text);
        }
    }

    fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// `/api/rawdata`: everything by qualified name.
pub(super) fn raw_data(table: &Table) -> Value {
    let mut data = Object::default();
    let mut put = |key: &str, map: Map<String, Value>| {
        if !map.is_empty() {
            data.put(key, map);
        }
    };
    put("routers", routers(table).map(|r| (r.name.to_string(), r.json(Form::Raw))).collect());
    put(
        "middlewares",
        middlewares(table).map(|m| (m.name.to_string(), m.json(Form::Raw))).collect(),
    );
    put("services", services(table).map(|s| (s.name.to_string(), s.json(Form::Raw))).collect());
    data.into_value()
}
