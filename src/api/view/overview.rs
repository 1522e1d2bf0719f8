//! Version and overview.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Object, middlewares, routers, services};
use crate::settings::Settings;
use crate::table::{Status, Table};

/// How many there are, and how many of them are not as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::api) struct Counts {
    pub(in crate::api) total: usize,
    pub(in crate::api) warnings: usize,
    pub(in crate::api) errors: usize,
}

/// Counts by status; disabled ones are errors.
pub(in crate::api) fn count(all: impl Iterator<Item = Status>) -> Counts {
    all.fold(Counts::default(), |mut counts, status| {
        counts.total += 1;
        match status {
            Status::Enabled => {}
            Status::Warning => counts.warnings += 1,
            Status::Disabled => counts.errors += 1,
        }
        counts
    })
}

/// `/api/version`. Wharf's own version, under Traefik's keys.
pub(in crate::api) fn version(settings: &Settings, started: SystemTime) -> Value {
    let mut object = Object::default();
    object.put("Version", env!("CARGO_PKG_VERSION"));
    object.put("Codename", "wharf");
    object.put("startDate", moment(started));
    if let Some(api) = &settings.api {
        if api.disable_dashboard_ad {
            object.put("disableDashboardAd", true);
        }
        object.put_text("dashboardName", &api.dashboard_name);
    }
    object.into_value()
}

/// RFC 3339 with nanoseconds, UTC.
pub(super) fn moment(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// `/api/overview`.
pub(in crate::api) fn overview(settings: &Settings, table: &Table) -> Value {
    let none = Counts::default();
    // As Traefik: the first of its list.
    let metrics = match &settings.metrics {
        metrics if metrics.prometheus.is_some() => "Prometheus",
        metrics if metrics.otlp.is_some() => "OTLP",
        _ => "",
    };
    let tracing = if settings.tracing.is_some() { "OTLP" } else { "" };
    let mut object = Object::default();
    object.put(
        "http",
        json!({
            "routers": count(routers(table).map(|row| row.outcome.status)),
            "services": count(services(table).map(|row| row.outcome.status)),
            "middlewares": count(middlewares(table).map(|row| row.outcome.status)),
        }),
    );
    object.put("tcp", json!({ "routers": none, "services": none, "middlewares": none }));
    object.put("udp", json!({ "routers": none, "services": none }));
    object.put("certificates", super::count_certificates(table));
    object.put(
        "features",
        json!({ "tracing": tracing, "metrics": metrics, "accessLog": settings.access_log.is_some() }),
    );
    let providers = providers(settings);
    if !providers.is_empty() {
        object.put("providers", providers);
    }
    object.into_value()
}

/// The providers that are on, in Traefik's spelling and order.
pub(in crate::api) fn providers(settings: &Settings) -> Vec<&'static str> {
    let all = [
        ("Docker", settings.providers.docker.is_some()),
        ("File", settings.providers.file.is_some()),
    ];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}
