//! What goes over the Unix socket between two processes: which sockets there are, as one line
//! of JSON; then a byte for each, with the socket attached to it (unix(7), `SCM_RIGHTS`); then
//! lines, each way.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::listen::Handed;

/// What the new process says once it accepts.
pub(super) const LOADED: &str = "loaded";
/// What the old one says once nothing is left that only one may do.
pub(super) const RELEASED: &str = "released";
/// Bytes of a line.
const LONGEST: usize = 64 * 1024;
/// Sockets: entry points times workers.
const MOST: usize = 65_536;

/// Sends all sockets.
pub(super) fn send(stream: &UnixStream, sockets: &Handed) -> io::Result<()> {
    let counts: BTreeMap<&str, usize> =
        sockets.iter().map(|(name, sockets)| (name.as_str(), sockets.len())).collect();
    write_line(stream, &serde_json::to_string(&counts)?)?;
    for socket in sockets.values().flatten() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(stream, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives all sockets.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Handed> {
    let counts: BTreeMap<String, usize> = serde_json::from_str(&read_line(stream)?)?;
    if counts.values().fold(0, |sum: usize, count| sum.saturating_add(*count)) > MOST {
        return Err(io::Error::other("more sockets than there can be"));
    }
    let mut handed = Handed::new();
    for (name, count) in counts {
        let sockets: io::Result<_> = (0..count).map(|_| receive_one(stream)).collect();
        handed.insert(name, sockets?);
    }
    Ok(handed)
}

fn receive_one(stream: &UnixStream) -> io::Result<TcpListener> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut socket: Option<OwnedFd> = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
            socket = sockets.next();
        }
    }
    socket.map(TcpListener::from).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Writes a line.
pub(super) fn write_line(stream: &UnixStream, text: &str) -> io::Result<()> {
    io::Write::write_all(&mut &*stream, format!("{text}\n").as_bytes())
}

/// Reads a line, byte by byte: the byte behind it may have a socket attached.
fn read_line(stream: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        io::Read::read_exact(&mut &*stream, &mut byte)?;
        if byte == *b"\n" {
            return String::from_utf8(line).map_err(io::Error::other);
        }
        if line.len() == LONGEST {
            return Err(io::Error::other("a line without an end"));
        }
        line.extend_from_slice(&byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn sockets_arrive_under_their_names_and_lines_follow() {
        let (here, there) = UnixStream::pair().unwrap();
        let sockets =
            Handed::from([("web".into(), vec![listener(), listener()]), ("empty".into(), vec![])]);

        send(&here, &sockets).unwrap();
        write_line(&here, RELEASED).unwrap();
        let handed = receive(&there).unwrap();

        let ports = |handed: &Handed| -> Vec<u16> {
            let all = handed.values().flatten();
            all.map(|one| one.local_addr().unwrap().port()).collect()
        };
        assert_eq!(ports(&handed), ports(&sockets));
        assert_eq!(handed.keys().collect::<Vec<_>>(), ["empty", "web"]);
        assert_eq!(read_line(&there).unwrap(), RELEASED);
    }

    #[test]
    fn what_is_no_hand_over_is_an_error() {
        for text in ["", "{", "[1]\n", "{\"web\": 1}\n", "{\"web\": 1}\n.", "{\"web\": 70000}\n"] {
            let (here, there) = UnixStream::pair().unwrap();
            io::Write::write_all(&mut &here, text.as_bytes()).unwrap();
            drop(here);

            assert!(receive(&there).is_err(), "{text:?}");
        }
    }
}
