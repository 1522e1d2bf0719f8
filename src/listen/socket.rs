//! Listening sockets: one per worker and entry point, spread by the kernel.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Opens a socket per worker, or takes those that another process handed over. Where the
/// address may not be shared, it is first bound alone: with `SO_REUSEPORT` a second proxy
/// would take half of the connections in silence.
///
/// All that were handed over are kept, even when there are fewer workers: what waits in
/// one's queue would be lost with it.
pub(super) fn open(
    entry_point: &Arc<str>,
    address: SocketAddr,
    workers: usize,
    shared: Sharing,
    handed: Vec<TcpListener>,
) -> Result<Vec<TcpListener>, StartError> {
    let error = |source: io::Error| StartError::Listen {
        entry_point: Arc::clone(entry_point),
        address,
        mend: mend(&source, address),
        source,
    };
    let mut address = address;
    let mut listeners: Vec<_> =
        handed.into_iter().filter(|listener| is_at(listener, address)).collect();
    if let Some(bound) = listeners.first() {
        address = bound.local_addr().map_err(error)?;
    } else if shared == Sharing::No && address.port() != 0 {
        match bind(address, Sharing::No) {
            Err(fault) if is_without_ipv6(&fault) && address.ip().is_unspecified() => {
                address.set_ip(Ipv4Addr::UNSPECIFIED.into());
                drop(bind(address, Sharing::No).map_err(error)?);
            }
            Err(fault) => return Err(error(fault)),
            Ok(socket) => drop(socket),
        }
    }
    // Those that were handed over are shared by further workers: a socket of its own would be
    // given connections by the kernel before this process accepts.
    let handed = listeners.len();
    for turn in handed..workers {
        if let Some(shared) = listeners.get(turn % handed.max(1)).filter(|_| handed > 0) {
            listeners.push(shared.try_clone().map_err(error)?);
            continue;
        }
        let listener = bind(address, Sharing::Yes).map_err(error)?;
        // Port 0: the others share what the first was given.
        address.set_port(listener.local_addr().map_err(error)?.port());
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Whether a socket that was handed over is what this address asks for. Without IPv6 the
/// empty host is IPv4's.
fn is_at(listener: &TcpListener, wanted: SocketAddr) -> bool {
    let Ok(bound) = listener.local_addr() else { return false };
    let (here, there) = (bound.ip(), wanted.ip());
    let is_same_host = here == there || here.is_unspecified() && there.is_unspecified();
    is_same_host && (wanted.port() == 0 || wanted.port() == bound.port())
}

/// Whether others may listen on the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Only one process.
    No,
    /// `reusePort`.
    Yes,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, as Go's listeners do; a single address does not.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if sharing == Sharing::Yes {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn is_without_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn mend(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    let kind = error.kind();
    if kind == io::ErrorKind::AddrInUse {
        format!(
            "another process listens on port {port} (`ss -ltnp 'sport = :{port}'` shows it): stop \
             it, or choose another port"
        )
    } else if kind == io::ErrorKind::PermissionDenied {
        format!(
            "ports below 1024 need a right: add the capability NET_BIND_SERVICE, lower the sysctl \
             net.ipv4.ip_unprivileged_port_start, or choose a port above 1023 instead of {port}"
        )
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!("this machine has no address {}: leave it out to listen on all", address.ip())
    } else {
        "check the address of this entry point".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_refused_with_its_mend_unless_it_may_be_shared() {
        let name: Arc<str> = "web".into();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let first = open(&name, any, 2, Sharing::No, Vec::new()).unwrap();
        let address = first[0].local_addr().unwrap();
        assert_eq!(first[1].local_addr().unwrap(), address);

        let error = open(&name, address, 1, Sharing::No, Vec::new()).unwrap_err().to_string();

        assert!(error.contains("entry point web"), "{error}");
        assert!(error.contains("another process listens"), "{error}");
        assert!(open(&name, address, 1, Sharing::Yes, Vec::new()).is_ok());
    }

    #[test]
    fn what_was_handed_over_is_taken_on_and_nothing_beside_it() {
        let name: Arc<str> = "web".into();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let old = open(&name, any, 2, Sharing::No, Vec::new()).unwrap();
        let address = old[0].local_addr().unwrap();
        let handed = || old.iter().map(|one| one.try_clone().unwrap()).collect::<Vec<_>>();

        for (workers, sockets) in [(1, 2), (2, 2), (3, 3)] {
            let new = open(&name, address, workers, Sharing::No, handed()).unwrap();
            assert_eq!(new.len(), sockets, "{workers} workers");
            assert!(new.iter().all(|one| one.local_addr().unwrap() == address));
        }
        let elsewhere = open(&name, any, 1, Sharing::No, Vec::new()).unwrap();
        let moved = open(&name, address, 1, Sharing::No, elsewhere);
        assert!(moved.is_err(), "a socket at another address is no help");
    }

    #[test]
    fn an_empty_host_takes_ipv4_too() {
        let name: Arc<str> = "web".into();
        let Ok(listeners) = open(&name, "[::]:0".parse().unwrap(), 1, Sharing::No, Vec::new())
        else {
            return;
        };
        let port = listeners[0].local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}
