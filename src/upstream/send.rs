//! One request, sent once.

use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE, USER_AGENT};
use http::uri::{Authority, Scheme as UriScheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{TrySendError, http1};
use tokio::sync::Notify;

use super::connect::{Fresh, connect};
use super::pool::{self, Found, Lease, Pool};
use super::refusal::{self, Refusal};
use super::server::{Scheme, Server};
use super::{Cause, SendError};
use crate::message::{Body, BodyError, Informational, Spare, Watch, worded};

/// Interim answers passed on for one request (H15).
const MAX_INFORMATIONAL: u32 = 16;

/// An answer, and the connection it came on.
#[derive(Debug)]
pub struct Reply {
    /// As the server sent it, hop-by-hop fields included.
    pub response: Response<Body>,
    /// Give it back when the body was read to its end; dropping it closes the connection.
    pub lease: Lease,
}

/// Sends a request once, over a pooled connection of this worker or a new one. `Host` and
/// all else but the request's target must be as the server is to see it.
pub async fn send(
    server: &Server,
    informational: Option<&Informational>,
    request: Request<Body>,
) -> Result<Reply, SendError> {
    send_kept(server, informational, request, None).await
}

/// The same for a request of which `spare` is kept: an HTTP/2 server may say that it did not
/// look at it after its body was begun, and hyper does not give it back.
pub async fn send_kept(
    server: &Server,
    informational: Option<&Informational>,
    mut request: Request<Body>,
    spare: Option<&Spare>,
) -> Result<Reply, SendError> {
    if server.scheme == Scheme::H2c && request.headers().contains_key(UPGRADE) {
        // HTTP/2 has no upgrades; the server sees a plain request.
        request.headers_mut().remove(UPGRADE);
        request.headers_mut().remove(CONNECTION);
    }
    let is_upgrade = request.headers().contains_key(UPGRADE);
    let pool = pool::of(server);
    hear_of_closed(&pool, request.method()).await;
    let mut has_moved = false;
    loop {
        let mut refusal = None;
        let (connection, is_pooled) = match usable(server, &pool, &request).await {
            Ok(found) => found,
            Err(cause) => return Err(SendError::NotSent(Box::new(request), cause)),
        };
        let sent = match connection {
            Fresh::Http1(mut sender) => {
                let restore = to_http1(server, &mut request);
                if let Some(informational) = informational {
                    pass_on(informational, &mut request);
                }
                let waiting = Waiting::new(server, &mut request);
                let answer = waiting.on(sender.try_send_request(request), &pool, spare).await;
                // Said with every answer; once for each connection is enough.
                if let (Ok(Ok(response)), false) = (&answer, is_pooled) {
                    pool.hear(response.headers());
                }
                finish(server, answer, Lease::http1(sender, Rc::clone(&pool)), restore, is_upgrade)
            }
            Fresh::Http2(shared) => {
                let lease = Lease::http2(Rc::clone(&shared));
                let host = request.headers().get(HOST).cloned();
                let restore = to_http2(server, &mut request);
                let waiting = Waiting::new(server, &mut request);
                let answer =
                    waiting.on(shared.sender().try_send_request(request), &pool, spare).await;
                if let Ok(Err(error)) = &answer {
                    refusal = refusal::of(error.error());
                }
                if refusal == Some(Refusal::Connection) {
                    shared.leave();
                }
                match finish(server, answer, lease, restore, is_upgrade) {
                    Err(SendError::Sent(cause)) if refusal.is_some() => {
                        Err(untouched(spare, host, cause))
                    }
                    sent => sent,
                }
            }
        };
        let may_move = match refusal {
            None => true,
            Some(Refusal::Connection) => !std::mem::replace(&mut has_moved, true),
            Some(Refusal::Request) => false,
        };
        match sent {
            // A pooled connection that the server closed meanwhile: nothing was lost.
            Err(SendError::NotSent(back, _)) if is_pooled && may_move => request = *back,
            sent => return sent,
        }
    }
}

/// The server can't be heard, and others can.
fn silent() -> Cause {
    let text = "the server can't be reached any more";
    Cause::Unreachable(io::Error::new(io::ErrorKind::ConnectionAborted, text))
}

/// The request again, since an HTTP/2 server said that it did not look at it.
fn untouched(spare: Option<&Spare>, host: Option<HeaderValue>, cause: Cause) -> SendError {
    let Some(mut request) = spare.and_then(Spare::request) else { return SendError::Sent(cause) };
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    SendError::NotSent(Box::new(request), cause)
}

/// A connection, unless the server turns out to be one that can't be heard.
async fn reach(server: &Server, pool: &Rc<Pool>, http1_only: bool) -> Result<(Fresh, bool), Cause> {
    // Both may be dropped: a connection in the making serves nobody else, or is announced again.
    tokio::select! {
        biased;
        found = connection(server, pool, http1_only) => found,
        () = pool.silent(|| true) => Err(silent()),
    }
}

/// What must not be sent twice can't be sent again once a byte of it is out, so what the system
/// already knows of closed connections is looked at first: a task that yields goes on after that.
async fn hear_of_closed(pool: &Pool, method: &Method) {
    if !method.is_idempotent() && pool.has_idle() {
        tokio::task::yield_now().await;
    }
}

/// A connection that may be used, as far as is known.
async fn usable(
    server: &Server,
    pool: &Rc<Pool>,
    request: &Request<Body>,
) -> Result<(Fresh, bool), Cause> {
    let is_upgrade = request.headers().contains_key(UPGRADE);
    let (found, is_pooled) = reach(server, pool, is_upgrade).await?;
    match &found {
        Fresh::Http1(sender) if !is_pooled && is_over(sender, request.method()).await => {
            Err(closed())
        }
        Fresh::Http1(_) | Fresh::Http2(_) => Ok((found, is_pooled)),
    }
}

/// A server that stops closes what it has accepted and not read yet: as above, that is looked at
/// before what must not be sent twice is sent on a new connection.
async fn is_over(sender: &http1::SendRequest<Body>, method: &Method) -> bool {
    if method.is_idempotent() {
        return false;
    }
    tokio::task::yield_now().await;
    sender.is_closed()
}

fn closed() -> Cause {
    let text = "the server closed the connection before it was used";
    Cause::Unreachable(io::Error::new(io::ErrorKind::ConnectionAborted, text))
}

/// A connection from the pool (true) or a new one (false).
async fn connection(
    server: &Server,
    pool: &Rc<Pool>,
    http1_only: bool,
) -> Result<(Fresh, bool), Cause> {
    let mut has_waited = false;
    loop {
        match pool.find(http1_only) {
            Found::Http1(sender) => return Ok((Fresh::Http1(sender), true)),
            Found::Http2(shared) => return Ok((Fresh::Http2(shared), true)),
            Found::Opening(opening) if !has_waited => {
                opening.notified().await;
                has_waited = true;
            }
            Found::Opening(_) | Found::Nothing => {
                let _opening = (!http1_only).then(|| pool.announce()).flatten();
                let fresh = connect(server, http1_only).await?;
                if let Fresh::Http2(shared) = &fresh {
                    pool.share(shared);
                }
                return Ok((fresh, false));
            }
        }
    }
}

/// Interim answers go to the client as they come, but for 100: the client's side sends that
/// itself when the body is asked for.
fn pass_on(informational: &Informational, request: &mut Request<Body>) {
    let informational = informational.clone();
    let seen = AtomicU32::new(0);
    hyper::ext::on_informational(request, move |response| {
        let is_flood = seen.fetch_add(1, Ordering::Relaxed) >= MAX_INFORMATIONAL;
        if !is_flood && response.status() != StatusCode::CONTINUE {
            (informational.0)(response.status(), response.headers());
        }
    });
}

/// What was changed for the server, to be put back when the request was not sent.
struct Restore {
    uri: Option<Uri>,
    host: Option<HeaderValue>,
}

/// Origin form, and the path in front where the server has one.
fn to_http1(server: &Server, request: &mut Request<Body>) -> Restore {
    *request.version_mut() = Version::HTTP_11;
    // hyper sends no body of unknown length with these, unless it is told to.
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.body().is_end_stream()
        && !request.headers().contains_key(CONTENT_LENGTH)
    {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    say_empty(request);
    // The common case: what the client sent is what the server gets.
    if server.base.is_none() && request.uri().authority().is_none() {
        return Restore { uri: None, host: None };
    }
    let target = Uri::from(server.target(request.uri().path_and_query()));
    Restore { uri: Some(std::mem::replace(request.uri_mut(), target)), host: None }
}

/// As Go: an empty body is announced where a server may expect one (RFC 9110 section 8.6;
/// some answer 411 otherwise), and nowhere else. An empty `User-Agent` is not sent.
fn say_empty(request: &mut Request<Body>) {
    let expects = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    let is_empty = request.body().is_end_stream();
    let headers = request.headers_mut();
    if expects && is_empty && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    } else if !expects && headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0") {
        headers.remove(CONTENT_LENGTH);
    }
    if headers.get(USER_AGENT).is_some_and(HeaderValue::is_empty) {
        headers.remove(USER_AGENT);
    }
}

