//! `wharf upgrade` and SIGUSR2: a new process, of the same program or of a newer one in its
//! place, takes the listening sockets once its own table is loaded; the old one finishes its
//! connections. The sockets are the same ones, with all that waits in their queues, so that no
//! connection is refused or reset.

pub(super) mod command;
mod give;
pub(super) mod notify;
mod take;
mod wire;

pub(super) use give::{Giving, Program};
pub(super) use take::Taking;

/// The command that the new process is started with; not for people.
pub(super) const COMMAND: &str = "take-over";
/// What the old process is called from then on, in `ps` and for `wharf upgrade`.
pub(super) const LEAVING: &str = "wharf-leaving";
