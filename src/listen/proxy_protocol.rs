//! The PROXY protocol, versions 1 and 2, from trusted peers only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// From the connect to the header's end.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at a header that is not whole.
const PAUSE: Duration = Duration::from_millis(5);
/// Longest header of version 1.
const LINE_LIMIT: usize = 107;
/// Longest header of version 2.
const LIMIT_BYTES: usize = 4096;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// It is not whole.
    Partial,
    /// There is none: the connection speaks for itself.
    Absent,
    /// So many bytes; `None`: the connection is the proxy's own.
    Present(usize, Option<SocketAddr>),
    /// Neither.
    Bad,
}

/// Reads a header off the socket. `None`: there is none, or it names no client.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    tokio::time::timeout(LIMIT, read_header(stream)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn read_header(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut buf = vec![0; LIMIT_BYTES];
    loop {
        let len = stream.peek(&mut buf).await?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match parse(buf.get(..len).unwrap_or_default()) {
            Header::Absent => return Ok(None),
            Header::Bad => return Err(io::ErrorKind::InvalidData.into()),
            Header::Present(len, client) => {
                // Only the header is taken; what follows is the client's.
                stream.read_exact(buf.get_mut(..len).unwrap_or_default()).await?;
                return Ok(client);
            }
            // The socket stays readable, so its readiness says nothing.
            Header::Partial => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn parse(bytes: &[u8]) -> Header {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes.get(..common) == SIGNATURE.get(..common) {
        return if bytes.len() < 16 { Header::Partial } else { version_2(bytes) };
    }
    let common = bytes.len().min(6);
    if bytes.get(..common) == b"PROXY ".get(..common) {
        return version_1(bytes);
    }
    Header::Absent
}

fn version_1(bytes: &[u8]) -> Header {
    let window = bytes.get(..LINE_LIMIT).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= LINE_LIMIT { Header::Bad } else { Header::Partial };
    };
    let line = window.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    let mut words = line.unwrap_or_default().split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Header::Present(end + 2, None);
    }
    let source: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
    let target: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
    let port: Option<u16> = words.next().and_then(|word| word.parse().ok());
    let target_port: Option<u16> = words.next().and_then(|word| word.parse().ok());
    let (Some(source), Some(target), Some(port), Some(_), None) =
        (source, target, port, target_port, words.next())
    else {
        return Header::Bad;
    };
    let agrees = match family {
        Some("TCP4") => source.is_ipv4() && target.is_ipv4(),
        Some("TCP6") => source.is_ipv6() && target.is_ipv6(),
        _ => false,
    };
    if agrees { Header::Present(end + 2, Some(SocketAddr::new(source, port))) } else { Header::Bad }
}

fn version_2(bytes: &[u8]) -> Header {
    let Some(&[command, family, high, low]) = bytes.get(12..16) else { return Header::Partial };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || 16 + len > LIMIT_BYTES {
        return Header::Bad;
    }
    let Some(rest) = bytes.get(16..16 + len) else { return Header::Partial };
    let client = match (command & 15, family) {
        (1, 0x11) => ipv4(rest).map(|(client, tlvs)| (Some(client), Some(tlvs))).ok_or(()),
        (1, 0x21) => ipv6(rest).map(|(client, tlvs)| (Some(client), Some(tlvs))).ok_or(()),
        (0 | 1, _) => Ok((None, None)),
        _ => Err(()),
    };
    match client {
        Ok((client, tlvs)) if tlvs.is_none_or(are_tlvs) => Header::Present(16 + len, client),
        Ok(_) | Err(()) => Header::Bad,
    }
}

fn ipv4(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (source, rest) = bytes.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let (port, tlvs) = ports(rest)?;
    Some((SocketAddr::from((Ipv4Addr::from(*source), port)), tlvs))
}

fn ipv6(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (source, rest) = bytes.split_first_chunk::<16>()?;
    let (_, rest) = rest.split_first_chunk::<16>()?;
    let (port, tlvs) = ports(rest)?;
    Some((SocketAddr::from((Ipv6Addr::from(*source), port)), tlvs))
}

fn ports(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (source, rest) = bytes.split_first_chunk::<2>()?;
    let (_, rest) = rest.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*source), rest))
}

/// The rest is a row of type, length, value that ends exactly where the header does.
fn are_tlvs(mut bytes: &[u8]) -> bool {
    while let Some(([_, high, low], rest)) = bytes.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(rest) = rest.get(len..) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn version_1_names_the_client() {
        let client = "192.0.2.7:4711".parse().ok();
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\nGET /";
        assert_eq!(parse(line), Header::Present(43, client));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Header::Present(15, None));
        assert_eq!(parse(b"PROXY TCP4 192.0.2.7"), Header::Partial);
        for bad in [
            &b"PROXY TCP4 ::1 ::1 1 2\r\n"[..],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 80\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 80\r\n",
            &[b"PROXY ".as_slice(), &[b'a'; 120]].concat(),
        ] {
            assert_eq!(parse(bad), Header::Bad);
        }
    }

    #[test]
    fn version_2_is_read_to_its_last_tlv() {
        let mut body = vec![192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80];
        let client = "192.0.2.7:4711".parse().ok();
        assert_eq!(parse(&v2(0x21, 0x11, &body)), Header::Present(28, client));
        assert_eq!(parse(&v2(0x20, 0, &[])), Header::Present(16, None));
        body.extend([4, 0, 2, 1, 1]);
        assert_eq!(parse(&v2(0x21, 0x11, &body)), Header::Present(33, client));
        body.extend([4, 0, 9, 1]);
        assert_eq!(parse(&v2(0x21, 0x11, &body)), Header::Bad);
        assert_eq!(parse(&v2(0x31, 0x11, &body)), Header::Bad);
        assert_eq!(parse(&v2(0x21, 0x11, &[0; 5000])), Header::Bad);
        assert_eq!(parse(&v2(0x21, 0x11, &body)[..14]), Header::Partial);
    }

    #[test]
    fn other_bytes_are_no_header() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Header::Absent);
        assert_eq!(parse(b"PRI * HTTP/2.0"), Header::Absent);
    }
}