/// `Host` becomes `:authority`.
fn to_http2(server: &Server, request: &mut Request<Body>) -> Restore {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(HOST);
    let authority = host
        .as_ref()
        .and_then(|host| Authority::try_from(host.as_bytes()).ok())
        .or_else(|| Authority::try_from(&*server.address).ok());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match server.scheme {
        Scheme::Https => UriScheme::HTTPS,
        Scheme::Http | Scheme::H2c => UriScheme::HTTP,
    });
    parts.authority = authority;
    parts.path_and_query = Some(server.target(request.uri().path_and_query()));
    let uri = match Uri::from_parts(parts) {
        Ok(target) => Some(std::mem::replace(request.uri_mut(), target)),
        Err(_) => None,
    };
    Restore { uri, host }
}

impl Restore {
    fn undo(self, request: &mut Request<Body>) {
        if let Some(uri) = self.uri {
            *request.uri_mut() = uri;
        }
        if let Some(host) = self.host {
            request.headers_mut().insert(HOST, host);
        }
    }
}

type Answer = Result<Response<Incoming>, TrySendError<Request<Body>>>;

fn finish(
    server: &Server,
    answer: Result<Answer, Cause>,
    lease: Lease,
    restore: Restore,
    is_upgrade: bool,
) -> Result<Reply, SendError> {
    match answer {
        Err(cause) => Err(SendError::Sent(cause)),
        Ok(Ok(response)) => match unsound(&response, is_upgrade) {
            None => Ok(Reply { response: worded(response.map(Body::from)), lease }),
            Some(why) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, why);
                Err(SendError::Sent(Cause::Unreachable(error)))
            }
        },
        Ok(Err(mut error)) => match error.take_message() {
            Some(mut request) => {
                restore.undo(&mut request);
                Err(SendError::NotSent(Box::new(request), cause(error.into_error())))
            }
            None => Err(SendError::Sent(refused(server, error.into_error()))),
        },
    }
}

