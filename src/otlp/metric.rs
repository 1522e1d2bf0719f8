//! Metrics: counters, gauges and histograms with their points.

use super::wire::{Attributes, Writer};

/// A counter's points stand for all since the start.
const CUMULATIVE: u64 = 2;
/// The field of a scope that metrics are.
const METRIC: u32 = 2;
/// The field of a number that its attributes are; a histogram's is another.
const OF_NUMBER: u32 = 7;
const OF_HISTOGRAM: u32 = 9;
/// Bytes of points in one message, and of metrics in one export: collectors take 4 MiB.
const PART: usize = 1 << 20;

/// The metrics of one push, in parts that a collector takes.
#[derive(Debug)]
pub struct Metrics {
    parts: Vec<Writer>,
    /// Nanoseconds since 1970.
    now: u64,
}

/// One metric whose points are being written.
#[derive(Debug)]
pub struct Metric {
    points: Vec<Writer>,
    now: u64,
}

/// What a label says.
#[derive(Clone, Copy, Debug)]
pub enum Label<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
}

impl<'a> From<&'a str> for Label<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// A histogram's point.
#[derive(Clone, Debug)]
pub struct Distribution<'a> {
    /// Of all values.
    pub sum: f64,
    /// The least and the greatest value.
    pub range: (f64, f64),
    /// One count for each bound, and one for what is above all.
    pub counts: &'a [u64],
    /// Upper bounds, ascending.
    pub bounds: &'a [f64],
}

impl Metrics {
    /// None so far; `now` is in nanoseconds since 1970.
    pub fn new(now: u64) -> Self {
        Self { parts: Vec::new(), now }
    }

    /// The items of a scope, in parts for one export each.
    pub fn into_parts(self) -> impl Iterator<Item = Vec<u8>> {
        self.parts.into_iter().map(Writer::into_bytes)
    }

    /// A counter that only grows; without points it is left out.
    pub fn counter(&mut self, name: &str, about: &str, points: impl FnOnce(&mut Metric)) {
        self.put((name, about, "1"), 7, points, |sum| {
            sum.number(2, CUMULATIVE);
            sum.number(3, 1);
        });
    }

    /// A value of this moment.
    pub fn gauge(&mut self, name: &str, about: &str, unit: &str, points: impl FnOnce(&mut Metric)) {
        self.put((name, about, unit), 5, points, |_| {});
    }

    /// A histogram of seconds.
    pub fn histogram(&mut self, name: &str, about: &str, points: impl FnOnce(&mut Metric)) {
        self.put((name, about, "s"), 9, points, |histogram| {
            histogram.number(2, CUMULATIVE);
        });
    }

    fn put(
        &mut self,
        (name, about, unit): (&str, &str, &str),
        field: u32,
        points: impl FnOnce(&mut Metric),
        finish: impl Fn(&mut Writer),
    ) {
        let mut metric = Metric { points: Vec::new(), now: self.now };
        points(&mut metric);
        for points in metric.points {
            let Some(part) = room(&mut self.parts) else { return };
            part.message(METRIC, |out| {
                out.text(1, name);
                out.text(2, about);
                out.text(3, unit);
                out.message(field, |data| {
                    data.raw(points.as_bytes());
                    finish(data);
                });
            });
        }
    }
}

/// The last part, or a new one when that is full.
fn room(parts: &mut Vec<Writer>) -> Option<&mut Writer> {
    if parts.last().is_none_or(|last| last.as_bytes().len() >= PART) {
        parts.push(Writer::default());
    }
    parts.last_mut()
}

fn attributes<'l, L: Into<Label<'l>> + Copy>(field: u32, labels: &[(&str, L)]) -> Attributes {
    let mut attributes = Attributes::of(field);
    for (key, value) in labels {
        match (*value).into() {
            Label::Text(text) => attributes.text(key, text),
            Label::Int(number) => attributes.int(key, number),
            Label::Bool(is) => attributes.bool(key, is),
        };
    }
    attributes
}

