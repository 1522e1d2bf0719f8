//! `exec`: a program of the operator's, called as lego calls it:
//! `EXEC_PATH present|cleanup <fqdn> <value>`.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::Record;
use super::variables::{Patience, Variables};

/// For the program to end.
const LIMIT: Duration = Duration::from_secs(120);
/// Of its words, kept for the error.
const WORDS: u64 = 1024;

/// The program.
#[derive(Debug)]
pub(super) struct Exec {
    path: String,
    pub(super) patience: Patience,
}

impl Exec {
    pub(super) fn new(variables: &Variables<'_>) -> Result<Self, String> {
        let path = variables
            .text("PATH")?
            .ok_or("dnsChallenge.provider exec: set EXEC_PATH to the program to run")?;
        if variables.text("MODE")?.is_some_and(|mode| mode.eq_ignore_ascii_case("raw")) {
            return Err("dnsChallenge.provider exec: EXEC_MODE=RAW is not built; unset it".into());
        }
        // Read so that a typing error is told; nothing here has to wait for another.
        variables.seconds("SEQUENCE_INTERVAL", 60)?;
        Ok(Self { path, patience: variables.patience()? })
    }

    pub(super) async fn run(&self, what: &str, record: &Record) -> Result<(), String> {
        let Self { path, .. } = self;
        let mut child = Command::new(path)
            .args([what, &record.name, &record.value])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("EXEC_PATH {path}: {error}"))?;
        let words = child.stderr.take();
        let run = async {
            let mut said = Vec::new();
            if let Some(words) = words {
                let mut words = words.take(WORDS);
                let _ = words.read_to_end(&mut said).await;
                // What is more is read and dropped, so that nothing waits for us.
                let _ = tokio::io::copy(&mut words.into_inner(), &mut tokio::io::sink()).await;
            }
            (child.wait().await, said)
        };
        let (status, said) = tokio::time::timeout(LIMIT, run)
            .await
            .map_err(|_| format!("EXEC_PATH {path} {what}: did not end within {LIMIT:?}"))?;
        let status = status.map_err(|error| format!("EXEC_PATH {path} {what}: {error}"))?;
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&said);
        let said: String = said.trim().chars().filter(|letter| !letter.is_control()).collect();
        Err(format!("EXEC_PATH {path} {what}: {status}: {said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(domain: &str, authorization: &str) -> Record {
        let name = super::super::challenge_name(domain);
        Record::of(domain, name, authorization)
    }

    fn exec(script: &str) -> (tempfile::TempDir, Exec) {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let path = path.to_str().unwrap().to_owned();
        let environment = move |name: &str| (name == "EXEC_PATH").then(|| path.clone());
        let exec = Exec::new(&Variables::new(&environment, &["EXEC_"])).unwrap();
        (directory, exec)
    }

    #[tokio::test]
    async fn the_program_gets_what_lego_gives_it() {
        let (directory, exec) = exec("echo \"$@\" > \"$(dirname \"$0\")/said\"");
        let record = record("*.example.org", "t.thumb");

        exec.run("present", &record).await.unwrap();

        let said = std::fs::read_to_string(directory.path().join("said")).unwrap();
        assert_eq!(said.trim(), format!("present _acme-challenge.example.org. {}", record.value));
    }

    #[tokio::test]
    async fn what_it_says_when_it_fails_is_passed_on() {
        let (_directory, exec) = exec("echo no such zone >&2; exit 3");

        let error = exec.run("cleanup", &record("a.org", "t")).await.unwrap_err();

        assert!(error.ends_with("cleanup: exit status: 3: no such zone"), "{error}");
        let none = Exec::new(&Variables::new(&|_| None, &["EXEC_"]));
        assert!(none.unwrap_err().contains("EXEC_PATH"));
    }
}
