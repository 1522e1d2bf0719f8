//! The life of one client connection. HTTP/1 connections are parked while they are idle:
//! hyper's buffers exist only while a request is in flight (17.9 KiB of live memory per
//! kept-alive connection down to about one).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::Client;
use super::guard::{Answer, Guarded, Next};
use super::life::{Expiry, Phase};
use super::serve;

/// How long a client whose message is not read may take to read its answer and stop sending, and
/// how long it may be silent meanwhile. As nginx's `lingering_time` and `lingering_timeout`.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_SILENCE: Duration = Duration::from_secs(5);
/// How long a parting answer may take to be written.
const PARTING: Duration = Duration::from_secs(5);

/// Serves a connection whose protocol is not known yet.
pub(super) async fn serve(mut io: Guarded, client: Rc<Client>) {
    loop {
        match poll_fn(|cx| io.poll_next(cx)).await {
            Next::Head { heavy } => match drive(io, &client, heavy).await {
                Some(back) => io = back,
                None => return,
            },
            Next::Http2 => return serve_http2(io, client).await,
            Next::Refuse(answer) => return part(io, Some(answer)).await,
            Next::Closed => return part(io, None).await,
        }
    }
}

enum End {
    /// hyper is done with the connection.
    Done,
    /// Nothing is in flight: it can be parked.
    Idle,
    /// A limit ended.
    Expired(Expiry),
}

/// Has hyper serve HTTP/1 until the connection is idle or ends. Gives it back to be
/// parked.
async fn drive(io: Guarded, client: &Rc<Client>, heavy: bool) -> Option<Guarded> {
    let life = &client.life;
    let service = {
        let client = Rc::clone(client);
        service_fn(move |request| serve::handle(Rc::clone(&client), request))
    };
    let (light, many) = &client.entry.http1;
    let builder = if heavy { many } else { light };
    life.read_pending.set(false);
    let connection = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    let mut connection = Box::new(connection);
    let mut told = false;
    let end = poll_fn(|cx| {
        if life.phase() != Phase::Tunnel {
            life.register(cx.waker());
            client.hints.register(cx.waker());
        }
        if let Some(expiry) = life.expired.take() {
            return Poll::Ready(End::Expired(expiry));
        }
        if life.draining.get() && !told {
            told = true;
            Pin::new(&mut *connection).graceful_shutdown();
        }
        // Before hyper, which sees then what was taken, or that no more will be.
        life.poll_rest(cx);
        match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(_) => Poll::Ready(End::Done),
            Poll::Pending if life.parks() => Poll::Ready(End::Idle),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    life.drop_rest();
    if let End::Expired(Expiry::Say(answer)) = end {
        life.cut_status.set(Some(answer.status()));
    }
    // An upgraded connection has no parts left: its tunnel has the socket.
    let io = connection.into_parts()?.io.into_inner();
    let refused = life.refused.get().filter(|_| life.in_flight() == 0);
    match end {
        End::Idle => return Some(io),
        End::Expired(Expiry::Say(answer)) if !life.answering.get() => part(io, Some(answer)).await,
        End::Done if refused.is_some() && !life.broken.get() => part(io, refused).await,
        End::Done if io.has_unread() => part(io, None).await,
        End::Done | End::Expired(_) => {}
    }
    None
}

/// Writes an answer, if there is one, and closes so that the client can still read it: a
/// socket closed with unread bytes would be reset.
async fn part(mut io: Guarded, answer: Option<Answer>) {
    let written = async {
        if let Some(answer) = answer {
            io.write_all(&answer.bytes()).await?;
        }
        io.shutdown().await
    };
    let written = tokio::time::timeout(PARTING, written).await;
    if answer.is_none() && !io.has_unread() || !matches!(written, Ok(Ok(()))) {
        return;
    }
    io.open();
    let drained = async {
        let mut buf = [0; 4096];
        while let Ok(Ok(1..)) = tokio::time::timeout(LINGER_SILENCE, io.read(&mut buf)).await {}
    };
    // Time is up or not: the socket is dropped next.
    let _ = tokio::time::timeout(LINGER, drained).await;
}

/// Serves HTTP/2; these connections are not parked.
pub(super) async fn serve_http2(mut io: Guarded, client: Rc<Client>) {
    io.open();
    let life = Rc::clone(&client.life);
    life.enter(Phase::Streams);
    let service = {
        let client = Rc::clone(&client);
        service_fn(move |request| serve::handle(Rc::clone(&client), request))
    };
    let connection = client.entry.http2.serve_connection(TokioIo::new(io), service);
    let mut connection = Box::pin(connection);
    let mut told = false;
    poll_fn(|cx| {
        life.register(cx.waker());
        let expired = life.expired.take().is_some();
        if expired && (told || life.in_flight() > 0) {
            // Told before and still here, or it takes nothing.
            return Poll::Ready(());
        }
        if (expired || life.draining.get()) && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
}
