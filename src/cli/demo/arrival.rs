//! Watches the certificates of the demo come, as anybody could: over the API.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Longest answer read.
const MOST: u64 = 1 << 20;

/// Says of each certificate once that it has come, or why not; never returns.
pub(super) async fn tell(dashboard: SocketAddr, say: impl Fn(&str)) {
    let began = Instant::now();
    let mut told: Vec<String> = Vec::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(all) =
            tokio::time::timeout(Duration::from_secs(5), ask(dashboard)).await.ok().flatten()
        else {
            continue;
        };
        for text in news(&all) {
            if !told.contains(&text) {
                say(&format!("{text} (after {:.1} s)", began.elapsed().as_secs_f32()));
                told.push(text);
            }
        }
    }
}

/// What is to be said of `/api/wharf/certificates`.
fn news(all: &Value) -> Vec<String> {
    let resolvers = all.as_object().into_iter().flat_map(|all| all.values());
    let entries = resolvers.filter_map(|one| one.get("certificates")?.as_array()).flatten();
    let news = entries.filter_map(|one| {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        let name = one.get("domains")?.get(0)?.as_str()?;
        match text("state") {
            "valid" => Some(format!("{name} has its certificate, by {}", text("issuer"))),
            "failed" => Some(format!("{name} has no certificate yet: {}", text("error"))),
            _ => None,
        }
    });
    news.collect()
}

async fn ask(dashboard: SocketAddr) -> Option<Value> {
    let mut stream = TcpStream::connect(dashboard).await.ok()?;
    let head = format!(
        "GET /api/wharf/certificates HTTP/1.0\r\nHost: {dashboard}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_failed_is_told() {
        let all = serde_json::json!({ "demo": { "certificates": [
            { "domains": ["a.test", "b.test"], "state": "valid", "issuer": "Pebble" },
            { "domains": ["c.test"], "state": "ordering" },
            { "domains": ["d.test"], "state": "failed", "error": "connection refused" },
        ] } });

        assert_eq!(
            news(&all),
            [
                "a.test has its certificate, by Pebble",
                "d.test has no certificate yet: connection refused",
            ]
        );
        assert_eq!(news(&serde_json::json!([])), [] as [&str; 0]);
    }
}
