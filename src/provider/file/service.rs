//! One service of a file: its kind, and what its requests go through first.

use super::decode::{named, unknown};
use crate::model::{LoadBalancer, Service, ServiceKind};
use crate::problem::{Code, Problem};
use crate::tree::{self, Node};

/// Reads a service.
pub(super) fn service(node: &Node, problems: &mut Vec<Problem>) -> Option<Service> {
    const NAMES: [&str; 5] =
        ["loadBalancer", "weighted", "mirroring", "failover", "highestRandomWeight"];
    let mut node = node.clone();
    let middlewares = match node.take("middlewares") {
        Some(list) => tree::decode::<Vec<String>>(&list, problems)?,
        None => Vec::new(),
    };
    let mut kinds = node.entries();
    let Some((key, section)) = kinds.next() else {
        let text = "a service without a kind";
        let problem = Problem::error(Code::BadValue, node.origin.clone(), text);
        problems.push(problem.mend("set `loadBalancer` with `servers`"));
        return None;
    };
    if let Some((second, other)) = kinds.next() {
        let text = format!("one service with two kinds, `{key}` and `{second}`");
        let problem = Problem::error(Code::BadValue, other.origin.clone(), text);
        problems.push(problem.mend("declare two services"));
        return None;
    }
    let kind = match named(key, &NAMES) {
        Some("loadBalancer") => load_balancer(section, problems).map(ServiceKind::LoadBalancer),
        Some("weighted") => tree::decode(section, problems).map(ServiceKind::Weighted),
        Some("mirroring") => tree::decode(section, problems).map(ServiceKind::Mirroring),
        Some("failover") => tree::decode(section, problems).map(ServiceKind::Failover),
        Some(_) => tree::decode(section, problems).map(ServiceKind::HighestRandomWeight),
        None => {
            problems.push(unknown_kind(key, section, &NAMES));
            None
        }
    };
    kind.map(|kind| Service { middlewares, kind })
}

fn unknown_kind(key: &str, section: &Node, names: &[&str]) -> Problem {
    let mut problem = unknown(key, section, names);
    problem.text = format!("no kind of service `{key}`").into();
    problem
}

fn load_balancer(node: &Node, problems: &mut Vec<Problem>) -> Option<LoadBalancer> {
    if let Some(server) = node.child("server") {
        let text = "`server` is for labels; a file lists `servers`";
        let problem = Problem::error(Code::UnknownKey, server.origin.clone(), text);
        problems.push(problem.mend("write servers: [{url: \"http://10.0.0.5:80\"}]"));
        return None;
    }
    let balancer: LoadBalancer = tree::decode(node, problems)?;
    for (index, server) in balancer.servers.iter().enumerate() {
        if server.url.is_empty() {
            let key = format!("servers.[{index}]");
            let origin = node.get(&key).map_or(&node.origin, |node| &node.origin);
            let problem =
                Problem::error(Code::BadValue, origin.clone(), "a server without a `url`");
            problems.push(problem.mend("write url: http://10.0.0.5:80"));
            return None;
        }
    }
    Some(balancer)
}
