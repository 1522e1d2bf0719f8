//! The demo's project: three services and the labels that a user would write for them.

use std::collections::BTreeMap;

/// The port that every replica listens on inside its container.
pub(super) const PORT: u16 = 8080;

/// One service of the project.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Its name.
    pub(super) name: &'static str,
    /// Where the proxy serves it.
    pub(super) path: &'static str,
    /// How many replicas it begins with.
    pub(super) replicas: usize,
    /// What to know about it, for the list that is printed.
    pub(super) about: &'static str,
}

/// The project.
pub(super) const SERVICES: [Service; 3] = [
    Service { name: "front", path: "/", replicas: 2, about: "the catch-all" },
    Service { name: "users", path: "/api/users", replicas: 2, about: "sticky, prefix stripped" },
    Service { name: "music", path: "/api/music", replicas: 2, about: "the one that is scaled" },
];

/// The resolver of `--https`.
pub(super) const RESOLVER: &str = "demo";

/// The label that marks what belongs to a demo; its value says to which.
pub(super) const MARK: &str = "wharf-demo.run";

impl Service {
    /// Its name on HTTPS. Browsers take what ends like this for their own machine.
    pub(super) fn host(&self) -> String {
        format!("{}.demo.localhost", self.name)
    }

    /// The labels of its containers. `run` keeps two demos on one engine apart; with a
    /// resolver it is also served over HTTPS.
    pub(super) fn labels(
        &self,
        run: &str,
        port: u16,
        resolver: Option<&str>,
    ) -> BTreeMap<String, String> {
        let name = self.name;
        let router = format!("traefik.http.routers.{name}");
        let balancer = format!("traefik.http.services.{name}.loadbalancer");
        let mut labels = vec![
            (MARK.to_owned(), run.to_owned()),
            ("com.docker.compose.project".to_owned(), run.to_owned()),
            ("com.docker.compose.service".to_owned(), name.to_owned()),
            ("traefik.enable".to_owned(), "true".to_owned()),
            (format!("{router}.rule"), format!("PathPrefix(`{}`)", self.path)),
            (format!("{router}.entrypoints"), "web".to_owned()),
            (format!("{balancer}.healthcheck.path"), "/health".to_owned()),
            (format!("{balancer}.healthcheck.interval"), "2s".to_owned()),
        ];
        if let Some(resolver) = resolver {
            let secure = format!("{router}-secure");
            labels.push((format!("{secure}.rule"), format!("Host(`{}`)", self.host())));
            labels.push((format!("{secure}.entrypoints"), "websecure".to_owned()));
            labels.push((format!("{secure}.tls.certresolver"), resolver.to_owned()));
        }
        if port != PORT {
            // Only where replicas share one address; else the exposed port is found by itself.
            labels.push((format!("{balancer}.server.port"), port.to_string()));
        }
        if self.path != "/" {
            let strip = format!("{name}-strip");
            labels.push((format!("{router}.middlewares"), strip.clone()));
            labels.push((
                format!("traefik.http.middlewares.{strip}.stripprefix.prefixes"),
                self.path.to_owned(),
            ));
        }
        if name == "users" {
            labels.push((format!("{balancer}.sticky.cookie.name"), "users_session".to_owned()));
            labels.push((format!("{balancer}.sticky.cookie.httponly"), "true".to_owned()));
        }
        labels.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_of_a_service_carry_the_same_labels() {
        for service in &SERVICES {
            let labels = || service.labels("run", PORT, Some(RESOLVER));
            assert_eq!(labels(), labels());
        }
    }

    #[test]
    fn only_the_catch_all_keeps_its_prefix() {
        let stripped: Vec<_> = SERVICES
            .iter()
            .filter(|service| {
                service.labels("run", PORT, None).keys().any(|key| key.contains("strip"))
            })
            .map(|service| service.name)
            .collect();

        assert_eq!(stripped, ["users", "music"]);
    }
}
