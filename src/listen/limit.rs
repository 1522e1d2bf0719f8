//! How many connections there may be.

use crate::settings::Settings;

/// When the system does not say how many files may be open.
const FALLBACK: usize = 1024;

/// `wharf.maxConnections`, else nine tenths of the limit on open files: the rest is for
/// connections to servers, files and the entry point `traefik`.
pub(super) fn connections(settings: &Settings) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = open_files(&limits).unwrap_or(FALLBACK) / 10 * 9;
    match usize::try_from(settings.wharf.max_connections) {
        Ok(wanted) if wanted > 0 => wanted.min(files),
        Ok(_) | Err(_) => files,
    }
}

fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_open_files_is_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   524288   files";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files unlimited unlimited files"), None);
    }
}
