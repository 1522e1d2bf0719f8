//! Search over everything that has a name.

use askama::Template;

use super::Visit;
use super::frame::Frame;
use super::parts::{Link, Trouble};
use crate::api::list::{Row, holds};
use crate::api::view;

/// Hits shown of each kind.
const MOST: usize = 25;

/// What was found.
#[derive(Template)]
#[template(path = "search.html")]
pub(super) struct Search {
    frame: Frame,
    groups: Vec<Group>,
    problems: Vec<Trouble>,
}

/// The hits of one kind.
struct Group {
    title: &'static str,
    hits: Vec<Hit>,
    /// All hits, shown or not.
    total: usize,
}

struct Hit {
    link: Link,
    detail: String,
}

impl Search {
    fn total(&self) -> usize {
        self.groups.iter().map(|group| group.total).sum::<usize>() + self.problems.len()
    }
}

pub(super) fn page(visit: &Visit<'_>) -> Search {
    let wanted = visit.query.get("q").trim().to_lowercase();
    let frame = visit.frame("", "Search");
    if wanted.is_empty() {
        return Search { frame, groups: Vec::new(), problems: Vec::new() };
    }
    let table = visit.table;
    let problems = visit.problems().filter(|problem| holds(&problem.to_string(), &wanted));
    let groups = vec![
        group(
            "Routers",
            view::routers(table).filter(|row| row.contains(&wanted)).map(|row| Hit {
                link: Link::new(visit.root, "routers", row.name(), row.outcome.status.as_str()),
                detail: row.router.value.rule.clone(),
            }),
        ),
        group(
            "Services",
            view::services(table).filter(|row| row.contains(&wanted)).map(|row| Hit {
                link: Link::service(visit.root, table, row.name),
                detail: row.kind().unwrap_or("inside Wharf").to_owned(),
            }),
        ),
        group(
            "Middlewares",
            view::middlewares(table).filter(|row| row.contains(&wanted)).map(|row| Hit {
                link: Link::new(visit.root, "middlewares", row.name(), row.outcome.status.as_str()),
                detail: row.middleware.value.about().to_owned(),
            }),
        ),
        group("Servers", servers(visit, &wanted)),
    ];
    Search { frame, groups, problems: problems.take(MOST).map(Trouble::from).collect() }
}

fn group(title: &'static str, hits: impl Iterator<Item = Hit>) -> Group {
    let mut group = Group { title, hits: Vec::new(), total: 0 };
    for hit in hits {
        group.total += 1;
        if group.hits.len() < MOST {
            group.hits.push(hit);
        }
    }
    group
}

/// Servers by container name, id or URL; each leads to its service.
fn servers<'v>(visit: &'v Visit<'_>, wanted: &'v str) -> impl Iterator<Item = Hit> + 'v {
    let table = visit.table;
    let all = table
        .services
        .iter()
        .flat_map(|(name, service)| service.replicas().iter().map(move |replica| (name, replica)));
    all.filter(move |(_, replica)| {
        let container = replica.container_name.as_deref().unwrap_or_default();
        let id = replica.container.as_deref().unwrap_or_default();
        holds(container, wanted) || id.starts_with(wanted) || holds(&replica.url, wanted)
    })
    .map(move |(name, replica)| {
        let container = replica.container_name.as_deref().unwrap_or(&replica.url);
        let mut link = Link::service(visit.root, table, name);
        container.clone_into(&mut link.name);
        Hit { link, detail: format!("{} of {name}, {}", replica.state().as_str(), replica.url) }
    })
}
