//! Small plots as inline SVG. Only numbers go in, so the text needs no escaping.

use std::fmt::Write;

use crate::observe::{HISTORY_SECONDS, Point};

/// Drawing units; the page scales them.
const WIDTH: f32 = 240.0;
const HEIGHT: f32 = 56.0;
/// Room for the line's own width.
const MARGIN: f32 = 2.0;

/// A series of one value per second.
pub(super) struct Series {
    /// For screen readers: `requests per second`.
    pub(super) label: &'static str,
    /// Colours it: `rate`, `errors`, `time`.
    pub(super) class: &'static str,
    /// Oldest first.
    pub(super) values: Vec<f32>,
    /// The scale goes at least this high, so that noise does not look like a mountain.
    pub(super) least: f32,
    pub(super) unit: Unit,
}

/// How values print.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    PerSecond,
    Percent,
    Seconds,
}

impl Unit {
    pub(super) fn text(self, value: f32) -> String {
        match self {
            Self::PerSecond if value >= 10_000.0 => format!("{:.1}k/s", value / 1000.0),
            Self::PerSecond if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}/s"),
            Self::PerSecond => format!("{value:.1}/s"),
            Self::Percent if value > 0.0 && value < 10.0 => format!("{value:.1}%"),
            Self::Percent => format!("{value:.0}%"),
            Self::Seconds => seconds(value),
        }
    }
}

fn seconds(value: f32) -> String {
    if value <= 0.0 {
        "\u{2013}".to_owned()
    } else if value < 0.001 {
        format!("{:.0} \u{b5}s", value * 1e6)
    } else if value < 0.01 {
        format!("{:.1} ms", value * 1e3)
    } else if value < 1.0 {
        format!("{:.0} ms", value * 1e3)
    } else {
        format!("{value:.1} s")
    }
}

/// The three plots of a service, or of all together.
pub(super) struct Plots {
    pub(super) rate: Series,
    pub(super) errors: Series,
    pub(super) time: Series,
}

/// The seconds that the figures of now are taken over: one would jump about.
const NOW: usize = 5;

impl Plots {
    pub(super) fn new(points: &[Point]) -> Self {
        let as_f32 = |count: u32| {
            #[expect(clippy::cast_precision_loss, reason = "a plot has 56 steps")]
            let value = count as f32;
            value
        };
        let share = |point: &Point| match point.requests {
            0 => 0.0,
            requests => as_f32(point.errors) / as_f32(requests) * 100.0,
        };
        Self {
            rate: Series {
                label: "requests per second",
                class: "rate",
                values: points.iter().map(|point| as_f32(point.requests)).collect(),
                least: 4.0,
                unit: Unit::PerSecond,
            },
            errors: Series {
                label: "answered with 5xx, percent",
                class: "errors",
                values: points.iter().map(share).collect(),
                least: 10.0,
                unit: Unit::Percent,
            },
            time: Series {
                label: "duration, 95th percentile",
                class: "time",
                values: points.iter().map(|point| point.p95).collect(),
                least: 0.005,
                unit: Unit::Seconds,
            },
        }
    }

    /// Requests per second now.
    pub(super) fn rate_now(&self) -> String {
        self.rate.unit.text(mean(last(&self.rate.values)))
    }

    /// Share of errors now, weighted by the requests.
    pub(super) fn errors_now(&self) -> String {
        let weighted = last(&self.errors.values).iter().zip(last(&self.rate.values));
        let errors: f32 = weighted.map(|(share, rate)| share * rate).sum();
        let requests: f32 = last(&self.rate.values).iter().sum();
        if requests == 0.0 {
            return "\u{2013}".to_owned();
        }
        self.errors.unit.text(errors / requests)
    }

    /// Whether there were errors in the last seconds.
    pub(super) fn has_errors_now(&self) -> bool {
        last(&self.errors.values).iter().any(|share| *share > 0.0)
    }

    /// The 95th percentile now: the highest of the last seconds.
    pub(super) fn time_now(&self) -> String {
        self.time.unit.text(last(&self.time.values).iter().copied().fold(0.0, f32::max))
    }
}

fn last(values: &[f32]) -> &[f32] {
    values.get(values.len().saturating_sub(NOW)..).unwrap_or(&[])
}

fn mean(values: &[f32]) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "there are five")]
    let count = values.len().max(1) as f32;
    // An empty sum of floats is -0.
    values.iter().fold(0.0, |sum, value| sum + value) / count
}

impl Series {
    /// The highest value.
    pub(super) fn peak(&self) -> String {
        self.unit.text(self.values.iter().copied().fold(0.0, f32::max))
    }

    /// The plot; new values come in at the right.
    pub(super) fn svg(&self) -> String {
        let is_flat = self.values.iter().all(|value| *value == 0.0);
        let mut svg = format!(
            "<svg class=\"plot plot-{}{}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}, highest {}\">",
            self.class,
            if is_flat { " flat" } else { "" },
            self.label,
            self.peak()
        );
        let line = self.line();
        if line.is_empty() {
            let base = HEIGHT - MARGIN;
            let _ = write!(svg, "<path class=\"line idle\" d=\"M0 {base}H{WIDTH}\"/>");
        } else {
            let start = line.split_once(' ').map_or("0", |(x, _)| x);
            let _ = write!(
                svg,
                "<path class=\"area\" d=\"M{start} {HEIGHT}L{line}L{WIDTH} {HEIGHT}Z\"/>\
                 <path class=\"line\" d=\"M{line}\"/>"
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// `x yLx yL...`
    fn line(&self) -> String {
        let highest = self.values.iter().copied().fold(self.least, f32::max);
        #[expect(clippy::cast_precision_loss, reason = "there are 120")]
        let step = WIDTH / (HISTORY_SECONDS.max(2) - 1) as f32;
        let skipped = HISTORY_SECONDS.saturating_sub(self.values.len());
        let mut line = String::with_capacity(self.values.len() * 12);
        for (index, value) in self.values.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "there are 120")]
            let x = (index + skipped) as f32 * step;
            let y = HEIGHT - MARGIN - value / highest * (HEIGHT - 2.0 * MARGIN);
            if index > 0 {
                line.push('L');
            }
            let _ = write!(line, "{x:.1} {y:.1}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(requests: &[u32]) -> Vec<Point> {
        requests
            .iter()
            .map(|requests| Point { requests: *requests, errors: requests / 2, p95: 0.02 })
            .collect()
    }

    #[test]
    fn figures_of_now_are_means_of_the_last_seconds() {
        let plots = Plots::new(&points(&[1000, 10, 10, 20, 10, 0]));

        assert_eq!(plots.rate_now(), "10/s");
        assert_eq!(plots.errors_now(), "50%");
        assert_eq!(plots.time_now(), "20 ms");
        assert_eq!(plots.rate.peak(), "1000/s");
    }

    #[test]
    fn a_service_without_history_has_a_flat_line_and_no_figures() {
        let plots = Plots::new(&[]);

        assert!(plots.rate.svg().contains("idle"));
        assert_eq!(plots.errors_now(), "\u{2013}");
        assert_eq!(plots.time_now(), "\u{2013}");
    }

    #[test]
    fn the_newest_value_is_at_the_right_edge() {
        let svg = Plots::new(&points(&[1, 8])).rate.svg();

        assert!(svg.contains("M238.0 47.5L240.0 2.0\""), "{svg}");
    }
}
