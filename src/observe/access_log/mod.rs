//! The access log: one line per request, written by a thread of its own. A request never
//! waits for it: when the writer is behind, lines are dropped and counted.

mod clf;
mod json;
mod line;
mod record;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Version};
use json::Object;
use line::Fields;

use super::fields::{Filters, Plan};
use super::rotate::{Policy, Sink};
use crate::message::Exchange;
use crate::otlp::{Queue, Record};
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
    /// `None`: nothing is written here.
    lines: Option<SyncSender<Message>>,
    /// What a collector is to be told.
    records: Option<Queue>,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
    tally: Tally,
}

/// Lines so far. It outlives the log, which may change while requests go on.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were to be logged, whether filters kept them or not.
    count: Arc<AtomicU64>,
    /// Lines dropped because the writer was behind.
    pub(super) dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the log and starts its writer; with a queue, lines are for a collector, and written
    /// only if that is asked for, too. The writer ends by itself with the last request that
    /// has this log. Problems are values that were not understood.
    ///
    /// # Errors
    /// The file that can't be opened.
    pub fn start(
        settings: &settings::AccessLog,
        records: Option<Queue>,
        tally: Tally,
    ) -> Result<(Arc<Self>, Vec<Problem>), Problem> {
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
        let is_written = records.is_none() || settings.dual_output;
        let written = is_written.then(|| open(settings)).transpose()?;
        let (lines, writer) = written.unzip();
        let log = Self {
            format,
            plan: Plan::new(&settings.fields),
            filters,
            add_internals: settings.add_internals,
            lines,
            records,
            writer: std::sync::Mutex::new(writer),
            tally,
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
        let count = self.tally.count.fetch_add(1, Relaxed) + 1;
        let retries = line.exchange.served.retries;
        if !self.filters.keep(line.status, retries, line.duration) {
            return;
        }
        let text = match self.format {
            Format::Json => self.json(line, count),
            Format::Common => clf::line(&self.plan, line, self.target(line), Some(count)),
            Format::GenericClf => clf::line(&self.plan, line, self.target(line), None),
        };
        if let Some(records) = &self.records {
            let mut fields = Fields { plan: &self.plan, out: Record::attributes() };
            fields.tell(line, self.target(line), count, "");
            records.put(record::record(line, &text, fields.out), 1);
        }
        if let Some(lines) = &self.lines
            && let Err(TrySendError::Full(_)) = lines.try_send(Message::Line(text))
        {
            self.tally.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Opens the file anew (SIGUSR1).
    pub fn reopen(&self) {
        // A full queue means a stuck writer; it will not be helped by one more message.
        if let Some(lines) = &self.lines {
            let _ = lines.try_send(Message::Reopen);
        }
    }

    /// Writes what is queued and ends the writer; blocks for at most about two seconds.
    pub fn close(&self) {
        let Some(lines) = &self.lines else { return };
        if lines.try_send(Message::End).is_err() {
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

    fn json(&self, line: &Line<'_>, count: u64) -> Vec<u8> {
        let out = Object(Vec::with_capacity(1024));
        let mut fields = Fields { plan: &self.plan, out };
        let now = json::rfc3339_seconds(SystemTime::now());
        fields.tell(line, self.target(line), count, &now);
        let Object(mut out) = fields.out;
        out.extend_from_slice(b"}\n");
        out
    }
}

/// Opens the file and starts its writer.
fn open(settings: &settings::AccessLog) -> Result<(SyncSender<Message>, JoinHandle<()>), Problem> {
    let sink = Sink::open(&settings.file_path, Policy::default()).map_err(|error| {
        let origin = Origin::file(&settings.file_path);
        Problem::error(Code::File, origin, format!("access log file: {error}"))
            .mend("set accessLog.filePath to a file that this user may write")
    })?;
    let queue = usize::try_from(settings.buffering_size).unwrap_or(0).clamp(QUEUE, 1 << 20);
    let (lines, receiver) = sync_channel(queue);
    let writer = std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || writer::write(&receiver, sink))
        .map_err(|error| {
            Problem::error(Code::File, Origin::Internal, format!("access log thread: {error}"))
        })?;
    Ok((lines, writer))
}

/// The client's address, as far as trusted proxies know it.
fn client_host<'a>(line: &Line<'a>) -> std::borrow::Cow<'a, str> {
    match line.forwarded_for {
        Some(hops) if !hops.is_empty() => hops.into(),
        _ => line.exchange.connection.peer.ip().to_string().into(),
    }
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
