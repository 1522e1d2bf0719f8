//! One message to a server and its answer: by UDP, asked again when nothing comes, by TCP
//! when the answer is too long.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Error, Server};

/// When a datagram is sent again, since it or its answer may have got lost.
const AGAIN: Duration = Duration::from_secs(2);

/// Sends a message; gives the answer as it came, and what it says.
pub(super) async fn exchange(
    server: &Server,
    message: &Message,
    limit: Duration,
    is_tcp_only: bool,
) -> Result<(Vec<u8>, Message), Error> {
    let failed = |why: String| Error::Server { server: server.to_string().into(), why: why.into() };
    let bytes = message.to_vec().map_err(|error| failed(error.to_string()))?;
    let until = Instant::now() + limit;
    let mut last = None;
    for address in server.addresses().await? {
        let talk = async {
            if !is_tcp_only {
                let (raw, answer) = by_udp(address, &bytes, message).await?;
                if !answer.metadata.truncation {
                    return Ok((raw, answer));
                }
            }
            by_tcp(address, &bytes, message).await
        };
        match timeout_at(until, talk).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = Some(failed(error.to_string())),
            Err(_) => return Err(failed(format!("no answer within {limit:?}"))),
        }
    }
    Err(last.unwrap_or_else(|| failed("it has no address".into())))
}

async fn by_udp(
    address: SocketAddr,
    bytes: &[u8],
    question: &Message,
) -> io::Result<(Vec<u8>, Message)> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    // Bound anew for each question: who wants to forge an answer must guess the port as well
    // (RFC 5452).
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        socket.send(bytes).await?;
        let listen = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                let raw = buffer.get(..length).unwrap_or_default();
                // What does not answer this question may be somebody else's doing: waited on.
                if let Some(answer) = understood(raw, question) {
                    return Ok((raw.to_vec(), answer));
                }
            }
        };
        if let Ok(answer) = timeout(AGAIN, listen).await {
            return answer;
        }
    }
}

async fn by_tcp(
    address: SocketAddr,
    bytes: &[u8],
    question: &Message,
) -> io::Result<(Vec<u8>, Message)> {
    let mut stream = TcpStream::connect(address).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut raw = vec![0; usize::from(length)];
    stream.read_exact(&mut raw).await?;
    let answer = understood(&raw, question);
    answer
        .map(|answer| (raw, answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer can't be understood"))
}

/// The answer, if it is one to this question.
fn understood(raw: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(raw).ok()?;
    let is_ours = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == question.metadata.op_code
        // Servers that refuse a message may leave its question out.
        && (answer.queries.is_empty() || answer.queries == question.queries);
    is_ours.then_some(answer)
}
