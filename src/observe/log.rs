//! Wharf's own log, in Traefik's two formats.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use super::push::nanos;
use super::rotate::{Policy, Sink};
use crate::otlp::{Queue, Record, Severity, Writer};
use crate::problem::{Code, Origin, Problem};
use crate::settings;

/// The log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    form: Mutex<Form>,
    level: reload::Handle<LevelFilter, Registry>,
}

/// How lines are written, and where to.
struct Form {
    sink: Sink,
    json: bool,
    colour: bool,
    /// What a collector is to be told.
    records: Option<Queue>,
}

/// A log that can be begun: everything that can go wrong has gone well.
pub struct Ready {
    form: Form,
    level: LevelFilter,
    /// Values that nobody knows; the defaults are used, as in Traefik.
    pub problems: Vec<Problem>,
}

/// Opens a log; with a queue, a collector is told, too.
///
/// # Errors
/// The file that can't be opened.
pub fn open(settings: Option<&settings::Log>, records: Option<Queue>) -> Result<Ready, Problem> {
    let settings = settings.cloned().unwrap_or_default();
    let mut problems = Vec::new();
    let level = level(&settings.level).unwrap_or_else(|| {
        let text = format!("unknown log level {:?}, using ERROR", settings.level);
        let mend = "use TRACE, DEBUG, INFO, WARN, ERROR, FATAL or PANIC";
        problems.push(Problem::warning(Code::BadValue, Origin::Internal, text).mend(mend));
        LevelFilter::ERROR
    });
    let json = match settings.format.as_str() {
        "json" => true,
        "common" | "" => false,
        other => {
            let text = format!("unknown log format {other:?}, using common");
            let mend = "use common or json";
            problems.push(Problem::warning(Code::BadValue, Origin::Internal, text).mend(mend));
            false
        }
    };
    let sink = Sink::open(&settings.file_path, policy(&settings)).map_err(|error| {
        Problem::error(Code::File, Origin::file(&settings.file_path), format!("log file: {error}"))
            .mend("set log.filePath to a file that this user may write")
    })?;
    let colour =
        matches!(sink, Sink::Stdout) && !settings.no_color && std::io::stdout().is_terminal();
    Ok(Ready { form: Form { sink, json, colour, records }, level, problems })
}

