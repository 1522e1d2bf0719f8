//! Telling a service manager which process serves (`sd_notify(3)`), where there is one.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{Interval, interval};

/// What a service manager wants to hear at times (`sd_watchdog_enabled(3)`).
pub(in crate::cli) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As the environment says. Whose it is (`WATCHDOG_PID`) is not looked at: after a hand-over
    /// it names the process before, and whoever is not asked is not listened to.
    pub(in crate::cli) fn of_this_process() -> Self {
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let half = micros.map(|micros: u64| Duration::from_micros(micros / 2));
        Self(half.filter(|half| !half.is_zero()).map(interval))
    }

    /// When it is time to say `WATCHDOG=1`; never where nobody asks.
    pub(in crate::cli) async fn due(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

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
