//! What the kernel says of this process, under the names that every exporter uses.

use std::time::SystemTime;

/// `process_*`; a value that can't be read is left out.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<i64>,
    pub(super) virtual_bytes: Option<i64>,
    pub(super) open_fds: Option<i64>,
    pub(super) max_fds: Option<i64>,
    pub(super) threads: Option<i64>,
    pub(super) start_seconds: Option<f64>,
}

/// The kernel's tick for `/proc/self/stat`: `USER_HZ` is 100 on every Linux that Rust targets.
const TICKS: f64 = 100.0;
/// `/proc/self/statm` counts pages; 4 KiB on the platforms that are released.
const PAGE: i64 = 4096;

impl Process {
    pub(super) fn read(started: SystemTime) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/self/stat");
        // The command's name may hold blanks; what follows its bracket is plain.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        let field = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
        let statm = read("/proc/self/statm");
        let pages = |index| statm.split(' ').nth(index).and_then(|text| text.parse::<i64>().ok());
        let limits = read("/proc/self/limits");
        let max_fds = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let since = started.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            cpu_seconds: field(12).zip(field(13)).map(|(user, system)| (user + system) / TICKS),
            resident_bytes: pages(1).map(|pages| pages * PAGE),
            virtual_bytes: pages(0).map(|pages| pages * PAGE),
            open_fds: std::fs::read_dir("/proc/self/fd")
                .ok()
                .and_then(|entries| i64::try_from(entries.count()).ok()),
            max_fds,
            threads: stat_threads(&fields),
            start_seconds: since.ok().map(|since| since.as_secs_f64()),
        }
    }
}

fn stat_threads(fields: &[&str]) -> Option<i64> {
    fields.get(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_threads_and_open_files() {
        let process = Process::read(SystemTime::now());

        assert!(process.resident_bytes.unwrap() > 0);
        assert!(process.threads.unwrap() > 0);
        assert!(process.open_fds.unwrap() > 0);
        assert!(process.max_fds.unwrap() > 0);
        assert!(process.cpu_seconds.is_some());
    }
}
