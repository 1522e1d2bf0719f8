//! The generations of a service's servers, as its page shows them.

use std::time::SystemTime;

use super::words;
use crate::balance::{self, GenerationState};

/// The generations of a service.
pub(super) struct Generations {
    pub(super) rows: Vec<Row>,
    /// What the labels of the newest one say.
    pub(super) rules: Vec<String>,
    /// What error rates are taken over.
    pub(super) window: String,
}

/// One of them.
pub(super) struct Row {
    /// The whole of it.
    pub(super) id: String,
    /// As much as tells it apart.
    pub(super) name: String,
    pub(super) is_newest: bool,
    pub(super) since: String,
    pub(super) state: String,
    /// The state of a server that is drawn alike.
    pub(super) look: &'static str,
    pub(super) reason: String,
    pub(super) ready: usize,
    pub(super) servers: usize,
    /// `20`, `33.3`.
    pub(super) share: String,
    pub(super) requests: String,
    /// `4.2%` of the requests within the window.
    pub(super) rate: String,
    /// `of 120`.
    pub(super) recent: String,
    pub(super) has_errors: bool,
}

/// Those of a running service; empty where there is nothing to tell.
pub(super) fn of(running: Option<&balance::Service>, now: SystemTime) -> Generations {
    let all = running.map(balance::Service::generations).unwrap_or_default();
    let rules = all.first().map(|newest| rules(&newest.rules)).unwrap_or_default();
    let rows = all.iter().enumerate().map(|(place, one)| row(one, place == 0, now));
    let window = all.first().map(|newest| words::span(newest.window)).unwrap_or_default();
    Generations { rows: rows.collect(), rules, window }
}

fn row(one: &balance::Generation, is_newest: bool, now: SystemTime) -> Row {
    let (state, look) = match one.state {
        GenerationState::Waiting(wanted) => (format!("waiting for {wanted} ready"), "starting"),
        GenerationState::Canary => ("canary".to_owned(), "starting"),
        GenerationState::Serving => ("serving".to_owned(), "ready"),
        GenerationState::BackedOff => ("backed off".to_owned(), "unhealthy"),
        GenerationState::Old => ("old".to_owned(), "gone"),
    };
    let reason = one.back_off.as_ref().map(|back_off| {
        format!(
            "{} of {} failed in {}, {} ago",
            words::count(back_off.errors),
            words::plural_of(back_off.requests, "request"),
            words::span(back_off.window),
            words::ago(back_off.at, now),
        )
    });
    Row {
        id: one.id.to_string(),
        name: one.short().to_owned(),
        is_newest,
        since: one.created.map(|at| words::ago(at, now)).unwrap_or_default(),
        state,
        look,
        reason: reason.unwrap_or_default(),
        ready: one.ready,
        servers: one.servers,
        share: percent(one.share),
        requests: words::count(one.requests),
        rate: if one.recent == 0 { "\u{2013}".to_owned() } else { rate(one) },
        recent: format!("of {}", words::count(one.recent)),
        has_errors: one.recent_errors > 0,
    }
}

fn rate(one: &balance::Generation) -> String {
    let permille = one.recent_errors.saturating_mul(1000) / one.recent.max(1);
    if permille.is_multiple_of(10) {
        format!("{}%", permille / 10)
    } else {
        format!("{}.{}%", permille / 10, permille % 10)
    }
}

/// Whole where it is whole.
fn percent(share: f64) -> String {
    let text = format!("{share:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// What is worth knowing of how the newest generation takes over.
fn rules(rules: &balance::DeployRules) -> Vec<String> {
    let mut told = Vec::new();
    if rules.min_ready > 1 {
        told.push(format!("waits for {} ready", rules.min_ready));
    }
    if let Some(percent) = rules.percent {
        told.push(format!("{percent}% of the requests"));
    }
    let value = |value: &Option<Box<str>>| value.as_deref().unwrap_or("always").to_owned();
    if let Some(header) = &rules.header {
        told.push(format!("field {}: {}", header.name, value(&header.value)));
    }
    if let Some(cookie) = &rules.cookie {
        told.push(format!("cookie {}={}", cookie.name, value(&cookie.value)));
    }
    if rules.pin {
        told.push("clients stay with theirs".to_owned());
    }
    if let Some(back_off) = &rules.back_off {
        told.push(format!("backs off at {}% errors", back_off.errors));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_short_where_they_are_whole() {
        for (share, text) in [(0.0, "0"), (20.0, "20"), (33.333, "33.3"), (100.0, "100")] {
            assert_eq!(percent(share), text);
        }
    }
}
