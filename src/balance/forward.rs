//! The way of a request through a load balancer: pick, hold, send, try again where that is
//! safe, respond.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::time::Instant;

use super::account::Account;
use super::answer;
use super::group::Group;
use super::hold::{self, Waited};
use super::replica::Replica;
use super::rotation::Rotation;
use super::settings::{LoadBalancerSettings, PassiveSettings};
use super::state::ReplicaState;
use super::sticky::{Claim, Cookie};
use super::strategy::Tried;
use super::switch;
use crate::message::{Body, Exchange, Spare, forwarded, hop};
use crate::observe;
use crate::upstream::{self, Cause, Reply, SendError, Transport};

/// Times a request is sent at most without a `retry` middleware: scaling down by three may
/// cost three.
const MAX_ATTEMPTS: usize = 4;

/// Before the third time: about what an event takes from the engine to us.
const NEWS: Duration = Duration::from_millis(10);

/// Before the only server of a service is asked again, three times as long each time. A
/// container that refuses is about to be reported as stopped, or about to listen.
const PAUSE: Duration = Duration::from_millis(50);

/// Servers behind one name.
#[derive(Debug)]
pub(super) struct LoadBalancer {
    pub(super) settings: LoadBalancerSettings,
    pub(super) transport: Arc<Transport>,
    pub(super) replicas: Box<[Arc<Replica>]>,
    pub(super) group: Arc<Group>,
    pub(super) metrics: observe::Requests,
    pub(super) cookie: Option<Cookie>,
}

/// What is kept of a request while it is on its way.
struct Trip {
    tried: Tried,
    /// Sends that were made over before by other ways to a service of this request.
    spent: usize,
    /// Its method says that it may reach a server twice; or it can't wait for a better one.
    may_be_sent_twice: bool,
    /// A server may have seen a byte of it.
    was_sent: bool,
    /// When waiting for a server ends.
    hold_until: Option<Instant>,
    /// Its place among those who wait.
    ticket: Option<u64>,
    sticky: Option<Arc<Replica>>,
    must_set_cookie: bool,
    /// What was drawn for it: the newest generation, or the older ones.
    drawn: Option<bool>,
    /// It asks for the newest generation by itself.
    is_asked_for: bool,
    /// Pins the client to the generation of its server.
    pin: Option<HeaderValue>,
    /// The request again, where it may be sent twice or refused after it was sent.
    spare: Option<Spare>,
    keeps_host: bool,
    asked_gzip: bool,
    /// The protocol that the client wants to change to.
    upgrade: Option<HeaderValue>,
}

impl Trip {
    fn is_new(&self, replica: &Arc<Replica>) -> bool {
        !self.tried.iter().any(|tried| Arc::ptr_eq(tried, replica))
    }
}

impl LoadBalancer {
    /// Keeps a request, where it may be of use: its method says that it may reach a server
    /// twice, or a server may say that it did not look at it.
    fn spare(&self, request: &mut Request<Body>) -> Option<Spare> {
        let is_upgrade = request.headers().contains_key(UPGRADE);
        let is_of_use = request.method().is_idempotent() && !Spare::is_too_long(request.body());
        let may_be_refused = || self.replicas.iter().any(|replica| replica.server.may_refuse());
        (!is_upgrade && (is_of_use || may_be_refused())).then(|| Spare::of(request))
    }
}

