//! `wharf version`.

/// Traefik's five aligned lines, for scripts that read them.
pub(super) fn text() -> String {
    let rust = option_env!("RUSTUP_TOOLCHAIN").unwrap_or(env!("CARGO_PKG_RUST_VERSION"));
    let rust = rust.split('-').next().unwrap_or(rust);
    let built = option_env!("WHARF_BUILT").unwrap_or("unknown");
    format!(
        "Version:      {}\n\
         Codename:     quay\n\
         Rust version: {rust}\n\
         Built:        {built}\n\
         OS/Arch:      {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        architecture(std::env::consts::ARCH),
    )
}

/// The name that images and Traefik's users know.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn five_lines_are_aligned_as_traefiks() {
        let text = super::text();

        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        for line in lines {
            let (name, value) = line.split_at(14);
            assert!(name.trim_end().ends_with(':') && !value.starts_with(' '), "{line}");
        }
    }
}
