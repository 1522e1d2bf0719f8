//! The access log: one line per request, written by a thread of its own. A request never
//! waits for it: when the writer is behind, lines are dropped and counted.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Version};
use time::OffsetDateTime;
use time::macros::format_description;

use super::fields::{Filters, Plan};
use super::rotate::{Policy, Sink};
use crate::message::Exchange;
use crate::problem::{Code, Origin, Problem};
use crate::settings;

/// Lines that may wait for the writer.
const QUEUE: usize = 16_384;
/// Longest text of a client's in a line (security.md O3).
const LONGEST: usize = 8 * 1024;

/// Headers that a line will hold, taken when they passed by. Empty unless configured.
#[derive(Clone, Debug, Default)]
pub struct Captured(pub(super) Vec<(String, String)>);

impl Captured {
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("-", |(_, value)| value)
    }
}

/// One finished request.
#[derive(Debug)]
pub struct Line<'a> {
    /// The exchange: client, times, server, retries.
    pub exchange: &'a Exchange,
    /// The method.
    pub method: &'a str,
    /// Path and query in the form that is routed.
    pub target: &'a str,
    /// The protocol version.
    pub version: Version,
    /// `X-Forwarded-For` as trusted proxies gave it: the client, in place of the peer.
    pub forwarded_for: Option<&'a str>,
    /// The host as received, with its port.
    pub host: &'a str,
    /// The router, qualified; `None` when none matched.
    pub router: Option<&'a str>,
    /// The service, qualified.
    pub service: Option<&'a str>,
    /// Status sent; 499 when the client went away; 0 for an ended upgrade.
    pub status: u16,
    /// Body bytes from the client.
    pub request_bytes: u64,
    /// Body bytes to the client.
    pub response_bytes: u64,
    /// From head read to body end.
    pub duration: Duration,
    /// Request headers after the entry point's rewriting.
    pub request_headers: &'a Captured,
    /// The server's response headers.
    pub origin_headers: &'a Captured,
    /// Response headers as sent.
    pub response_headers: &'a Captured,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Common,
    GenericClf,
    Json,
}

enum Message {
    Line(Vec<u8>),
    Reopen,
    End,
}

