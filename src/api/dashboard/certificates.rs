//! Certificates: what is served, where it comes from, and how it stands with orders.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use askama::Template;

use super::frame::Frame;
use super::parts::Link;
use super::{Visit, words};
use crate::acme::State;
use crate::acme::status::{Entry, Resolver};
use crate::tls::Facts;

/// Most rows; the API has them all.
const MOST: usize = 500;

/// The list of certificates.
#[derive(Template)]
#[template(path = "certificates.html")]
pub(super) struct Certificates {
    frame: Frame,
    resolvers: Vec<ResolverCard>,
    rows: Vec<Row>,
    hidden: usize,
}

struct ResolverCard {
    name: String,
    ca_server: String,
    challenge: String,
    storage: String,
    error: String,
    mend: String,
    obtained: String,
    failed: String,
}

struct Row {
    names: Vec<String>,
    /// The resolver, or `given by hand`.
    source: String,
    issuer: String,
    /// One of the dashboard's signs.
    sign: &'static str,
    state: &'static str,
    from: Moment,
    until: Moment,
    renewal: Moment,
    error: String,
    mend: String,
    next_try: Moment,
    routers: Vec<Link>,
    is_default: bool,
    is_by_hand: bool,
}

/// A point in time; empty where there is none.
#[derive(Default)]
struct Moment {
    /// `2026-11-21 15:30 UTC`.
    at: String,
    /// `in 60 d`.
    far: String,
}

pub(super) fn page(visit: &Visit<'_>) -> Certificates {
    let board = visit.sources.published.acme().board.read();
    let mut rows: Vec<Row> = Vec::new();
    let mut obtained: Vec<Vec<String>> = Vec::new();
    for (name, resolver) in &board {
        for entry in &resolver.entries {
            obtained.push(sorted(&entry.names));
            rows.push(row(visit, name, entry));
        }
    }
    let given =
        visit.table.tls.declared().filter(|facts| !obtained.contains(&sorted(&facts.names)));
    rows.extend(given.map(|facts| by_hand(facts, visit.now)));
    // What needs somebody first.
    rows.sort_by_key(|row| row.sign == "ready" || row.sign == "gone");
    let hidden = rows.len().saturating_sub(MOST);
    rows.truncate(MOST);
    Certificates {
        frame: visit.frame("certificates", "Certificates"),
        resolvers: board.iter().map(|(name, resolver)| card(name, resolver)).collect(),
        rows,
        hidden,
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

fn card(name: &str, resolver: &Resolver) -> ResolverCard {
    ResolverCard {
        name: name.to_owned(),
        ca_server: resolver.ca_server.clone(),
        challenge: resolver.challenge.clone(),
        storage: resolver.storage.clone(),
        error: resolver.error.clone().unwrap_or_default(),
        mend: resolver.mend.clone().unwrap_or_default(),
        obtained: words::count(resolver.obtained),
        failed: words::count(resolver.failed),
    }
}

fn row(visit: &Visit<'_>, resolver: &str, entry: &Entry) -> Row {
    let is_over = entry.not_after.is_some_and(|end| end <= visit.now);
    let (sign, state) = match entry.state {
        _ if is_over => ("disabled", "expired"),
        State::Valid if entry.error.is_some() => ("warning", "renewal fails"),
        State::Valid => ("ready", "valid"),
        State::Ordering => ("starting", "being ordered"),
        State::Failed => ("disabled", "order failed"),
        State::Unused => ("gone", "no longer wanted"),
        State::Waiting => ("paused", "waiting"),
    };
    let when = |at: Option<SystemTime>| at.map(|at| moment(at, visit.now)).unwrap_or_default();
    let links = entry.routers.iter().map(|name| Link::router(visit.root, visit.table, name));
    Row {
        names: entry.names.clone(),
        source: resolver.to_owned(),
        issuer: entry.issuer.clone(),
        sign,
        state,
        from: when(entry.not_before),
        until: when(entry.not_after),
        renewal: when(entry.renewal),
        error: entry.error.clone().unwrap_or_default(),
        mend: entry.mend.clone().unwrap_or_default(),
        next_try: when(entry.next_try),
        routers: links.collect(),
        is_default: entry.is_default,
        is_by_hand: false,
    }
}

fn by_hand(facts: &Facts, now: SystemTime) -> Row {
    let at =
        |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let end = at(facts.not_after);
    let soon = now + Duration::from_secs(14 * 24 * 3600);
    let (sign, state) = match () {
        () if end <= now => ("disabled", "expired"),
        () if end <= soon => ("warning", "ends soon"),
        () => ("ready", "valid"),
    };
    Row {
        names: facts.names.clone(),
        source: "given by hand".to_owned(),
        issuer: facts.about.issuer_name.clone(),
        sign,
        state,
        from: moment(at(facts.about.not_before), now),
        until: moment(end, now),
        renewal: Moment::default(),
        error: String::new(),
        mend: String::new(),
        next_try: Moment::default(),
        routers: Vec::new(),
        is_default: false,
        is_by_hand: true,
    }
}

fn moment(at: SystemTime, now: SystemTime) -> Moment {
    let date = time::OffsetDateTime::from(at);
    let far = match at.duration_since(now) {
        Ok(ahead) => format!("in {}", words::span(ahead)),
        Err(_) => format!("{} ago", words::ago(at, now)),
    };
    let (hour, minute, _) = date.to_hms();
    Moment { at: format!("{} {hour:02}:{minute:02} UTC", date.date()), far }
}
