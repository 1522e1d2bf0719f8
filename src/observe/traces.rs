//! Tracing by the settings, and what of OpenTelemetry's environment is honoured.

use std::sync::Arc;

use http::HeaderName;

use crate::message::trace::Policy;
use crate::otlp::{Queued, Resource, queue};
use crate::problem::{Code, Origin, Problem};
use crate::settings;

/// How requests are traced, and where their spans wait to be sent.
///
/// # Errors
/// A name of a field that is none.
pub fn traces(settings: &settings::Tracing) -> Result<(Arc<Policy>, Queued), Problem> {
    let (queue, queued) = queue();
    let names = |option: &str, written: &[String]| {
        let name = |text: &String| {
            text.parse::<HeaderName>().map_err(|_| {
                let text = format!("tracing.{option}: {text:?} is no name of a header field");
                Problem::error(Code::BadValue, Origin::Internal, text).mend("remove it")
            })
        };
        written.iter().map(name).collect::<Result<Vec<_>, _>>()
    };
    let request = names("capturedRequestHeaders", &settings.captured_request_headers)?;
    let response = names("capturedResponseHeaders", &settings.captured_response_headers)?;
    let safe = &settings.safe_query_params;
    let policy = Policy::new(settings.sample_rate, &request, &response, safe, queue);
    Ok((Arc::new(policy), queued))
}

/// Who sends the spans.
pub fn traces_resource(settings: &settings::Tracing) -> Resource {
    // As Traefik: the deprecated name counts where the present one is not used.
    let further = if settings.resource_attributes.is_empty() {
        &settings.global_attributes
    } else {
        &settings.resource_attributes
    };
    resource(&settings.service_name, further)
}

/// Who sends, by the settings and the environment.
pub fn resource(service: &str, further: &std::collections::BTreeMap<String, String>) -> Resource {
    Resource::new(service, further, |name| std::env::var(name).ok())
}

/// Variables of OpenTelemetry's that say something Wharf does not do. Traefik takes them all
/// from the SDK that it is built with.
pub fn environment_problems(variables: impl Iterator<Item = (String, String)>) -> Vec<Problem> {
    let honoured = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"];
    variables
        .filter(|(name, value)| {
            name.starts_with("OTEL_") && !value.is_empty() && !honoured.contains(&name.as_str())
        })
        .filter_map(|(name, value)| {
            let (text, mend) = if name == "OTEL_PROPAGATORS" {
                let known = ["tracecontext", "baggage"];
                let others: Vec<_> =
                    value.split(',').map(str::trim).filter(|each| !known.contains(each)).collect();
                if others.is_empty() {
                    return None;
                }
                let text = format!(
                    "OTEL_PROPAGATORS: {} is not done; `traceparent` is read and written, and \
                     other fields pass as they came",
                    others.join(", ")
                );
                (text, "use tracecontext,baggage")
            } else {
                (format!("{name} is not read"), "use the options of tracing, metrics and logs")
            };
            let origin = Origin::Env(name.into());
            Some(Problem::warning(Code::NotBuilt, origin, text).mend(mend))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_not_honoured_are_named() {
        let told = |name: &str, value: &str| {
            environment_problems([(name.to_owned(), value.to_owned())].into_iter()).len()
        };

        assert_eq!(told("OTEL_PROPAGATORS", "tracecontext, baggage"), 0);
        assert_eq!(told("OTEL_PROPAGATORS", "tracecontext,b3"), 1);
        assert_eq!(told("OTEL_BSP_SCHEDULE_DELAY", "1"), 1);
        assert_eq!(told("OTEL_SERVICE_NAME", "edge"), 0);
        assert_eq!(told("OTELLO", "x"), 0);
    }

    #[test]
    fn a_field_name_that_is_none_is_named() {
        let settings = settings::Tracing {
            captured_request_headers: vec!["X Bad".to_owned()],
            ..Default::default()
        };

        let problem = traces(&settings).unwrap_err();

        assert!(problem.text.contains("\"X Bad\""), "{}", problem.text);
    }
}