/// Passes a request on to one of the servers and its answer back.
pub(super) async fn forward(
    balancer: &Arc<LoadBalancer>,
    exchange: &mut Exchange,
    mut request: Request<Body>,
) -> Response<Body> {
    if let Some(trace) = &mut exchange.trace
        && trace.is_detailed()
        && let Some(attributes) = trace.enter("Service")
    {
        attributes.text("traefik.service.name", &balancer.group.name);
    }
    let mut account = Account::open(balancer, exchange, &mut request);
    let mut trip = balancer.prepare(exchange, &mut request);
    exchange.served.network_error = false;
    exchange.served.unsent = false;
    loop {
        let Some(replica) = balancer.next(&mut trip, exchange, &request).await else {
            return account.answer(answer::unavailable());
        };
        account.enter(&replica, trip.is_asked_for);
        if !trip.keeps_host {
            request.headers_mut().insert(HOST, replica.server.host_value().clone());
        }
        exchange.served.server = Some(Arc::clone(&replica.url));
        exchange.served.server_address = Some(Arc::clone(&replica.server.address));
        if let Some(trace) = &mut exchange.trace {
            trace.send(&mut request, &replica.url, exchange.served.retries);
        }
        let informational = exchange.informational.as_ref();
        let asked = balancer.is_timed().then(Instant::now);
        let sent =
            upstream::send_kept(&replica.server, informational, request, trip.spare.as_ref());
        let failure = match sent.await {
            Ok(reply) => {
                if let Some(took) = asked.map(|asked| asked.elapsed()) {
                    replica.times.add(took);
                    account.sent(exchange, &replica.url, reply.response.status(), took);
                }
                return balancer.respond(exchange, &trip, &replica, account, reply);
            }
            Err(failure) => failure,
        };
        let (SendError::NotSent(_, cause) | SendError::Sent(cause)) = &failure;
        if exchange.trace.is_some() || asked.is_some() {
            account.unanswered(exchange, &replica.url, cause, asked);
        }
        account.leave(cause);
        if account.client_failed() {
            return account.answer(answer::client_failed());
        }
        match balancer.once_more(&mut trip, replica, failure).await {
            Ok(again) => request = again,
            Err(cause) => {
                exchange.served.network_error = is_network_error(&cause);
                exchange.served.unsent = !trip.was_sent;
                return account.answer(answer::failed(&cause));
            }
        }
        exchange.served.retries += 1;
        exchange.served.repeats += 1;
        balancer.metrics.retried();
    }
}

/// The server that a request would be sent to; waits for one like the request.
#[cfg(test)]
pub(super) async fn choose(
    balancer: &Arc<LoadBalancer>,
    exchange: &Exchange,
    request: &mut Request<Body>,
) -> Option<Arc<Replica>> {
    let mut trip = balancer.prepare(exchange, request);
    balancer.next(&mut trip, exchange, request).await
}

/// The server could not be heard, rather than that it or the client said something wrong.
fn is_network_error(cause: &Cause) -> bool {
    match cause {
        Cause::Unreachable(_) | Cause::TimedOut => true,
        Cause::Garbage(_) | Cause::Client(_) => false,
    }
}

/// A connection that ended, rather than an answer that is wrong or late.
fn is_broken(cause: &Cause) -> bool {
    match cause {
        Cause::Unreachable(error) => error.kind() != std::io::ErrorKind::InvalidData,
        Cause::TimedOut | Cause::Garbage(_) | Cause::Client(_) => false,
    }
}

impl LoadBalancer {
    /// Somebody wants to know how long servers take.
    fn is_timed(&self) -> bool {
        self.settings.strategy.is_timed() || self.metrics.tells_sent()
    }

    /// All that is done to a request once, whichever server it goes to.
    fn prepare(&self, exchange: &Exchange, request: &mut Request<Body>) -> Trip {
        let claim = self.cookie.as_ref().map(|cookie| self.claimed(cookie, request.headers()));
        let (sticky, must_set_cookie) = match claim {
            None => (None, false),
            Some(Some((replica, claim))) => (Some(replica), claim == Claim::Old),
            Some(None) => (None, true),
        };
        let headers = request.headers_mut();
        hop::strip_request(headers);
        forwarded::before_send(exchange, headers);
        let keeps_host = self.settings.pass_host_header
            && headers.get(HOST).is_some_and(|host| !host.is_empty());
        let upgrade = headers.get(UPGRADE).cloned();
        let asked_gzip = upstream::gzip::ask(request);
        let spare = self.spare(request);
        Trip {
            may_be_sent_twice: (request.method().is_idempotent() && upgrade.is_none())
                || self.settings.hold.limit.is_zero(),
            tried: Tried::new(),
            spent: exchange.served.repeats as usize,
            was_sent: false,
            hold_until: None,
            ticket: None,
            sticky,
            must_set_cookie,
            drawn: None,
            is_asked_for: false,
            pin: None,
            spare,
            keeps_host,
            asked_gzip,
            upgrade,
        }
    }

    /// The server of a request's session. As in Traefik, one without a share (`weight: 0`)
    /// keeps none.
    fn claimed(&self, cookie: &Cookie, headers: &HeaderMap) -> Option<(Arc<Replica>, Claim)> {
        cookie.values(headers).find_map(|value| {
            let all = self.replicas.iter().zip(&self.settings.servers);
            let mut with_share = all.filter(|(_, server)| server.weight > 0);
            with_share.find_map(|(replica, _)| match replica.marks.claim(value, &replica.url) {
                Claim::No => None,
                claim @ (Claim::Yes | Claim::Old) => Some((Arc::clone(replica), claim)),
            })
        })
    }