impl Metric {
    /// A point of a counter or a gauge; `since` is in nanoseconds since 1970.
    pub fn number<'l, L>(&mut self, labels: &[(&str, L)], since: u64, value: f64)
    where
        L: Into<Label<'l>> + Copy,
    {
        let now = self.now;
        let Some(points) = room(&mut self.points) else { return };
        points.message(1, |point| {
            point.fixed64(2, since);
            point.fixed64(3, now);
            point.double(4, value);
            point.raw(attributes(OF_NUMBER, labels).as_bytes());
        });
    }

    /// A point of a histogram.
    pub fn distribution<'l, L>(&mut self, labels: &[(&str, L)], since: u64, data: &Distribution<'_>)
    where
        L: Into<Label<'l>> + Copy,
    {
        let now = self.now;
        let Some(points) = room(&mut self.points) else { return };
        points.message(1, |point| {
            point.fixed64(2, since);
            point.fixed64(3, now);
            point.fixed64(4, data.counts.iter().sum());
            point.double(5, data.sum);
            point.packed(6, data.counts.iter().copied());
            point.packed(7, data.bounds.iter().map(|bound| bound.to_bits()));
            point.raw(attributes(OF_HISTOGRAM, labels).as_bytes());
            point.double(11, data.range.0);
            point.double(12, data.range.1);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::{Value, fields};
    use super::*;

    fn inner(bytes: &[u8], field: u64) -> Vec<Vec<u8>> {
        let of_field = fields(bytes).into_iter().filter(|(number, _)| *number == field);
        of_field
            .map(|(_, value)| match value {
                Value::Bytes(bytes) => bytes,
                Value::Number(number) => panic!("{number}"),
            })
            .collect()
    }

    #[test]
    fn a_histogram_is_otlps() {
        let mut metrics = Metrics::new(9);
        let data = Distribution { sum: 1.5, range: (0.5, 1.0), counts: &[1, 1], bounds: &[0.75] };
        metrics.histogram("h", "about", |metric| {
            metric.distribution(&[("k", Label::Int(3))], 5, &data);
        });

        let part = metrics.into_parts().next().unwrap();
        let metric = inner(&part, METRIC.into()).remove(0);
        assert_eq!(inner(&metric, 1), [b"h"]);
        assert_eq!(inner(&metric, 3), [b"s"]);
        let histogram = inner(&metric, 9).remove(0);
        assert_eq!(fields(&histogram)[1], (2, Value::Number(CUMULATIVE)));
        let point = inner(&histogram, 1).remove(0);
        let long = |value: u64| Value::Bytes(value.to_le_bytes().to_vec());
        let double = |value: f64| Value::Bytes(value.to_le_bytes().to_vec());
        assert_eq!(
            fields(&point),
            [
                (2, long(5)),
                (3, long(9)),
                (4, long(2)),
                (5, double(1.5)),
                (6, Value::Bytes([1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat())),
                (7, double(0.75)),
                (9, Value::Bytes(b"\x0a\x01k\x12\x02\x18\x03".to_vec())),
                (11, double(0.5)),
                (12, double(1.0)),
            ]
        );
    }

    #[test]
    fn many_points_are_told_in_parts_that_collectors_take() {
        let mut metrics = Metrics::new(1);
        let value = "v".repeat(1000);
        metrics.counter("c", "", |metric| {
            for _ in 0..5000 {
                metric.number(&[("k", &*value)], 0, 1.0);
            }
        });
        metrics.gauge("none", "", "1", |_| {});

        let parts: Vec<_> = metrics.into_parts().collect();

        assert!(parts.iter().all(|part| part.len() < 2 * PART + 2000), "{}", parts.len());
        let points = parts.iter().flat_map(|part| inner(part, METRIC.into())).map(|metric| {
            assert_eq!(inner(&metric, 1), [b"c"]);
            inner(&inner(&metric, 7).remove(0), 1).len()
        });
        assert_eq!(points.sum::<usize>(), 5000);
    }
}
