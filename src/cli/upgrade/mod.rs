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

/// Why a hand-over would end everything instead, where it would: whoever started this process
/// takes its end for the service's.
pub(super) fn would_end_all() -> Option<&'static str> {
    let parent = rustix::process::getppid();
    let is_below_first = parent.is_some_and(rustix::process::Pid::is_init);
    let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    if std::process::id() == 1 || is_below_first && INITS.contains(&first.trim()) {
        return Some(
            "the container would end with its first process; docs/upgrade.md says how two \
             containers hand over",
        );
    }
    let is_set = |name| std::env::var_os(name).is_some();
    (is_below_first && is_set("INVOCATION_ID") && !is_set("NOTIFY_SOCKET")).then_some(
        "systemd would end the service with its main process; set Type=notify in the unit, as \
         docs/upgrade.md shows",
    )
}

/// What stands before the first process of a container (`docker run --init`).
const INITS: [&str; 4] = ["tini", "docker-init", "dumb-init", "catatonit"];

/// The command that the new process is started with; not for people.
pub(super) const COMMAND: &str = "take-over";
/// What the old process is called from then on, in `ps` and for `wharf upgrade`.
pub(super) const LEAVING: &str = "wharf-leaving";
