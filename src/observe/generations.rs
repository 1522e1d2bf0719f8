//! What is told of the generations of a service's servers: Wharf's own series.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::kept::{Kept, Reader, keep};
use super::metrics::Metrics;
use super::push::{float, nanos};
use crate::otlp;

/// By service and generation.
pub(super) type Generations = Kept<(Arc<str>, Arc<str>), Mutex<GenerationCounts>>;

/// What is told of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GenerationCounts {
    /// Its part of the requests, in percent.
    pub share: f64,
    /// Requests so far.
    pub requests: u64,
    /// Of those, answered with 5xx or not at all.
    pub errors: u64,
    /// It gets none, since too many failed.
    pub is_backed_off: bool,
}

/// The series of one generation, shown while somebody holds this.
#[derive(Clone, Debug)]
pub struct GenerationSeries(Arc<Mutex<GenerationCounts>>);

impl GenerationSeries {
    /// These are its figures now.
    pub fn set(&self, counts: &GenerationCounts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = *counts;
    }
}

type Told = Vec<((Arc<str>, Arc<str>), GenerationCounts)>;

impl Metrics {
    /// The series of a generation of a service, qualified name.
    pub fn generation(&self, service: &str, generation: &str) -> GenerationSeries {
        let name = (service.into(), generation.into());
        GenerationSeries(keep(&self.generations, &name, Mutex::default))
    }

    fn told_generations(&self, reader: Reader) -> Told {
        let counts = |counts: &Mutex<GenerationCounts>| {
            *counts.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let alive = self.alive(&self.generations, reader);
        alive.into_iter().map(|(name, one)| (name, counts(&one))).collect()
    }

    /// All of it, for a scrape.
    pub(super) fn encode_generations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let told = self.told_generations(Reader::Scrape);
        let help = "part of the requests that a generation of servers gets, of 1";
        let name = "wharf_generation_share";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (name, counts) in &told {
            family.encode_family(&labels(name))?.encode_gauge(&(counts.share / 100.0))?;
        }
        let help = "whether a generation gets no requests, since too many failed";
        let name = "wharf_generation_backed_off";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (name, counts) in &told {
            let is_out = i64::from(counts.is_backed_off);
            family.encode_family(&labels(name))?.encode_gauge(&is_out)?;
        }
        let help = "requests to servers of a generation";
        let name = "wharf_generation_requests";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (name, counts) in &told {
            let count = &counts.requests;
            family
                .encode_family(&labels(name))?
                .encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        let help = "requests to servers of a generation that were answered with 5xx or not at all";
        let name = "wharf_generation_errors";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (name, counts) in &told {
            let count = &counts.errors;
            family
                .encode_family(&labels(name))?
                .encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        Ok(())
    }

    /// All of it, for a collector.
    pub(super) fn push_generations(&self, out: &mut otlp::Metrics) {
        let since = nanos(self.started);
        let told = self.told_generations(Reader::Push);
        let about = "Part of the requests that a generation of servers gets, of 1";
        out.gauge("wharf_generation_share", about, "1", |metric| {
            for (name, counts) in &told {
                metric.number(&labels(name), since, counts.share / 100.0);
            }
        });
        let about = "Whether a generation gets no requests, since too many failed";
        out.gauge("wharf_generation_backed_off", about, "1", |metric| {
            for (name, counts) in &told {
                let is_out = f64::from(u8::from(counts.is_backed_off));
                metric.number(&labels(name), since, is_out);
            }
        });
        let about = "Requests to servers of a generation";
        out.counter("wharf_generation_requests_total", about, |metric| {
            for (name, counts) in &told {
                metric.number(&labels(name), since, float(counts.requests));
            }
        });
        let about = "Requests to servers of a generation that failed";
        out.counter("wharf_generation_errors_total", about, |metric| {
            for (name, counts) in &told {
                metric.number(&labels(name), since, float(counts.errors));
            }
        });
    }
}

fn labels((service, generation): &(Arc<str>, Arc<str>)) -> [(&'static str, &str); 2] {
    [("service", service), ("generation", generation)]
}
