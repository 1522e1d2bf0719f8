//! `/api/wharf/certificates`: resolvers, what they have and what they are about to get.

use serde_json::{Value, json};

use super::Object;
use super::overview::moment;
use crate::acme::Board;
use crate::acme::status::{Entry, Resolver};

/// All resolvers by name.
pub(in crate::api) fn issuance(board: &Board) -> Value {
    let all = board.read().into_iter();
    all.map(|(name, one)| (name.to_string(), resolver(&one)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn resolver(resolver: &Resolver) -> Value {
    let mut object = Object::default();
    object.put_text("caServer", &resolver.ca_server);
    object.put_text("challenge", &resolver.challenge);
    object.put_text("storage", &resolver.storage);
    object.put_text("error", resolver.error.as_deref().unwrap_or_default());
    object.put_text("mend", resolver.mend.as_deref().unwrap_or_default());
    object.put("ordersObtained", resolver.obtained);
    object.put("ordersFailed", resolver.failed);
    object.put("certificates", resolver.entries.iter().map(entry).collect::<Vec<_>>());
    object.into_value()
}

fn entry(entry: &Entry) -> Value {
    let mut object = Object::default();
    object.put("domains", &entry.names);
    object.put("state", entry.state);
    object.put_text("issuer", &entry.issuer);
    for (name, when) in [
        ("notBefore", entry.not_before),
        ("notAfter", entry.not_after),
        ("renewal", entry.renewal),
        ("nextTry", entry.next_try),
    ] {
        if let Some(when) = when {
            object.put(name, moment(when));
        }
    }
    object.put("routers", json!(entry.routers));
    if entry.is_default {
        object.put("default", true);
    }
    object.put_text("error", entry.error.as_deref().unwrap_or_default());
    object.put_text("mend", entry.mend.as_deref().unwrap_or_default());
    object.into_value()
}