    /// The server to ask: the cookie's, else whose turn it is, else one that is on its way
    /// out; else waits for one.
    async fn next(
        &self,
        trip: &mut Trip,
        exchange: &Exchange,
        request: &Request<Body>,
    ) -> Option<Arc<Replica>> {
        let headers = request.headers();
        if let Some(replica) = trip.sticky.take() {
            if replica.is_ready() && self.keeps(trip, exchange, headers, &replica) {
                return Some(replica);
            }
            trip.must_set_cookie = true;
        }
        loop {
            if let Some(replica) = self.pick(trip, exchange, headers) {
                return Some(replica);
            }
            if !self.hold(trip, request).await {
                return None;
            }
        }
    }

    /// Waits for a server to become ready; false when that is of no use. Upgrades wait, too.
    async fn hold(&self, trip: &mut Trip, request: &Request<Body>) -> bool {
        let bounds = &self.settings.hold;
        if bounds.limit.is_zero() {
            return false;
        }
        let until = *trip.hold_until.get_or_insert_with(|| Instant::now() + bounds.limit);
        let ticket = *trip.ticket.get_or_insert_with(|| self.group.ticket());
        let _waits = self.metrics.waits();
        let is_open = |rotation: &Rotation| {
            !rotation.ready.is_empty() || self.resort(trip, rotation).is_some()
        };
        match self.group.wait(ticket, until, hold::cost(request), bounds, is_open).await {
            Some(Waited::Ready) => true,
            Some(Waited::TooLong | Waited::Full) => {
                self.metrics.waited_in_vain();
                false
            }
            None => false,
        }
    }

    /// Whether the client of a session is to stay with its server, which is ready.
    fn keeps(
        &self,
        trip: &mut Trip,
        exchange: &Exchange,
        headers: &HeaderMap,
        replica: &Arc<Replica>,
    ) -> bool {
        let rotation = self.group.rotation.load();
        let Some(split) = &rotation.split else { return true };
        trip.is_asked_for = split.is_asked_for(headers);
        trip.pin = split.pin(headers, replica, exchange.secure);
        split.keeps(replica, headers)
    }

