//! Entry points.

use serde_json::{Value, json};

use super::Object;
use crate::settings::{EncodedCharacters, EntryPoint, EntryPointHttp, GoDuration, Settings};

/// All entry points by name.
pub(in crate::api) fn entry_points(settings: &Settings) -> Vec<Value> {
    settings.entry_points.iter().map(|(name, entry)| entry_point(name, entry)).collect()
}

/// One entry point; zero values are left out, as Go does.
pub(in crate::api) fn entry_point(name: &str, entry: &EntryPoint) -> Value {
    let mut object = Object::default();
    object.put("address", &entry.address);
    put_true(&mut object, "asDefault", entry.as_default);
    put_true(&mut object, "allowACMEByPass", entry.allow_acme_by_pass);
    put_true(&mut object, "reusePort", entry.reuse_port);
    object.put("transport", transport(entry));
    if let Some(proxy) = &entry.proxy_protocol {
        let mut section = Object::default();
        put_true(&mut section, "insecure", proxy.insecure);
        section.put_list("trustedIPs", &proxy.trusted_ips);
        object.put("proxyProtocol", section.into_value());
    }
    let forwarded = &entry.forwarded_headers;
    let mut section = Object::default();
    put_true(&mut section, "insecure", forwarded.insecure);
    section.put_list("trustedIPs", &forwarded.trusted_ips);
    section.put_list("connection", &forwarded.connection);
    put_true(&mut section, "notAppendXForwardedFor", forwarded.not_append_x_forwarded_for);
    object.put("forwardedHeaders", section.into_value());
    object.put("http", http(&entry.http));
    object.put(
        "http2",
        json!({
            "maxConcurrentStreams": entry.http2.max_concurrent_streams,
            "maxDecoderHeaderTableSize": entry.http2.max_decoder_header_table_size,
            "maxEncoderHeaderTableSize": entry.http2.max_encoder_header_table_size,
        }),
    );
    object.put("udp", json!({ "timeout": "3s" }));
    if let Some(observability) = &entry.observability {
        object.put("observability", observability);
    }
    object.put("name", name);
    object.into_value()
}

fn transport(entry: &EntryPoint) -> Value {
    let mut life = Object::default();
    let cycle = &entry.transport.life_cycle;
    put_span(&mut life, "requestAcceptGraceTimeout", cycle.request_accept_grace_timeout);
    put_span(&mut life, "graceTimeOut", cycle.grace_time_out);
    let mut limits = Object::default();
    let times = &entry.transport.responding_timeouts;
    put_span(&mut limits, "readTimeout", times.read_timeout.unwrap_or_default());
    put_span(&mut limits, "writeTimeout", times.write_timeout);
    put_span(&mut limits, "idleTimeout", times.idle_timeout);

    let mut object = Object::default();
    object.put("lifeCycle", life.into_value());
    object.put("respondingTimeouts", limits.into_value());
    put_span(&mut object, "keepAliveMaxTime", entry.transport.keep_alive_max_time);
    if entry.transport.keep_alive_max_requests != 0 {
        object.put("keepAliveMaxRequests", entry.transport.keep_alive_max_requests);
    }
    object.into_value()
}

fn http(http: &EntryPointHttp) -> Value {
    let mut object = Object::default();
    if let Some(to) = http.redirections.as_ref().and_then(|all| all.entry_point.as_ref()) {
        let mut section = Object::of(to);
        if !to.permanent {
            section.remove("permanent");
        }
        object.put("redirections", json!({ "entryPoint": section.into_value() }));
    }
    object.put_list("middlewares", &http.middlewares);
    if let Some(tls) = &http.tls {
        let mut section = Object::default();
        section.put_text("options", &tls.options);
        section.put_text("certResolver", &tls.cert_resolver);
        if !tls.domains.is_empty() {
            section.put("domains", &tls.domains);
        }
        object.put("tls", section.into_value());
    }
    if http.encoded_characters != EncodedCharacters::default() {
        object.put("encodedCharacters", encoded_characters(&http.encoded_characters));
    }
    put_true(&mut object, "encodeQuerySemicolons", http.encode_query_semicolons);
    object.put("sanitizePath", http.sanitize_path);
    if http.max_header_bytes != 0 {
        object.put("maxHeaderBytes", http.max_header_bytes);
    }
    if let Some(strategy) = http.alias_headers_strategy {
        object.put("aliasHeadersStrategy", strategy);
    }
    if let Some(strategy) = http.underscore_headers_strategy {
        object.put("underscoreHeadersStrategy", strategy);
    }
    object.into_value()
}

fn encoded_characters(allowed: &EncodedCharacters) -> Value {
    let mut section = Object::default();
    for (key, is_allowed) in [
        ("allowEncodedSlash", allowed.allow_encoded_slash),
        ("allowEncodedBackSlash", allowed.allow_encoded_back_slash),
        ("allowEncodedNullCharacter", allowed.allow_encoded_null_character),
        ("allowEncodedSemicolon", allowed.allow_encoded_semicolon),
        ("allowEncodedPercent", allowed.allow_encoded_percent),
        ("allowEncodedQuestionMark", allowed.allow_encoded_question_mark),
        ("allowEncodedHash", allowed.allow_encoded_hash),
    ] {
        put_true(&mut section, key, is_allowed);
    }
    section.into_value()
}

fn put_true(object: &mut Object, key: &str, value: bool) {
    if value {
        object.put(key, true);
    }
}

fn put_span(object: &mut Object, key: &str, span: GoDuration) {
    if span != GoDuration::default() {
        object.put(key, span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answer::json_text;

    #[test]
    fn an_entry_point_leaves_out_what_is_zero() {
        let entry = EntryPoint { address: ":21100".to_owned(), ..EntryPoint::default() };

        assert_eq!(
            json_text(&entry_point("web", &entry)),
            r#"{"address":":21100","transport":{"lifeCycle":{"graceTimeOut":"10s"},"respondingTimeouts":{"idleTimeout":"3m0s"}},"forwardedHeaders":{},"http":{"sanitizePath":true,"maxHeaderBytes":1048576},"http2":{"maxConcurrentStreams":250,"maxDecoderHeaderTableSize":4096,"maxEncoderHeaderTableSize":4096},"udp":{"timeout":"3s"},"name":"web"}"#
        );
    }

    #[test]
    fn what_was_said_of_paths_and_redirections_is_shown_as_in_traefik() {
        let mut entry = EntryPoint::default();
        entry.http.sanitize_path = false;
        entry.http.encoded_characters.allow_encoded_hash = false;

        let shown = entry_point("web", &entry);

        assert_eq!(shown["http"]["sanitizePath"], false);
        assert_eq!(shown["http"]["encodedCharacters"]["allowEncodedSlash"], true);
        assert!(shown["http"]["encodedCharacters"].get("allowEncodedHash").is_none());
    }
}
