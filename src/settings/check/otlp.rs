//! OpenTelemetry's options.

use super::Check;
use crate::problem::Code;
use crate::settings::{CollectorGrpc, CollectorHttp, MetricsOtlp, Settings};

impl Check<'_> {
    pub(super) fn otlp(&mut self, settings: &Settings) {
        if let Some(traces) = settings.tracing.as_ref().and_then(|traces| traces.otlp.as_ref()) {
            self.collector("tracing.otlp", traces.http.as_ref(), traces.grpc.as_ref());
        }
        if let Some(metrics) = &settings.metrics.otlp {
            self.collector("metrics.otlp", metrics.http.as_ref(), metrics.grpc.as_ref());
            self.pushed(metrics);
        }
        let log = settings.log.as_ref().and_then(|log| log.otlp.as_ref());
        let access_log = settings.access_log.as_ref().and_then(|log| log.otlp.as_ref());
        for (option, logs) in [("log.otlp", log), ("accessLog.otlp", access_log)] {
            let Some(logs) = logs else { continue };
            self.collector(option, logs.http.as_ref(), logs.grpc.as_ref());
            if !settings.experimental.otlplogs {
                // As Traefik, which does not start either.
                let text = "needs experimental.otlplogs: set it to true";
                self.error(Code::BadValue, option, text);
            }
        }
        if let Some(access_log) = settings.access_log.as_ref().filter(|log| log.otlp.is_none())
            && access_log.dual_output
        {
            let text = "has no effect without accessLog.otlp: the log is written anyway";
            self.warn("accessLog.dualOutput", text, "remove it");
        }
    }

    fn collector(
        &mut self,
        option: &str,
        http: Option<&CollectorHttp>,
        grpc: Option<&CollectorGrpc>,
    ) {
        let Some(grpc) = grpc else { return };
        if http.is_some() {
            // As Traefik, which says nothing.
            let text = "`http` is not used, since `grpc` is set";
            self.warn(&format!("{option}.http"), text, "keep one of the two");
        }
        if grpc.insecure && grpc.tls.is_some() {
            let text = "`insecure` turns TLS off, and `tls` is set; remove one of the two";
            self.error(Code::Conflict, &format!("{option}.grpc.insecure"), text);
        }
    }

    fn pushed(&mut self, metrics: &MetricsOtlp) {
        let bounds = &metrics.explicit_boundaries;
        let is_sorted = bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        if !is_sorted || !bounds.iter().all(|bound| bound.is_finite()) {
            let text = "takes bounds in growing order, such as 0.1,0.3,1.2,5.0";
            self.error(Code::BadValue, "metrics.otlp.explicitBoundaries", text);
        }
        if metrics.push_interval.positive().is_none() {
            // As Traefik, which says nothing.
            let text = "is no time to wait: metrics are pushed every 60s";
            self.warn("metrics.otlp.pushInterval", text, "write a time such as 10s");
        }
    }
}