/// The access log.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    plan: Plan,
    filters: Filters,
    add_internals: bool,
    lines: SyncSender<Message>,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
    count: AtomicU64,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the log and starts its writer. Problems are values that were not understood.
    ///
    /// # Errors
    /// The file that can't be opened.
    pub fn start(settings: &settings::AccessLog) -> Result<(Arc<Self>, Vec<Problem>), Problem> {
        let mut problems = Vec::new();
        let format = match settings.format.as_str() {
            "common" | "" => Format::Common,
            "genericCLF" => Format::GenericClf,
            "json" => Format::Json,
            other => {
                let text = format!(
                    "Unsupported access log format: {other:?}, defaulting to common format instead."
                );
                let problem = Problem::warning(Code::BadValue, Origin::Internal, text);
                problems.push(problem.mend("use common, genericCLF or json"));
                Format::Common
            }
        };
        let (filters, bad) = Filters::new(&settings.filters);
        for text in bad {
            let text = format!("accessLog.filters.statusCodes: {text:?} is no status or range");
            let problem = Problem::warning(Code::BadValue, Origin::Internal, text);
            problems.push(problem.mend("write 404 or 500-599"));
        }
        let sink = Sink::open(&settings.file_path, Policy::default()).map_err(|error| {
            let origin = Origin::file(&settings.file_path);
            Problem::error(Code::File, origin, format!("access log file: {error}"))
                .mend("set accessLog.filePath to a file that this user may write")
        })?;
        let queue = usize::try_from(settings.buffering_size).unwrap_or(0).clamp(QUEUE, 1 << 20);
        let (lines, receiver) = sync_channel(queue);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&receiver, sink))
            .map_err(|error| {
                Problem::error(Code::File, Origin::Internal, format!("access log thread: {error}"))
            })?;
        let log = Self {
            format,
            plan: Plan::new(&settings.fields),
            filters,
            add_internals: settings.add_internals,
            lines,
            writer: std::sync::Mutex::new(Some(writer)),
            count: AtomicU64::new(0),
            dropped,
        };
        Ok((Arc::new(log), problems))
    }

    /// Whether requests to internal services are logged.
    pub fn logs_internals(&self) -> bool {
        self.add_internals
    }

    /// Whether any header is ever in a line.
    pub fn keeps_headers(&self) -> bool {
        !self.plan.drops_headers()
    }

    /// Takes the headers that lines will hold. Costs nothing unless some are kept.
    pub fn capture(&self, headers: &HeaderMap) -> Captured {
        self.plan.capture(headers)
    }

    /// Writes a line, if the filters want it. Never waits.
    pub fn log(&self, line: &Line<'_>) {
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let retries = line.exchange.served.retries;
        if !self.filters.keep(line.status, retries, line.duration) {
            return;
        }
        let text = match self.format {
            Format::Json => self.json(line, count),
            Format::Common | Format::GenericClf => self.clf(line, count),
        };
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(text)) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines dropped so far because the writer was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Opens the file anew (SIGUSR1).
    pub fn reopen(&self) {
        // A full queue means a stuck writer; it will not be helped by one more message.
        let _ = self.lines.try_send(Message::Reopen);
    }

    /// Writes what is queued and ends the writer; blocks for at most about two seconds.
    pub fn close(&self) {
        if self.lines.try_send(Message::End).is_err() {
            return;
        }
        let writer = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
        for _ in 0..200 {
            if writer.is_finished() {
                let _ = writer.join();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn target<'a>(&self, line: &Line<'a>) -> &'a str {
        if self.plan.keep_query {
            return line.target;
        }
        line.target.split_once('?').map_or(line.target, |(path, _)| path)
    }

    fn clf(&self, line: &Line<'_>, count: u64) -> Vec<u8> {
        let exchange = line.exchange;
        let mut out = Vec::with_capacity(256);
        let user = exchange.user.as_deref().unwrap_or("-");
        push_escaped(&mut out, &client_host(line));
        out.extend_from_slice(b" - ");
        push_escaped(&mut out, user);
        let _ = write!(out, " [{}] \"", clf_time(exchange.started_at));
        push_escaped(&mut out, line.method);
        out.push(b' ');
        push_escaped(&mut out, self.target(line));
        let size = line.response_bytes;
        let _ = write!(out, " {:?}\" {} {size} \"", line.version, line.status);
        push_escaped(&mut out, line.request_headers.get("Referer"));
        out.extend_from_slice(b"\" \"");
        push_escaped(&mut out, line.request_headers.get("User-Agent"));
        out.push(b'"');
        if self.format == Format::Common {
            let _ = write!(out, " {count} \"");
            push_escaped(&mut out, line.router.unwrap_or("-"));
            out.extend_from_slice(b"\" \"");
            push_escaped(&mut out, exchange.served.server.as_deref().unwrap_or("-"));
            let _ = write!(out, "\" {}ms", line.duration.as_millis());
        }
        out.push(b'\n');
        out
    }

    fn json(&self, line: &Line<'_>, count: u64) -> Vec<u8> {
        let mut object = Object { out: Vec::with_capacity(1024), plan: &self.plan };
        object.fields(line, self.target(line), count);
        object.out.push(b'}');
        object.out.push(b'\n');
        object.out
    }
}

/// The client's address, as far as trusted proxies know it.
fn client_host<'a>(line: &Line<'a>) -> std::borrow::Cow<'a, str> {
    match line.forwarded_for {
        Some(hops) if !hops.is_empty() => hops.into(),
        _ => line.exchange.connection.peer.ip().to_string().into(),
    }
}

/// A JSON object with its keys in Traefik's (sorted) order.
struct Object<'p> {
    out: Vec<u8>,
    plan: &'p Plan,
}

