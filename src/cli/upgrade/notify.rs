//! Telling a service manager which process serves (`sd_notify(3)`), where there is one.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says this to the service manager that started us, if one wants to know.
pub(in crate::cli) fn tell(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let place = place.as_encoded_bytes();
    let address = match place.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name),
        Some((b'/', _)) => {
            SocketAddr::from_pathname(std::path::Path::new(String::from_utf8_lossy(place).as_ref()))
        }
        Some(_) | None => return,
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "tell the service manager {state:?}");
    }
}
