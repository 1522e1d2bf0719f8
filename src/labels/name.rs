//! Names that Traefik makes out of containers.

use std::collections::BTreeMap;

/// Compose's labels.
pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";
pub(super) const GENERATION: &str = "com.docker.compose.config-hash";

/// Traefik's `normalize`: every run of characters that are not letters or digits becomes one
/// `-`, the ends are trimmed.
pub(super) fn normalize(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// The name of a container's own service: of Compose when it comes from there.
pub(super) fn service(container: &str, labels: &BTreeMap<String, String>) -> String {
    match (labels.get(SERVICE), labels.get(PROJECT)) {
        (Some(service), Some(project)) => normalize(&format!("{service}_{project}")),
        _ => normalize(container),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalized_as_traefik_does() {
        for (name, expected) in
            [("app_a.b--c_1", "app-a-b-c-1"), ("/web", "web"), ("__", ""), ("Größe 2", "Größe-2")]
        {
            assert_eq!(normalize(name), expected);
        }
    }

    #[test]
    fn compose_containers_are_named_by_service_and_project() {
        let labels = [(SERVICE, "web"), (PROJECT, "shop")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));

        assert_eq!(service("shop_web_1", &labels.clone().into()), "web-shop");
        assert_eq!(service("shop_web_1", &labels.into_iter().take(1).collect()), "shop-web-1");
    }
}