impl Object<'_> {
    fn fields(&mut self, line: &Line<'_>, target: &str, count: u64) {
        let exchange = line.exchange;
        let peer = exchange.connection.peer;
        let served = &exchange.served;
        let origin = served.first_byte.unwrap_or_default();
        self.text("ClientAddr", &peer.to_string());
        self.text("ClientHost", &client_host(line));
        self.text("ClientPort", &peer.port().to_string());
        self.text("ClientUsername", exchange.user.as_deref().unwrap_or("-"));
        self.number("DownstreamContentSize", line.response_bytes);
        self.number("DownstreamStatus", u64::from(line.status));
        self.number("Duration", nanos(line.duration));
        // As Traefik: 0 where no server was asked.
        self.number("OriginContentSize", served.origin_size.unwrap_or_default());
        self.number("OriginDuration", nanos(origin));
        self.number("OriginStatus", u64::from(served.origin_status.unwrap_or_default()));
        self.number("Overhead", nanos(line.duration.saturating_sub(origin)));
        self.request(line, target, count);
        if let Some(router) = line.router {
            self.text("RouterName", router);
        }
        if let Some(address) = &served.server_address {
            self.text("ServiceAddr", address);
        }
        if let Some(service) = line.service {
            self.text("ServiceName", service);
        }
        if let Some(url) = &served.server {
            self.text("ServiceURL", url);
        }
        let started = rfc3339(exchange.started_at);
        self.text("StartLocal", &started);
        self.text("StartUTC", &started);
        if let Some(tls) = &exchange.connection.tls {
            self.text("TLSCipher", tls.cipher);
            if let Some(subject) = &tls.client_subject {
                self.text("TLSClientSubject", subject);
            }
            self.text("TLSVersion", tls.version);
        }
        self.headers("downstream_", line.response_headers);
        self.always("entryPointName", &exchange.connection.entry_point.name);
        self.always("level", "info");
        self.always("msg", "");
        self.headers("origin_", line.origin_headers);
        self.headers("request_", line.request_headers);
        self.always("time", &rfc3339_seconds(SystemTime::now()));
    }

    fn request(&mut self, line: &Line<'_>, target: &str, count: u64) {
        let (name, port) = split_port(line.host);
        self.text("RequestAddr", line.host);
        self.number("RequestContentSize", line.request_bytes);
        self.number("RequestCount", count);
        self.text("RequestHost", name);
        self.text("RequestMethod", line.method);
        self.text("RequestPath", target);
        self.text("RequestPort", port.unwrap_or("-"));
        self.text("RequestProtocol", &format!("{:?}", line.version));
        self.text(
            "RequestScheme",
            if line.exchange.connection.tls.is_some() { "https" } else { "http" },
        );
        self.number("RetryAttempts", u64::from(line.exchange.served.retries));
    }

    fn headers(&mut self, prefix: &str, headers: &Captured) {
        let mut sorted: Vec<_> = headers.0.iter().collect();
        sorted.sort();
        for (name, value) in sorted {
            self.always(&format!("{prefix}{name}"), value);
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        if self.plan.keeps(key) {
            self.always(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        if self.plan.keeps(key) {
            self.key(key);
            let _ = write!(self.out, "{value}");
        }
    }

    fn always(&mut self, key: &str, value: &str) {
        self.key(key);
        push_json(&mut self.out, clip(value));
    }

    fn key(&mut self, key: &str) {
        self.out.push(if self.out.is_empty() { b'{' } else { b',' });
        push_json(&mut self.out, key);
        self.out.push(b':');
    }
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    // Writing to a vector does not fail.
    let _ = serde_json::to_writer(&mut *out, text);
    if text.contains(['&', '<', '>']) {
        let written = String::from_utf8_lossy(out.get(start..).unwrap_or_default());
        let escaped =
            written.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        out.truncate(start);
        out.extend_from_slice(escaped.as_bytes());
    }
}

/// Quotes, backslashes and control bytes as `\xNN`, so that one record stays one line.
fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in clip(text).bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            _ => out.push(byte),
        }
    }
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, Some(port))
        }
        _ => (host, None),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn clf_time(at: SystemTime) -> String {
    let format =
        format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}

fn rfc3339(at: SystemTime) -> String {
    let format = &time::format_description::well_known::Rfc3339;
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}

fn rfc3339_seconds(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let format = &time::format_description::well_known::Rfc3339;
    at.replace_nanosecond(0).unwrap_or(at).format(format).unwrap_or_default()
}

