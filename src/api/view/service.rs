//! Services.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Form, NO_OUTCOME, Object};
use crate::api::list::{Key, Row, holds, status_key};
use crate::balance;
use crate::model::{Name, Service, ServiceKind, Sourced, Sticky};
use crate::table::{Outcome, Table};

/// One service, what became of it, and how its servers are.
pub(in crate::api) struct ServiceRow<'t> {
    pub(in crate::api) name: &'t Name,
    /// `None`: inside Wharf.
    pub(in crate::api) service: Option<&'t Sourced<Service>>,
    pub(in crate::api) outcome: &'t Outcome,
    /// `None`: not built, since nothing uses it or something is wrong with it.
    pub(in crate::api) running: Option<&'t Arc<balance::Service>>,
}

/// All services by name, those inside Wharf included.
pub(in crate::api) fn services(table: &Table) -> impl Iterator<Item = ServiceRow<'_>> {
    let mut rows: BTreeMap<&Name, Option<&Sourced<Service>>> =
        table.service_outcomes.keys().map(|name| (name, None)).collect();
    rows.extend(
        table.desired.services.iter().map(|(name, service)| (name, Some(service.as_ref()))),
    );
    rows.into_iter().map(|(name, service)| ServiceRow {
        name,
        service,
        outcome: table.service_outcomes.get(name).unwrap_or(&NO_OUTCOME),
        running: table.services.get(name),
    })
}

impl ServiceRow<'_> {
    /// As the API's `type`; `None` for those inside Wharf.
    pub(in crate::api) fn kind(&self) -> Option<&'static str> {
        self.service.map(|service| service.value.kind.as_str())
    }

    pub(in crate::api) fn json(&self, form: Form) -> Value {
        let mut object = match self.service {
            Some(service) => Object::of(&shown(self.name, &service.value)),
            None => Object::default(),
        };
        object.put_list("error", &self.outcome.errors);
        object.put("status", self.outcome.status.as_str());
        object.put_list("usedBy", &self.outcome.used);
        if form == Form::Listed {
            object.put("name", self.name);
            object.put("provider", self.name.provider().as_str());
            if let Some(kind) = self.kind() {
                object.put("type", kind);
            }
        }
        let servers = self.server_status();
        if !servers.is_empty() {
            object.put("serverStatus", servers);
        }
        object.into_value()
    }

    /// Each server's URL and `UP` or `DOWN`; as Traefik, only once the service is built.
    fn server_status(&self) -> BTreeMap<&str, &'static str> {
        let replicas = self.running.map_or(&[][..], |running| running.replicas());
        let up = |up: bool| if up { "UP" } else { "DOWN" };
        replicas
            .iter()
            .filter(|replica| !replica.url.is_empty())
            .map(|replica| (replica.url.as_ref(), up(replica.is_up())))
            .collect()
    }

    /// Its running servers, each with its generation, where those can be told apart.
    pub(in crate::api) fn by_generation(
        &self,
    ) -> impl Iterator<Item = (&Arc<balance::Replica>, Option<&Arc<str>>)> {
        self.running.into_iter().flat_map(|running| running.by_generation())
    }

    /// Its running servers.
    pub(in crate::api) fn replicas(&self) -> &[Arc<balance::Replica>] {
        self.running.map_or(&[], |running| running.replicas())
    }
}

/// With what was not written: names of cookies, weights, the provider of the transport.
/// Leaves out servers without an address: containers that do not run hold their place in
/// the service, but Traefik's clients expect a URL.
fn shown(name: &Name, service: &Service) -> Service {
    let mut service = service.clone();
    match &mut service.kind {
        ServiceKind::LoadBalancer(balancer) => {
            balancer.servers.retain(|server| !server.url.is_empty());
            name_cookie(name, balancer.sticky.as_mut());
            let transport = &mut balancer.servers_transport;
            if !transport.is_empty() && !transport.contains('@') {
                *transport = format!("{transport}@{}", name.provider().as_str());
            }
        }
        ServiceKind::Weighted(weighted) => {
            name_cookie(name, weighted.sticky.as_mut());
            for service in &mut weighted.services {
                service.weight.get_or_insert(1);
            }
        }
        ServiceKind::HighestRandomWeight(weighted) => {
            for service in &mut weighted.services {
                service.weight.get_or_insert(1);
            }
        }
        ServiceKind::Mirroring(_) | ServiceKind::Failover(_) => {}
    }
    service
}

fn name_cookie(service: &Name, sticky: Option<&mut Sticky>) {
    let cookie = sticky.and_then(|sticky| sticky.cookie.as_mut());
    if let Some(cookie) = cookie.filter(|cookie| cookie.name.is_empty()) {
        cookie.name = balance::sticky_name(service.as_str());
    }
}

impl Row for ServiceRow<'_> {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn status(&self) -> &str {
        self.outcome.status.as_str()
    }

    fn contains(&self, search: &str) -> bool {
        holds(self.name.as_str(), search)
    }

    fn column(&self, name: &str) -> Option<Key> {
        match name {
            "type" => Some(Key::Text(self.kind().unwrap_or_default().to_owned())),
            "servers" => match self.service.map(|service| &service.value.kind) {
                Some(ServiceKind::LoadBalancer(balancer)) => {
                    Some(Key::Number(i64::try_from(balancer.servers.len()).unwrap_or(i64::MAX)))
                }
                _ => Some(Key::Number(0)),
            },
            "provider" => Some(Key::Text(self.name.provider().as_str().to_owned())),
            "status" => Some(status_key(self.outcome.status)),
            _ => None,
        }
    }
}
