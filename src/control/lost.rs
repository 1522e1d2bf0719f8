//! Servers whose containers run on but were taken out of the network of their address. What is
//! on its way there is given a moment, for a container that is put back to the same address
//! goes on where it was; then it is ended, since nobody else would say that it is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::balance::{Replica, ReplicaState};
use crate::table::Table;

/// As long as a request waits for a server: a container that is back by then costs nothing, though a
/// connection takes its time to find out.
const MOMENT: Duration = Duration::from_secs(10);

/// Cells that are given a moment, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Lost(Vec<(Instant, Arc<Replica>)>);

impl Lost {
    /// The server can't be reached: it takes no more requests.
    pub(super) fn add(&mut self, cell: &Arc<Replica>) {
        cell.lose();
        self.0.push((Instant::now() + MOMENT, Arc::clone(cell)));
    }

    /// When the first one's moment is over.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Those whose moment is over by now and whose address is not served again: nothing that is
    /// on its way there will be answered.
    pub(super) fn take_over(&mut self, table: &Table, now: Instant) -> Vec<Arc<Replica>> {
        let over = self.0.partition_point(|(due, _)| *due <= now);
        let over = self.0.drain(..over).map(|(_, cell)| cell);
        over.filter(|cell| !is_back(cell, table)).collect()
    }
}

/// Whether the table has the same container at the same address.
fn is_back(cell: &Replica, table: &Table) -> bool {
    let cells = cell.container.as_ref().and_then(|container| table.replicas.get(container));
    cells.into_iter().flatten().any(|now| now.url == cell.url && now.state() != ReplicaState::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{
        ContainerSettings, EngineState, LoadBalancerSettings, ServerSettings, Service,
    };
    use crate::observe::Requests;
    use crate::upstream::{Transport, TransportSettings};

    fn cell(url: &str) -> Arc<Replica> {
        let container = ContainerSettings {
            id: "a".into(),
            name: "a".into(),
            state: EngineState::Running,
            has_health_check: false,
            started: None,
            deploy: None,
        };
        let server = ServerSettings {
            url: url.to_owned(),
            weight: 1,
            preserve_path: false,
            container: Some(container),
        };
        let settings = LoadBalancerSettings { servers: vec![server], ..Default::default() };
        let transport = Transport::build(&TransportSettings::default()).unwrap();
        let name = "web@docker".into();
        let made = Service::load_balancer(name, settings, &transport, Requests::off(), None);
        Arc::clone(&made.unwrap().replicas()[0])
    }

    fn table(cell: &Arc<Replica>) -> Table {
        Table { replicas: [("a".into(), vec![Arc::clone(cell)])].into(), ..Table::default() }
    }

    #[test]
    fn what_is_lost_is_over_after_a_moment_unless_its_address_is_served_again() {
        let (here, there) = ("http://10.0.0.2:80", "http://10.0.0.3:80");
        for (comes_back_to, is_over) in [(None, true), (Some(there), true), (Some(here), false)] {
            let mut lost = Lost::default();
            let old = cell(here);
            lost.add(&old);
            let due = lost.due().unwrap();
            let back = comes_back_to.map(cell);
            let table = table(back.as_ref().unwrap_or(&old));

            assert_eq!(old.state(), ReplicaState::Gone);
            assert!(lost.take_over(&table, due - Duration::from_millis(1)).is_empty());
            let over = lost.take_over(&table, due);

            assert_eq!(over.len(), usize::from(is_over), "{comes_back_to:?}");
            assert_eq!(lost.due(), None);
        }
    }
}
