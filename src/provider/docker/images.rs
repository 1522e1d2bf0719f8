//! What images say of the containers that are made from them, for `wharf check`: a Compose
//! file tells neither the ports that an image exposes nor its labels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Error};
use super::inspect;
use crate::settings;

/// Limit of a call when none is set.
const CALL: Duration = Duration::from_secs(10);

/// What a container has from its image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Ports that it exposes: `(port, "tcp")`, sorted.
    pub exposed: Vec<(u16, String)>,
    /// Its labels; the container's own go first.
    pub labels: BTreeMap<String, String>,
    /// It has a HEALTHCHECK.
    pub has_health_check: bool,
}

/// Asks the engine for images by name. Those that it does not have are left out, all of them
/// when there is no engine.
pub async fn look<'n>(
    settings: &settings::Docker,
    names: impl Iterator<Item = &'n str>,
) -> BTreeMap<String, Image> {
    let mut images = BTreeMap::new();
    let timeout = settings.http_client_timeout.positive().unwrap_or(CALL);
    let Ok(endpoint) = super::endpoint(settings) else { return images };
    let Ok(engine) = Engine::open(&endpoint, timeout, Arc::default()).await else { return images };
    for name in names.filter(|name| is_name(name)) {
        match engine.image(name).await {
            Ok(found) => drop(images.insert(name.to_owned(), inspect::from_image(found))),
            Err(Error::Refused { .. } | Error::Missing) => {}
            // Nobody is there (any more): the next would take as long.
            Err(Error::Late(_) | Error::Broken { .. }) => break,
        }
    }
    images
}

/// Whether it can stand in the path of a call as it is.
fn is_name(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/:@".contains(letter);
    !name.is_empty() && name.chars().all(is_plain) && !name.contains("..")
}