/// Answers that hyper takes and that must not be passed on.
fn unsound(response: &Response<Incoming>, is_upgrade: bool) -> Option<&'static str> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !is_upgrade {
        return Some("101 without having been asked to upgrade");
    }
    misframed(response.version(), response.headers())
}

/// What leaves open where an answer ends (H3, H4, H15). A coding other than `chunked`
/// would besides reach the client without its name.
fn misframed(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if headers.contains_key(CONTENT_LENGTH) {
        return Some("both Transfer-Encoding and Content-Length in the answer");
    }
    if version == Version::HTTP_10 {
        return Some("Transfer-Encoding in an HTTP/1.0 answer");
    }
    let is_chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    (!is_chunked || codings.next().is_some())
        .then_some("a Transfer-Encoding other than chunked in the answer")
}

/// A head that is too large for the connection. With many fields it passes on the server's
/// next connections; this request may go again if its method allows.
fn refused(server: &Server, error: hyper::Error) -> Cause {
    if error.is_parse_too_large() && !server.pool.sends_many_fields.swap(true, Ordering::Relaxed) {
        return Cause::Unreachable(io::Error::other(error));
    }
    // hyper takes the end of what drove the connection for a mistake of ours.
    if server.pool.cut.is_cut() {
        return Cause::Unreachable(io::ErrorKind::NetworkUnreachable.into());
    }
    cause(error)
}

