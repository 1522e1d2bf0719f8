//! Middlewares: one file each, its settings and its step, and the one table of them.
//! Must never reach into another middleware.

use serde::Serialize;

/// A middleware as declared. Serializes as `{"stripPrefix": {...}}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Spec {}

/// A router's middlewares, ready to run.
pub struct Chain {}
