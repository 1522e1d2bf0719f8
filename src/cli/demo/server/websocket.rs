//! The demo server's WebSocket (RFC 6455): greets, echoes messages, says goodbye.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Replica;
use super::answer::whole;

/// Fixed by RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The longest message taken.
const LONGEST: u64 = 1 << 20;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The answer to a handshake; `None` when it is none. The session runs on by itself.
pub(super) fn accept(
    mut request: Request<Incoming>,
    replica: &Arc<Replica>,
) -> Option<Response<UnsyncBoxBody<Bytes, hyper::Error>>> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
    let accept = accept_key(key.as_bytes());
    let greeting = format!(
        "{{\"service\":\"{}\",\"replica\":\"{}\",\"path\":\"{}\"}}",
        replica.service,
        replica.name,
        request.uri().path()
    );
    let upgrade = hyper::upgrade::on(&mut request);
    let stopping = replica.stopping.clone();
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let session = converse(TokioIo::new(upgraded), greeting, stopping.cancelled());
            // The peer going away is the usual end.
            let _ = session.await;
        }
    });
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).ok()?);
    Some(response)
}

fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    base64::engine::general_purpose::STANDARD.encode(hash.finalize())
}

async fn converse<S: AsyncRead + AsyncWrite>(
    stream: S,
    greeting: String,
    stopping: impl Future<Output = ()>,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut stopping = std::pin::pin!(stopping);
    write_frame(&mut writer, TEXT, greeting.as_bytes()).await?;
    loop {
        // Dropping a half-read frame is fine: the other branch ends the session.
        let (kind, payload) = tokio::select! {
            frame = read_frame(&mut reader) => frame?,
            () = &mut stopping => {
                let mut goodbye = 1001_u16.to_be_bytes().to_vec();
                goodbye.extend_from_slice(b"server stops");
                return write_frame(&mut writer, CLOSE, &goodbye).await;
            }
        };
        match kind {
            CLOSE => return write_frame(&mut writer, CLOSE, &payload).await,
            PING => write_frame(&mut writer, PONG, &payload).await?,
            PONG => {}
            _ => write_frame(&mut writer, kind, &payload).await?,
        }
    }
}

/// One frame, unmasked. Fragments are echoed one by one, which a client can't tell apart.
async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<(u8, Vec<u8>)> {
    let [first, second] = reader.read_u16().await?.to_be_bytes();
    let length = match second & 0x7F {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        short => u64::from(short),
    };
    if length > LONGEST || second & 0x80 == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long or not masked"));
    }
    let mask = reader.read_u32().await?.to_be_bytes();
    let mut payload = Vec::new();
    reader.take(length).read_to_end(&mut payload).await?;
    if payload.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for (byte, key) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
    Ok((first & 0x0F, payload))
}

async fn write_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    kind: u8,
    payload: &[u8],
) -> io::Result<()> {
    let mut frame = vec![0x80 | kind];
    match payload.len() {
        short @ 0..=125 => frame.push(u8::try_from(short).unwrap_or(125)),
        middle @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(middle).unwrap_or(u16::MAX).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    writer.write_all(&frame).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_the_rfc_shows() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn a_masked_frame_is_read_and_written_back_unmasked() {
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

        let (kind, payload) = read_frame(&mut masked.as_slice()).await.expect("a whole frame");
        let mut written = Vec::new();
        write_frame(&mut written, kind, &payload).await.expect("writes to memory");

        assert_eq!(written, b"\x81\x05Hello");
    }

    #[tokio::test]
    async fn an_endless_frame_is_refused_before_memory_is_spent() {
        let huge = [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

        let refused = read_frame(&mut huge.as_slice()).await;

        assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
    }
}