/// Begins the log, or has the one that was begun go on like this. What another thread writes in
/// this moment is in the one or the other, whole.
pub fn begin(ready: Ready) {
    let Ready { form, level, .. } = ready;
    if let Some(log) = LOG.get() {
        *log.form.lock().unwrap_or_else(PoisonError::into_inner) = form;
        // It only fails when the subscriber has gone, which is there for ever.
        let _ = log.level.reload(level);
        return;
    }
    let (filter, handle) = reload::Layer::new(level);
    if LOG.set(Log { form: Mutex::new(form), level: handle }).is_ok() {
        let layer = Lines.with_filter(filter);
        // Somebody else's subscriber (a test's) stays in force.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    }
}

/// Opens the log file anew (SIGUSR1).
pub fn reopen() {
    let Some(log) = LOG.get() else { return };
    let result = log.form.lock().unwrap_or_else(PoisonError::into_inner).sink.reopen();
    if let Err(error) = result {
        tracing::error!(%error, "log file can't be reopened");
    }
}

fn policy(settings: &settings::Log) -> Policy {
    Policy {
        max_bytes: u64::try_from(settings.max_size).unwrap_or(0).saturating_mul(1024 * 1024),
        max_backups: usize::try_from(settings.max_backups).unwrap_or(0),
        max_age: Duration::from_secs(
            u64::try_from(settings.max_age).unwrap_or(0).saturating_mul(24 * 3600),
        ),
        compress: settings.compress,
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    Some(match name.to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARN" | "WARNING" => LevelFilter::WARN,
        "ERROR" | "" | "FATAL" | "PANIC" => LevelFilter::ERROR,
        _ => return None,
    })
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        // Libraries say much that concerns nobody; theirs is shown from WARN, ours as asked.
        if !metadata.target().starts_with("wharf") && *metadata.level() > Level::WARN {
            return;
        }
        let Some(log) = LOG.get() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
        let mut form = log.form.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(records) = &form.records {
            records.put(record(*metadata.level(), &fields), 1);
        }
        let line = if form.json {
            json_line(*metadata.level(), &now, &fields)
        } else {
            common_line(*metadata.level(), &now, &fields, form.colour)
        };
        // A log that can't be written must not stop the proxy.
        let _ = form.sink.write(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else if !field.name().starts_with("log.") {
            self.others.push((field.name(), value));
        }
    }
}

/// As Traefik tells its log: the text is the body, the fields are attributes.
fn record(level: Level, fields: &Fields) -> Vec<u8> {
    let mut attributes = Record::attributes();
    for (key, value) in &fields.others {
        attributes.text(key, value);
    }
    let now = nanos(SystemTime::now());
    let severity = match level {
        Level::TRACE => Severity::Trace,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    };
    let body = &*fields.message;
    let record =
        Record { time: now, observed: now, severity, level: "", body, attributes, span: None };
    let mut out = Writer::default();
    record.write(&mut out);
    out.into_bytes()
}

fn common_line(level: Level, now: &str, fields: &Fields, colour: bool) -> String {
    let (short, code) = match level {
        Level::TRACE => ("TRC", "\x1b[34m"),
        Level::DEBUG => ("DBG", ""),
        Level::INFO => ("INF", "\x1b[32m"),
        Level::WARN => ("WRN", "\x1b[33m"),
        Level::ERROR => ("ERR", "\x1b[31m"),
    };
    let mut line = if colour {
        format!("\x1b[90m{now}\x1b[0m {code}{short}\x1b[0m ")
    } else {
        format!("{now} {short} ")
    };
    push_clean(&mut line, &fields.message);
    for (name, value) in &fields.others {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        if value.is_empty()
            || value.contains([' ', '"', '=', '\\'])
            || value.contains(char::is_control)
        {
            let _ = write!(line, "{value:?}");
        } else {
            line.push_str(value);
        }
    }
    line.push('\n');
    line
}

/// One record is one line, whatever a label or a peer put into it.
fn push_clean(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
}

fn json_line(level: Level, now: &str, fields: &Fields) -> String {
    let mut object = serde_json::Map::new();
    object.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
    for (name, value) in &fields.others {
        object.insert((*name).to_owned(), value.clone().into());
    }
    object.insert("time".to_owned(), now.into());
    object.insert("message".to_owned(), fields.message.clone().into());
    let mut line = serde_json::Value::Object(object).to_string();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields {
            message: "router\nadded".to_owned(),
            others: vec![("routerName", "web@docker".to_owned()), ("error", "no \"x\"".to_owned())],
        }
    }

    #[test]
    fn a_record_is_one_line_of_time_level_message_and_fields() {
        let line = common_line(Level::WARN, "2026-11-21T07:12:29Z", &fields(), false);

        assert_eq!(
            line,
            "2026-11-21T07:12:29Z WRN router\\nadded routerName=web@docker error=\"no \\\"x\\\"\"\n"
        );
    }

    #[test]
    fn json_begins_with_the_level_and_ends_with_the_message() {
        let line = json_line(Level::ERROR, "2026-11-21T07:12:29Z", &fields());

        assert_eq!(
            line,
            "{\"level\":\"error\",\"routerName\":\"web@docker\",\"error\":\"no \\\"x\\\"\",\
             \"time\":\"2026-11-21T07:12:29Z\",\"message\":\"router\\nadded\"}\n"
        );
    }

    #[test]
    fn levels_are_traefiks_in_any_case() {
        assert_eq!(level("debug"), Some(LevelFilter::DEBUG));
        assert_eq!(level("PANIC"), Some(LevelFilter::ERROR));
        assert_eq!(level("loud"), None);
    }
}
