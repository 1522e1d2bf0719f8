//! Metrics: counters, gauges and histograms with their points.

use super::wire::{Attributes, Writer};

/// A counter's points stand for all since the start.
const CUMULATIVE: u64 = 2;
/// The field of a scope that metrics are.
const METRIC: u32 = 2;
/// The field of a number that its attributes are; a histogram's is another.
const OF_NUMBER: u32 = 7;
const OF_HISTOGRAM: u32 = 9;

/// The metrics of one export.
#[derive(Debug)]
pub struct Metrics {
    out: Writer,
    /// Nanoseconds since 1970: since when, and until now.
    start: u64,
    now: u64,
}

/// One metric whose points are being written.
#[derive(Debug)]
pub struct Metric {
    points: Writer,
    start: u64,
    now: u64,
}

impl Metrics {
    /// None so far.
    pub fn new(start: u64, now: u64) -> Self {
        Self { out: Writer::default(), start, now }
    }

    /// The items of a scope.
    pub fn as_bytes(&self) -> &[u8] {
        self.out.as_bytes()
    }

    /// A counter that only grows; without points it is left out.
    pub fn counter(&mut self, name: &str, about: &str, points: impl FnOnce(&mut Metric)) {
        self.put(name, about, "1", 7, points, |sum| {
            sum.number(2, CUMULATIVE);
            sum.number(3, 1);
        });
    }

    /// A value of this moment.
    pub fn gauge(&mut self, name: &str, about: &str, unit: &str, points: impl FnOnce(&mut Metric)) {
        self.put(name, about, unit, 5, points, |_| {});
    }

    /// A histogram.
    pub fn histogram(
        &mut self,
        name: &str,
        about: &str,
        unit: &str,
        points: impl FnOnce(&mut Metric),
    ) {
        self.put(name, about, unit, 9, points, |histogram| {
            histogram.number(2, CUMULATIVE);
        });
    }

    fn put(
        &mut self,
        name: &str,
        about: &str,
        unit: &str,
        field: u32,
        points: impl FnOnce(&mut Metric),
        finish: impl FnOnce(&mut Writer),
    ) {
        let mut metric = Metric { points: Writer::default(), start: self.start, now: self.now };
        points(&mut metric);
        if metric.points.as_bytes().is_empty() {
            return;
        }
        self.out.message(METRIC, |out| {
            out.text(1, name);
            out.text(2, about);
            out.text(3, unit);
            out.message(field, |data| {
                data.raw(metric.points.as_bytes());
                finish(data);
            });
        });
    }
}

/// The labels of a point.
pub type Labels<'a> = [(&'a str, &'a str)];

fn attributes(field: u32, labels: &Labels<'_>) -> Attributes {
    let mut attributes = Attributes::of(field);
    for (key, value) in labels {
        attributes.text(key, value);
    }
    attributes
}

impl Metric {
    /// A point of a counter or a gauge.
    pub fn number(&mut self, labels: &Labels<'_>, value: f64) {
        let (start, now) = (self.start, self.now);
        self.points.message(1, |point| {
            point.fixed64(2, start);
            point.fixed64(3, now);
            point.double(4, value);
            point.raw(attributes(OF_NUMBER, labels).as_bytes());
        });
    }

    /// A point of a histogram: one count for each bound, and one for what is above all.
    pub fn distribution(&mut self, labels: &Labels<'_>, sum: f64, counts: &[u64], bounds: &[f64]) {
        let (start, now) = (self.start, self.now);
        self.points.message(1, |point| {
            point.fixed64(2, start);
            point.fixed64(3, now);
            point.fixed64(4, counts.iter().sum());
            point.double(5, sum);
            point.packed(6, counts.iter().copied());
            point.packed(7, bounds.iter().map(|bound| bound.to_bits()));
            point.raw(attributes(OF_HISTOGRAM, labels).as_bytes());
        });
    }
}
