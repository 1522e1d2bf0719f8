//! `wharf.deploy.*`: which generation a container is of, and how the newest one takes over.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;

use super::{Container, generation};
use crate::balance::deploy::{BackOffRules, CookieRule, Deploy, DeployRules, HeaderRule, WINDOW};
use crate::problem::{Code, Problem};
use crate::settings::GoDuration;
use crate::tree::{self, Node};

/// A generation is shown on pages and in metrics.
const LONGEST: usize = 100;

/// Fewer requests prove nothing, unless the labels say otherwise.
const MIN_REQUESTS: i64 = 20;

/// The counts are looked at each second, and kept for as long.
const WINDOWS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    generation: Option<String>,
    min_ready: Option<i64>,
    canary: Canary,
    pin: bool,
    backoff: Backoff,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Canary {
    percent: Option<i64>,
    header: Option<String>,
    header_value: Option<String>,
    cookie: Option<String>,
    cookie_value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Backoff {
    errors: Option<i64>,
    window: Option<GoDuration>,
    min_requests: Option<i64>,
}

/// Reads what is below `deploy`; without it a container of Compose is of a generation, too.
pub(super) fn read(
    container: &Container,
    node: Option<&Node>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Deploy>> {
    let rules = match node {
        Some(node) => rules(node, problems)?,
        None => DeployRules::default(),
    };
    let Some(own) = generation::of(container) else {
        if let Some(node) = node {
            problems.push(
                Problem::warning(
                    Code::Notice,
                    first(node).origin.clone(),
                    "has no effect: nothing tells one deploy of this container from the next",
                )
                .mend("set wharf.deploy.generation, or start it with Compose"),
            );
        }
        return None;
    };
    Some(Arc::new(Deploy {
        generation: own.id.into(),
        created: container.created,
        rules: Arc::new(rules),
    }))
}

/// The first label of all that is below.
fn first(node: &Node) -> &Node {
    node.entries().next().map_or(node, |(_, child)| first(child))
}

fn rules(node: &Node, problems: &mut Vec<Problem>) -> Option<DeployRules> {
    let written: Written = tree::decode(node, problems)?;
    let mut reader = Reader { node, problems, is_well: true };
    if let Some(id) = &written.generation {
        reader.generation(id);
    }
    let canary = &written.canary;
    reader.needs(
        "canary.headerValue",
        canary.header_value.is_some(),
        "canary.header",
        canary.header.is_some(),
    );
    reader.needs(
        "canary.cookieValue",
        canary.cookie_value.is_some(),
        "canary.cookie",
        canary.cookie.is_some(),
    );
    let back_off = &written.backoff;
    let has_errors = back_off.errors.is_some();
    reader.needs("backoff.window", back_off.window.is_some(), "backoff.errors", has_errors);
    reader.needs(
        "backoff.minRequests",
        back_off.min_requests.is_some(),
        "backoff.errors",
        has_errors,
    );
    let min_ready = reader.number("minReady", written.min_ready.unwrap_or(1), 1, 10_000);
    let percent = canary.percent.map(|percent| reader.number("canary.percent", percent, 0, 100));
    let errors = back_off.errors.map(|errors| reader.number("backoff.errors", errors, 1, 100));
    let min_requests = back_off.min_requests.unwrap_or(MIN_REQUESTS);
    let min_requests = reader.number("backoff.minRequests", min_requests, 1, 1_000_000);
    let window = reader.window(back_off.window);
    let header = canary.header.as_deref().and_then(|name| reader.header(name));
    let cookie = canary.cookie.as_deref().and_then(|name| reader.cookie(name));
    let value = |value: &Option<String>| value.as_deref().map(Box::from);
    reader.is_well.then(|| DeployRules {
        min_ready: usize::try_from(min_ready).unwrap_or(1),
        percent: percent.and_then(|percent| u8::try_from(percent).ok()),
        header: header.map(|name| HeaderRule { name, value: value(&canary.header_value) }),
        cookie: cookie.map(|name| CookieRule { name, value: value(&canary.cookie_value) }),
        pin: written.pin,
        back_off: errors.and_then(|errors| u8::try_from(errors).ok()).map(|errors| BackOffRules {
            errors,
            window,
            min_requests: min_requests.unsigned_abs(),
        }),
    })
}

/// Looks at what was written, and says what is wrong with it.
struct Reader<'r> {
    node: &'r Node,
    problems: &'r mut Vec<Problem>,
    is_well: bool,
}

impl Reader<'_> {
    fn refuse(&mut self, path: &str, text: String, mend: &str) {
        let origin = self.node.get(path).map_or(&self.node.origin, |node| &node.origin);
        self.problems.push(Problem::error(Code::BadValue, origin.clone(), text).mend(mend));
        self.is_well = false;
    }

    fn number(&mut self, path: &str, value: i64, least: i64, most: i64) -> i64 {
        if !(least..=most).contains(&value) {
            let text = format!("{value} is not between {least} and {most}");
            self.refuse(path, text, &format!("write a number from {least} to {most}"));
        }
        value
    }

    fn window(&mut self, written: Option<GoDuration>) -> Duration {
        let Some(written) = written else { return WINDOW };
        let window = written.or_zero();
        if !WINDOWS.contains(&window) {
            let text = format!("{written} is not between 1s and 1h");
            self.refuse("backoff.window", text, "write a time such as 10s or 2m");
        }
        window
    }

    fn generation(&mut self, id: &str) {
        let id = id.trim();
        if id.is_empty() || id.len() > LONGEST || id.chars().any(char::is_control) {
            let text = format!("{id:?} can't name a generation");
            let mend = format!("write up to {LONGEST} bytes such as v2 or the id of a build");
            self.refuse("generation", text, &mend);
        }
    }

    fn header(&mut self, name: &str) -> Option<HeaderName> {
        let header = HeaderName::try_from(name).ok();
        if header.is_none() {
            let text = format!("{name:?} is no name of a header field");
            self.refuse("canary.header", text, "write a name such as X-Canary");
        }
        header
    }

    fn cookie(&mut self, name: &str) -> Option<Box<str>> {
        // The same letters as of a field's name (RFC 6265 section 4.1.1), in any case.
        if HeaderName::try_from(name).is_err() {
            let text = format!("{name:?} is no name of a cookie");
            self.refuse("canary.cookie", text, "write a name such as canary");
            return None;
        }
        Some(name.into())
    }

    /// What says nothing without another label is likely half of what was meant.
    fn needs(&mut self, path: &str, is_set: bool, other: &str, has_other: bool) {
        if is_set && !has_other {
            let text = format!("says nothing without wharf.deploy.{}", other.to_lowercase());
            let mend = format!("set wharf.deploy.{}, or remove it", other.to_lowercase());
            self.refuse(path, text, &mend);
        }
    }
}

#[cfg(test)]
#[path = "deploy_tests.rs"]
mod tests;
