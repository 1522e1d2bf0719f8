//! A few requests per second to the demo's own project, so that there is something to see.

use std::net::SocketAddr;
use std::time::Duration;

use rand::seq::IndexedRandom;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is asked for: mostly quick, now and then slow, rarely an error.
const PATHS: [&str; 12] = [
    "/",
    "/about",
    "/api/users/me",
    "/api/users/7",
    "/api/users/slow?ms=40",
    "/api/music/albums",
    "/api/music/albums/3",
    "/api/music/bytes?n=20000",
    "/api/music/slow?ms=80",
    "/api/music/slow?ms=250",
    "/api/music/albums/4",
    "/api/music/status/500",
];

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(60);

/// Asks until it is dropped.
pub(super) async fn run(proxy: SocketAddr) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        while open.try_join_next().is_some() {}
        let path = PATHS.choose(&mut rand::rng()).copied().unwrap_or("/");
        open.spawn(async move {
            // Failures show on the dashboard, which is the point.
            let _ = tokio::time::timeout(Duration::from_secs(20), ask(proxy, path)).await;
        });
    }
}

async fn ask(proxy: SocketAddr, path: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(proxy).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {proxy}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0_u8; 16 * 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