fn cause(error: hyper::Error) -> Cause {
    if error.is_parse() {
        Cause::Garbage(error.to_string())
    } else if error.is_user() {
        Cause::Client(error.to_string())
    } else if error.is_timeout() {
        Cause::TimedOut
    } else if error.is_incomplete_message() {
        Cause::Unreachable(io::Error::new(io::ErrorKind::UnexpectedEof, error))
    } else {
        Cause::Unreachable(io::Error::other(error))
    }
}

/// The wait for the head of the answer, limited where the transport says so.
struct Waiting(Option<(Duration, Option<Rc<Notify>>)>);

impl Waiting {
    fn new(server: &Server, request: &mut Request<Body>) -> Self {
        let Some(limit) = server.transport.settings().response_header_timeout else {
            return Self(None);
        };
        if http_body::Body::is_end_stream(request.body()) {
            return Self(Some((limit, None)));
        }
        // As Go: the time runs from the end of the request, and an upload may take long.
        let sent = Rc::new(Notify::new());
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = body.watched(Box::new(SentBody(Rc::clone(&sent))));
        Self(Some((limit, Some(sent))))
    }

    /// The error says that the time is over, or that the server can't be heard while another
    /// may do the same.
    async fn on(
        self,
        answer: impl Future<Output = Answer>,
        pool: &Pool,
        spare: Option<&Spare>,
    ) -> Result<Answer, Cause> {
        let is_limited = self.0.is_some();
        let over = async {
            let Some((limit, sent)) = self.0 else { return };
            if let Some(sent) = sent {
                sent.notified().await;
            }
            tokio::time::sleep(limit).await;
        };
        let spare = spare.filter(|spare| spare.is_idempotent());
        let given_up = pool.silent(|| spare.is_some_and(Spare::is_whole));
        // All may be dropped at any point: dropping the answer cancels the request.
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            () = over, if is_limited => Err(Cause::TimedOut),
            () = given_up, if spare.is_some() => Err(silent()),
        }
    }
}

struct SentBody(Rc<Notify>);

impl Watch for SentBody {
    fn data(&mut self, _bytes: usize) {}
    fn trailers(&mut self, _trailers: &HeaderMap) {}
    fn failed(&mut self, _error: &BodyError) {}
    fn finished(&mut self) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;

    use super::*;

    #[tokio::test]
    async fn a_new_connection_that_was_closed_already_is_not_used_for_what_is_sent_once() {
        let work = async {
            for (is_there, is_closed) in [(true, false), (false, true)] {
                let (ours, theirs) = tokio::io::duplex(64);
                let theirs = is_there.then_some(theirs);
                let (sender, connection) =
                    http1::handshake::<_, Body>(TokioIo::new(ours)).await.unwrap();
                let driver = tokio::task::spawn_local(connection);

                assert!(!is_over(&sender, &Method::GET).await);
                assert_eq!(is_over(&sender, &Method::POST).await, is_closed);
                driver.abort();
                drop(theirs);
            }
        };
        tokio::task::LocalSet::new().run_until(work).await;
    }

    #[test]
    fn sec_h15_answers_say_in_one_way_where_they_end() {
        let (new, old) = (Version::HTTP_11, Version::HTTP_10);
        for (version, fields, is_sound) in [
            (new, &[][..], true),
            (new, &[("transfer-encoding", "Chunked")], true),
            (old, &[("content-length", "1")], true),
            (old, &[("transfer-encoding", "chunked")], false),
            (new, &[("transfer-encoding", "gzip, chunked")], false),
            (new, &[("transfer-encoding", "xchunked")], false),
            (new, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            (new, &[("transfer-encoding", "chunked"), ("content-length", "1")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(misframed(version, &headers).is_none(), is_sound, "{fields:?}");
        }
    }
}
