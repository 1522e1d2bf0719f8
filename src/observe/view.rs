//! What one reader of the metrics is shown: which series, and by which bounds. The histograms
//! count by the bounds of all readers; each is told sums for its own.

use crate::settings;

/// Which request series are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    pub(super) entry_points: bool,
    pub(super) routers: bool,
    pub(super) services: bool,
}

/// What one reader is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) shown: Shown,
    /// Upper bounds in seconds, ascending.
    pub(super) bounds: Box<[f64]>,
}

impl View {
    /// A view by the bounds that the user wrote.
    pub(super) fn new(shown: Shown, written: &[f64]) -> Self {
        Self { shown, bounds: merged(&[written]).into() }
    }

    /// The counts by the common bounds, by this view's and for what is above them.
    pub(super) fn buckets(&self, common: &[f64], counts: &[u64]) -> Vec<u64> {
        let below = |bound: &f64| common.iter().filter(|each| *each <= bound).count();
        let ends = self.bounds.iter().map(below).chain([counts.len()]);
        let mut from = 0;
        ends.map(|end| {
            let part = counts.get(from..end).unwrap_or_default();
            from = end;
            part.iter().sum()
        })
        .collect()
    }
}

/// The views of all readers.
pub(super) struct Views {
    /// What the histograms count by, ascending.
    pub(super) bounds: Vec<f64>,
    pub(super) scrape: View,
    pub(super) push: View,
}

/// The views that these settings ask for.
pub(super) fn views(settings: &settings::Metrics) -> Views {
    let is_scraped = settings.prometheus.is_some();
    let prometheus = settings.prometheus.clone().unwrap_or_default();
    let otlp = settings.otlp.as_ref();
    let bounds = match otlp {
        None => merged(&[&prometheus.buckets]),
        Some(otlp) if is_scraped => merged(&[&prometheus.buckets, &otlp.explicit_boundaries]),
        Some(otlp) => merged(&[&otlp.explicit_boundaries]),
    };
    let shown = Shown {
        entry_points: is_scraped && prometheus.add_entry_points_labels,
        routers: is_scraped && prometheus.add_routers_labels,
        services: is_scraped && prometheus.add_services_labels,
    };
    let scrape = View::new(shown, &prometheus.buckets);
    let push = otlp.map_or_else(View::default, |otlp| {
        let shown = Shown {
            entry_points: otlp.add_entry_points_labels,
            routers: otlp.add_routers_labels,
            services: otlp.add_services_labels,
        };
        View::new(shown, &otlp.explicit_boundaries)
    });
    Views { bounds, scrape, push }
}

/// All these bounds, ascending, each once.
fn merged(written: &[&[f64]]) -> Vec<f64> {
    let all = written.iter().flat_map(|bounds| bounds.iter().copied());
    let mut all: Vec<f64> = all.filter(|bound| bound.is_finite()).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_has_the_counts_of_its_own_bounds() {
        let common = merged(&[&[5.0, 0.1, 0.1], &[0.05, 0.1, 1.0, f64::NAN]]);
        assert_eq!(common, [0.05, 0.1, 1.0, 5.0]);
        let counts = [1, 2, 4, 8, 16];

        let view = |written: &[f64]| View::new(Shown::default(), written).buckets(&common, &counts);

        assert_eq!(view(&[0.1, 5.0]), [3, 12, 16]);
        assert_eq!(view(&[1.0, 0.05, 0.1]), [1, 2, 4, 24]);
        assert_eq!(view(&[]), [31]);
    }
}
