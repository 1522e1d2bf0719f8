//! Generations of services' servers, and what is wrong with them.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::Object;
use super::overview::moment;
use crate::api::list::{Key, Row, holds};
use crate::balance::{BackOff, Generation, GenerationState};
use crate::model::{Name, Service, ServiceKind};
use crate::problem::{Code, Origin, Problem};
use crate::table::Table;

/// A generation of one service.
pub(in crate::api) struct GenerationRow<'t> {
    pub(in crate::api) service: &'t Name,
    pub(in crate::api) generation: Generation,
}

/// All generations, by service, newest first; none of services of which there is but one and
/// no label speaks of it.
pub(in crate::api) fn generations(table: &Table) -> impl Iterator<Item = GenerationRow<'_>> {
    table.services.iter().flat_map(|(service, running)| {
        let generations = running.generations().into_iter();
        generations.map(move |generation| GenerationRow { service, generation })
    })
}

impl GenerationRow<'_> {
    pub(in crate::api) fn json(&self) -> Value {
        let one = &self.generation;
        let mut object = Object::default();
        object.put("service", self.service);
        object.put_text("generation", &one.id);
        if let Some(created) = one.created {
            object.put("created", moment(created));
        }
        object.put("state", one.state.as_str());
        if let GenerationState::Waiting(wanted) = one.state {
            object.put("waitsFor", wanted);
        }
        object.put("ready", one.ready);
        object.put("servers", one.servers);
        object.put("sharePercent", one.share);
        object.put("requests", one.requests);
        object.put("errors", one.errors);
        object.put("windowSeconds", one.window.as_secs());
        object.put("recentRequests", one.recent);
        object.put("recentErrors", one.recent_errors);
        if let Some(back_off) = &one.back_off {
            object.put("backedOff", back_off_json(back_off));
        }
        object.into_value()
    }
}

fn back_off_json(back_off: &BackOff) -> Value {
    json!({
        "at": moment(back_off.at),
        "requests": back_off.requests,
        "errors": back_off.errors,
        "windowSeconds": back_off.window.as_secs(),
    })
}

impl Row for GenerationRow<'_> {
    fn name(&self) -> &str {
        self.service.as_str()
    }

    fn status(&self) -> &str {
        self.generation.state.as_str()
    }

    fn contains(&self, search: &str) -> bool {
        holds(self.service.as_str(), search) || holds(&self.generation.id, search)
    }

    fn has_service(&self, name: &str) -> bool {
        self.service.as_str() == name
    }

    fn column(&self, name: &str) -> Option<Key> {
        let number = |number: u64| Some(Key::Number(i64::try_from(number).unwrap_or(i64::MAX)));
        match name {
            "state" => Some(Key::Text(self.generation.state.as_str().to_owned())),
            "requests" => number(self.generation.requests),
            "errors" => number(self.generation.errors),
            _ => None,
        }
    }
}

/// What is wrong now, beside what the table knows: generations that were backed off.
pub(in crate::api) fn problems_now(table: &Table) -> Vec<Problem> {
    let backed_off =
        generations(table).filter(|row| row.generation.state == GenerationState::BackedOff);
    backed_off.filter_map(|row| problem(table, &row)).collect()
}

fn problem(table: &Table, row: &GenerationRow<'_>) -> Option<Problem> {
    let one = &row.generation;
    let BackOff { at, requests, errors, window, .. } = one.back_off.as_ref()?;
    let declared = table.desired.services.get(row.service);
    let origin = declared.and_then(|service| origin(&service.value, &one.id));
    let text = format!(
        "generation {} gets no more requests since {}: {errors} of {requests} failed within {} s; \
         the older one has them",
        one.short(),
        moment(to_second(*at)),
        window.as_secs()
    );
    Some(
        Problem::error(Code::Server, origin.unwrap_or(Origin::Internal), text)
            .about(format!("service {}", row.service))
            .mend("roll back, or mend it and deploy again: a new container gets another try"),
    )
}

/// Finer is for machines.
fn to_second(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// A container of that generation.
fn origin(service: &Service, generation: &str) -> Option<Origin> {
    let ServiceKind::LoadBalancer(balancer) = &service.kind else { return None };
    balancer.servers.iter().find_map(|server| {
        let facts = server.replica.as_ref()?;
        let is_own = *facts.deploy.as_ref()?.generation == *generation;
        is_own.then(|| Origin::Container(facts.container.clone()))
    })
}
