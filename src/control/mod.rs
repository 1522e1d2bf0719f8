//! The reconcile task; start and stop of everything. Must never touch a request.

pub mod aside;
pub mod changed;
pub mod export;
mod lost;
mod news;
pub mod ocsp;
mod pace;
pub mod reconcile;
