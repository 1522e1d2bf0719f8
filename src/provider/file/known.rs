//! Every key of a dynamic configuration file that Traefik knows, as data.

use std::sync::LazyLock;

use crate::labels;
use crate::tree::known::{KnownOption, Schema, rows};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(options().chain(own_options())));

/// All known keys: those that labels can say too, then those that only files can.
pub fn options() -> impl Iterator<Item = KnownOption> {
    let shared = labels::options().filter(|option| is_shared(&option.path));
    shared.chain(rows(include_str!("known.tsv")))
}

/// Those that Traefik does not know. What is of a container, as its deploy is, is not of files.
fn own_options() -> impl Iterator<Item = KnownOption> {
    labels::own_options().filter(|option| option.path.starts_with("http."))
}

/// Whether a key of labels means the same in a file. A label's `loadBalancer.server` stands
/// for the container; files list `servers`.
fn is_shared(path: &str) -> bool {
    const BALANCER: &str = "http.services.<service>.loadBalancer.";
    path.starts_with("http.middlewares.")
        || path == "http.services.<service>.middlewares"
        || path.strip_prefix(BALANCER).is_some_and(|rest| !rest.starts_with("server."))
        || path.starts_with("http.routers.") && !path.ends_with(".parentRefs")
}

/// What is known of one thing of a section: a router, a service, ... Middlewares look at
/// their own table.
pub(super) fn thing(part: &str, section: &str) -> Option<&'static Schema> {
    SCHEMA.child(part)?.child(section).filter(|_| section != "middlewares")?.child("")
}
