//! Bodies as they pass the edge: the client's, watched for stalls, and ours to the client,
//! with the record that ends with it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::executor::Taken;
use super::life::{Life, Phase};
use super::record::Record;
use super::rest::{Intake, Rest};
use crate::message::{Body, BodyError, forwarded, hop};

/// Trailers that no client may send (RFC 9110 section 6.5.1), on top of what belongs to
/// one message.
const REFUSED_TRAILERS: [HeaderName; 3] = [HOST, AUTHORIZATION, COOKIE];
/// And no server.
const REFUSED_TO_CLIENTS: [HeaderName; 2] = [HOST, SET_COOKIE];

fn remove_all(trailers: &mut HeaderMap, is_refused: impl Fn(&HeaderName) -> bool) {
    let refused: Vec<_> = trailers.keys().filter(|name| is_refused(name)).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
}

/// A client's body.
pub(super) struct Inbound {
    /// There until it is dropped.
    incoming: Option<Incoming>,
    intake: Rc<Intake>,
    stall: Stall,
}

/// Who notices that a client sends nothing.
pub(super) enum Stall {
    /// The worker's sweep.
    Sweep(Rc<Life>),
    /// The body itself: HTTP/2 connections have many.
    Timer(Option<Duration>, Option<Pin<Box<Sleep>>>),
}

impl Inbound {
    pub(super) fn new(incoming: Incoming, intake: Rc<Intake>, stall: Stall) -> Self {
        Self { incoming: Some(incoming), intake, stall }
    }
}

impl Stall {
    /// A read found nothing. Ready when that has lasted too long.
    fn poll_waits(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Sweep(life) => {
                life.body_waits(true);
                Poll::Pending
            }
            Self::Timer(None, _) => Poll::Pending,
            Self::Timer(Some(limit), sleep) => {
                let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(*limit)));
                sleep.as_mut().poll(cx)
            }
        }
    }

    fn ends(&mut self) {
        match self {
            Self::Sweep(life) => life.body_waits(false),
            Self::Timer(_, sleep) => *sleep = None,
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.stall.ends();
        // Of HTTP/2 a reset stream tells the client (RFC 9113 section 8.1).
        if let (Stall::Sweep(life), Some(incoming)) = (&self.stall, self.incoming.take())
            && let Some(rest) = Rest::of(incoming, &self.intake)
        {
            life.leave(rest);
        }
    }
}

impl http_body::Body for Inbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        this.intake.asked();
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            return this
                .stall
                .poll_waits(cx)
                .map(|()| Some(Err(BodyError::Limit("no byte from the client for too long"))));
        };
        this.stall.ends();
        // hyper does not ask for the end of a body whose length is known.
        if !matches!(frame, Some(Ok(_))) || incoming.is_end_stream() {
            this.intake.ended();
        }
        Poll::Ready(frame.map(|frame| {
            let mut frame = frame?;
            if let Some(data) = frame.data_ref() {
                this.intake.took(data.len());
            } else if let Some(trailers) = frame.trailers_mut() {
                remove_all(trailers, |name| {
                    REFUSED_TRAILERS.contains(name)
                        || hop::is_of_message(name)
                        || forwarded::is_managed(name)
                });
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

/// A response's body on its way to the client.
pub(super) struct Outbound {
    body: Body,
    record: Option<Box<Record>>,
    /// Told of each frame over HTTP/2, with how long one may wait.
    taken: Option<(Rc<Taken>, Duration)>,
}

impl Outbound {
    pub(super) fn new(body: Body, record: Box<Record>) -> Self {
        let life = &record.client.life;
        let stall = life.limits().stall().filter(|_| life.phase() == Phase::Streams);
        let taken = stall.and_then(|stall| Some((Taken::current()?, stall)));
        Self { body, record: Some(record), taken }
    }

    /// Of a 101: its record goes on with the tunnel.
    pub(super) fn silent() -> Self {
        Self { body: Body::empty(), record: None, taken: None }
    }
}

impl http_body::Body for Outbound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some((taken, _)) = &this.taken {
            taken.asked();
        }
        let mut frame = Pin::new(&mut this.body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some((taken, stall))) = (&frame, &this.taken) {
            taken.given(frame.data_ref().map_or(0, Bytes::len), *stall);
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            // hyper leaves these out over HTTP/1 only; in HTTP/2 they break the stream (H8).
            remove_all(trailers, |name| {
                REFUSED_TO_CLIENTS.contains(name) || hop::is_of_message(name)
            });
        }
        if let (Poll::Ready(Some(Ok(frame))), Some(record)) = (&frame, &mut this.record) {
            if let Some(data) = frame.data_ref() {
                let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
                record.response_bytes = record.response_bytes.saturating_add(len);
            } else if let Some(trailers) = frame.trailers_ref() {
                record.saw_grpc_status(trailers);
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn sec_h8_trailers_that_belong_to_one_message_are_dropped() {
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "connection", "content-length", "te", "set-cookie"] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }

        remove_all(&mut trailers, |name| {
            REFUSED_TO_CLIENTS.contains(name) || hop::is_of_message(name)
        });

        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
    }
}