    /// One to ask while nobody is ready. One that has just stopped to accept is none, where it is
    /// waited for: it may be back.
    fn resort<'r>(&self, trip: &Trip, rotation: &'r Rotation) -> Option<&'r Arc<Replica>> {
        let mut resorts = rotation.resorts(trip.may_be_sent_twice).iter();
        resorts.find(|replica| {
            let is_leaving = || replica.state() == ReplicaState::Draining;
            trip.is_new(replica) && (is_leaving() || !self.waits())
        })
    }

    /// Whether requests wait for a server when none is ready.
    fn waits(&self) -> bool {
        let limit = self.settings.hold.limit;
        !limit.is_zero() && self.group.is_expecting(limit)
    }

    fn pick(
        &self,
        trip: &mut Trip,
        exchange: &Exchange,
        headers: &HeaderMap,
    ) -> Option<Arc<Replica>> {
        let rotation = self.group.rotation.load();
        let picked = self.pick_among(&rotation, trip, exchange, headers)?;
        if let Some(split) = &rotation.split {
            trip.is_asked_for = split.is_asked_for(headers);
            trip.pin = split.pin(headers, &picked, exchange.secure);
        }
        Some(picked)
    }

    fn pick_among(
        &self,
        rotation: &Rotation,
        trip: &mut Trip,
        exchange: &Exchange,
        headers: &HeaderMap,
    ) -> Option<Arc<Replica>> {
        let client = exchange.connection.peer.ip();
        let strategy = self.settings.strategy;
        // Nobody fails for being on the wrong side: then all are asked.
        if let Some(split) = &rotation.split
            && let Some(side) = split.side(headers, &mut trip.drawn, &self.group.draws)
            && let Some(picked) =
                strategy.pick(&side.rotation, side.next_turn(), client, &trip.tried)
        {
            return Some(Arc::clone(picked));
        }
        let turn = self.group.next_turn();
        let picked = strategy.pick(rotation, turn, client, &trip.tried).or_else(|| {
            // All were tried: the same one again, which `once_more` has found worth it.
            rotation.turn(self.group.next_turn())
        });
        picked.or_else(|| self.resort(trip, rotation)).map(Arc::clone)
    }

    /// The request again, if it may and should be sent again; else what to tell the client.
    async fn once_more(
        &self,
        trip: &mut Trip,
        replica: Arc<Replica>,
        failure: SendError,
    ) -> Result<Request<Body>, Cause> {
        let (again, cause, was_sent) = match failure {
            SendError::NotSent(request, cause) => (Some(*request), cause, false),
            SendError::Sent(cause) => {
                let spare = trip.spare.as_ref().filter(|spare| spare.is_idempotent());
                (spare.and_then(Spare::request), cause, true)
            }
        };
        trip.was_sent |= was_sent;
        let (service, server) = (&*self.group.name, &*replica.url);
        tracing::debug!(service, server, was_sent, ?cause, "no answer");
        if !matches!(cause, Cause::Client(_)) {
            replica.request_failed(!was_sent, self.settings.passive.as_ref());
        }
        let is_container = replica.is_container();
        trip.tried.push(replica);
        trip.must_set_cookie |= self.cookie.is_some();
        let Some(again) = again.filter(|_| !was_sent || is_broken(&cause)) else {
            return Err(cause);
        };
        // Nobody accepts: to wait for somebody is not to send again.
        let is_unmade = !was_sent && !matches!(cause, Cause::TimedOut);
        if is_unmade && is_container && !self.has_ready() && self.waits() {
            return Ok(again);
        }
        // What was sent again on another way of this request counts, too: a `retry` middleware
        // adds its tries to ours and does not multiply them.
        if trip.tried.len() + trip.spent >= MAX_ATTEMPTS || !self.group.may_retry() {
            return Err(cause);
        }
        if was_sent || self.has_untried(trip) {
            if trip.tried.len() > 1 {
                // Several replicas are being stopped at once; the engine is about to say so.
                tokio::time::sleep(NEWS).await;
            }
            return Ok(again);
        }
        // The only server. One from a file that refuses will go on refusing.
        if !is_container || matches!(cause, Cause::TimedOut) {
            return Err(cause);
        }
        let tries = u32::try_from(trip.tried.len()).unwrap_or(1).clamp(1, 4);
        tokio::time::sleep(PAUSE * 3_u32.pow(tries - 1)).await;
        Ok(again)
    }

    fn has_ready(&self) -> bool {
        !self.group.rotation.load().ready.is_empty()
    }

    fn has_untried(&self, trip: &Trip) -> bool {
        let rotation = self.group.rotation.load();
        rotation.ready.iter().any(|(replica, _)| trip.is_new(replica))
            || self.resort(trip, &rotation).is_some()
    }

    fn respond(
        &self,
        exchange: &mut Exchange,
        trip: &Trip,
        replica: &Arc<Replica>,
        account: Account,
        reply: Reply,
    ) -> Response<Body> {
        let Reply { mut response, lease } = reply;
        let status = response.status();
        if let Some(spare) = &trip.spare {
            spare.release();
        }
        match &self.settings.passive {
            Some(passive) if status.is_server_error() => count_failure(replica, passive),
            Some(_) | None => replica.request_answered(),
        }
        if let Some(trace) = &mut exchange.trace {
            trace.answered(status.as_u16(), Some(response.headers()));
        }
        let served = &mut exchange.served;
        served.first_byte = Some(exchange.started.elapsed());
        served.origin_status = Some(status.as_u16());
        served.origin_size = length(response.headers());
        served.origin_headers = served.keeps_origin_headers.then(|| response.headers().clone());
        hop::strip_response(status, response.headers_mut());
        if trip.must_set_cookie
            && let Some(cookie) = &self.cookie
        {
            cookie.set(response.headers_mut(), &replica.marks);
        }
        if let Some(pin) = &trip.pin {
            response.headers_mut().append(SET_COOKIE, pin.clone());
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return switch::switch(exchange, account, replica, trip.upgrade.as_ref(), response);
        }
        if trip.asked_gzip {
            response = upstream::gzip::decode(response);
        }
        account.pass(response, lease)
    }
}

fn count_failure(replica: &Arc<Replica>, passive: &PassiveSettings) {
    replica.request_failed(false, Some(passive));
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
