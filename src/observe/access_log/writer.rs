//! The thread that writes lines.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::Message;
use crate::observe::rotate::Sink;

/// Writes what comes, many lines at once. While lines keep coming it looks every few
/// milliseconds instead of waiting, so that senders need not wake it.
pub(super) fn write(lines: &Receiver<Message>, mut sink: Sink) {
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