/// Writes what comes, many lines at once. While lines keep coming it looks every few
/// milliseconds instead of waiting, so that senders need not wake it.
fn write(lines: &Receiver<Message>, mut sink: Sink) {
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut idle = 0;
        while idle < 50 {
            let mut end = false;
            while let Some(message) = next.take().or_else(|| lines.try_recv().ok()) {
                match message {
                    Message::Line(line) => buffer.extend_from_slice(&line),
                    Message::Reopen => report(sink.reopen(), &mut failing),
                    Message::End => end = true,
                }
                if buffer.len() > 256 * 1024 {
                    break;
                }
            }
            idle = if buffer.is_empty() { idle + 1 } else { 0 };
            if !buffer.is_empty() {
                report(sink.write(&buffer), &mut failing);
                buffer.clear();
            }
            if end {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Says once that the log can't be written, and once that it can be again.
fn report(result: std::io::Result<()>, failing: &mut bool) {
    match result {
        Err(error) if !*failing => {
            *failing = true;
            tracing::error!(%error, "access log can't be written; requests go on, lines are lost");
        }
        Ok(()) if *failing => {
            *failing = false;
            tracing::info!("access log is written again");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Instant;

    use super::*;
    use crate::message::{Connection, EntryPoint, Protocol, Served};
    use crate::settings::{AccessLogFields, FieldMode};

    fn exchange() -> Exchange {
        let entry_point = EntryPoint {
            name: "web".into(),
            index: 0,
            port: 80,
            trusted: Some(Box::default()),
            keep_forwarded_for: false,
            connection_fields: Box::default(),
            sanitize_path: true,
            encode_query_semicolons: false,
            refused_escapes: Box::default(),
            is_admin: false,
        };
        let connection = Connection {
            entry_point: Arc::new(entry_point),
            peer: "192.0.2.7:4711".parse().unwrap(),
            local: "192.0.2.1:80".parse().unwrap(),
            peer_value: http::HeaderValue::from_static("192.0.2.7"),
            tls: None,
            trusted: false,
            worker: 0,
            requests: Cell::new(1),
        };
        Exchange {
            connection: Rc::new(connection),
            started: Instant::now(),
            started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_245_083),
            protocol: Protocol::Http,
            secure: false,
            host: "a.test".into(),
            suppress_forwarded_for: false,
            upgrade: None,
            informational: None,
            user: None,
            served: Served {
                server: Some("http://172.18.0.3:80".into()),
                server_address: Some("172.18.0.3:80".into()),
                origin_status: Some(200),
                first_byte: Some(Duration::from_millis(4)),
                ..Served::default()
            },
        }
    }

    fn written(settings: &settings::AccessLog, target: &str) -> String {
        written_of(settings, target, None)
    }

    fn written_of(
        settings: &settings::AccessLog,
        target: &str,
        forwarded_for: Option<&str>,
    ) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let settings = settings::AccessLog {
            file_path: path.to_str().unwrap().to_owned(),
            ..settings.clone()
        };
        let (log, problems) = AccessLog::start(&settings).unwrap();
        assert!(problems.is_empty());
        let exchange = exchange();
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "curl/8".parse().unwrap());
        let captured = log.capture(&headers);
        let none = Captured::default();
        log.log(&Line {
            forwarded_for,
            exchange: &exchange,
            method: "GET",
            target,
            version: Version::HTTP_11,
            host: "a.test:8080",
            router: Some("web@docker"),
            service: Some("web-shop@docker"),
            status: 200,
            request_bytes: 0,
            response_bytes: 271,
            duration: Duration::from_millis(46),
            request_headers: &captured,
            origin_headers: &none,
            response_headers: &none,
        });
        log.close();
        std::fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn the_common_format_is_traefiks() {
        let line = written(&settings::AccessLog::default(), "/x?y=1");

        assert_eq!(
            line,
            "192.0.2.7 - - [21/Nov/2026:07:11:23 +0000] \"GET /x?y=1 HTTP/1.1\" 200 271 \"-\" \"-\" \
             1 \"web@docker\" \"http://172.18.0.3:80\" 46ms\n"
        );
    }

    #[test]
    fn the_client_is_whom_trusted_proxies_name() {
        let line = written_of(&settings::AccessLog::default(), "/", Some("203.0.113.9"));

        assert!(line.starts_with("203.0.113.9 - - "), "{line}");
    }

    #[test]
    fn a_request_can_not_forge_a_line() {
        let line = written(&settings::AccessLog::default(), "/\" 200 1\n10.0.0.1");

        assert_eq!(line.lines().count(), 1);
        assert!(line.contains(r"/\x22 200 1\x0a10.0.0.1"), "{line}");
    }

    #[test]
    fn json_holds_traefiks_fields_sorted_and_drops_what_is_told() {
        let mut fields = AccessLogFields::default();
        fields.names.insert("ClientUsername".to_owned(), FieldMode::Drop);
        fields.headers.default_mode = FieldMode::Keep;
        fields.query_parameters.default_mode = FieldMode::Drop;
        let settings =
            settings::AccessLog { format: "json".to_owned(), fields, ..Default::default() };

        let line = written(&settings, "/a&b?secret=1");
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line).unwrap();

        assert!(line.contains("\"RequestPath\":\"/a\\u0026b\""), "{line}");
        let keys: Vec<_> = object.keys().cloned().collect();
        let mut sorted = keys.clone();
        sorted.sort();
        assert_eq!(keys, sorted);
        assert!(!object.contains_key("ClientUsername"));
        for (key, value) in [
            ("Duration", serde_json::json!(46_000_000)),
            ("Overhead", serde_json::json!(42_000_000)),
            ("RequestHost", serde_json::json!("a.test")),
            ("RequestPort", serde_json::json!("8080")),
            ("RouterName", serde_json::json!("web@docker")),
            ("ServiceURL", serde_json::json!("http://172.18.0.3:80")),
            ("entryPointName", serde_json::json!("web")),
            ("request_User-Agent", serde_json::json!("curl/8")),
            ("StartUTC", serde_json::json!("2026-11-21T07:11:23Z")),
        ] {
            assert_eq!(object.get(key), Some(&value), "{key}");
        }
    }
}
