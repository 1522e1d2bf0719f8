//! Requests that an HTTP/2 server says it did not look at (RFC 9113 sections 6.8 and 8.7).

use std::error::Error as _;

/// What a server left undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This request (REFUSED_STREAM).
    Request,
    /// All that is to come on this connection, and this request too (GOAWAY, with a last
    /// stream before its own).
    Connection,
}

/// `None`: the server may have done what it was asked.
pub(super) fn of(error: &hyper::Error) -> Option<Refusal> {
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    if !error.is_remote() {
        None
    } else if error.is_go_away() {
        // h2 gives this error to the streams after the last one, and to no other.
        Some(Refusal::Connection)
    } else {
        (error.reason() == Some(h2::Reason::REFUSED_STREAM)).then_some(Refusal::Request)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use http::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::tests::on_worker;
    use super::super::{Reply, SendError, Server, Transport, TransportSettings, send_kept};
    use crate::message::{Body, Spare};

    /// What the server does with a request.
    #[derive(Clone, Copy)]
    enum Act {
        Answer,
        Refuse,
        /// Refuses it and all after it.
        Leave,
        /// Says that it took it, and goes.
        Vanish,
    }

    /// A frame of an HTTP/2 connection.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn go_away(last: u32) -> Vec<u8> {
        frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
    }

    async fn converse(
        mut stream: TcpStream,
        acts: &'static [Act],
        seen: Rc<Cell<usize>>,
    ) -> std::io::Result<()> {
        stream.write_all(&frame(4, 0, 0, &[])).await?;
        stream.read_exact(&mut [0; 24]).await?;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize]).await?;
            if head[3] != 1 {
                continue;
            }
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let number = seen.replace(seen.get() + 1);
            match acts[number] {
                // `:status: 200`, and no body.
                Act::Answer => stream.write_all(&frame(1, 5, id, &[0x88])).await?,
                Act::Refuse => stream.write_all(&frame(3, 0, id, &[0, 0, 0, 7])).await?,
                Act::Leave => stream.write_all(&go_away(id.saturating_sub(2))).await?,
                Act::Vanish => return stream.write_all(&go_away(id)).await,
            }
        }
    }

    /// Sends as many POSTs as wanted, one after the other, to a server that acts so; what came
    /// of the last one (1: answered, 0: not sent, -1: sent), and how many the server saw.
    async fn last(acts: &'static [Act], posts: usize, body: &'static str) -> (i8, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("h2c://{}", listener.local_addr().unwrap());
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(converse(stream, acts, Rc::clone(&count)));
            }
        });
        let transport = Transport::build(&TransportSettings::default()).unwrap();
        let server = Server::parse(&url, false, &transport).unwrap();
        let mut last = 0;
        let length = body.len() as u64;
        for _ in 0..posts {
            let mut request =
                Request::post("/a?b").header("host", "x").body(Body::from(body)).unwrap();
            let spare = Spare::of(&mut request);
            last = match send_kept(&server, None, request, Some(&spare)).await {
                Ok(Reply { lease, .. }) => {
                    lease.finish();
                    1
                }
                Err(SendError::NotSent(back, _)) => {
                    assert_eq!(back.method(), "POST");
                    let body = back.body();
                    assert_eq!(http_body::Body::size_hint(body).exact(), Some(length));
                    assert_eq!(
                        (back.uri().to_string().as_str(), back.headers().len()),
                        ("/a?b", 1)
                    );
                    0
                }
                Err(SendError::Sent(_)) => -1,
            };
        }
        (last, seen.get())
    }

    #[test]
    fn a_request_that_an_http2_server_did_not_look_at_counts_as_not_sent() {
        use Act::{Answer, Leave, Refuse, Vanish};
        on_worker(async {
            for (acts, posts, body, wanted) in [
                (&[Refuse][..], 1, "", (0, 1)),
                // The same connection would refuse it again: another server may take it.
                (&[Answer, Refuse, Refuse], 2, "", (0, 2)),
                (&[Refuse, Answer], 2, "", (1, 2)),
                (&[Leave], 1, "", (0, 1)),
                // The server is well; only its connection is at an end.
                (&[Answer, Leave, Answer], 2, "", (1, 3)),
                (&[Answer, Leave, Leave], 2, "", (0, 3)),
                (&[Vanish], 1, "", (-1, 1)),
                // Its body is on its way, or gone by: what was read of it is kept.
                (&[Refuse], 1, "body", (0, 1)),
                (&[Answer, Leave, Answer], 2, "body", (1, 3)),
                (&[Vanish], 1, "body", (-1, 1)),
            ] {
                assert_eq!(last(acts, posts, body).await, wanted, "{} {body}", acts.len());
            }
        });
    }
}
