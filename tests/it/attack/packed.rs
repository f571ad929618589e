use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::json;

use super::raw;
use crate::{
    fixtures::{Chat, read, unique},
    path::user,
};

/// What gzip makes of this text.
fn gzip(text: String) -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    let mut gzip = gzip.arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip runs");
    let mut input = gzip.stdin.take().expect("a pipe");
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = gzip.wait_with_output().expect("gzip ends");
    writing.join().expect("it ends").expect("gzip reads all");
    output.stdout
}

/// The most memory that a process had so far, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// A body within the limit of 32 KiB that is 25 MiB of good JSON when it is unpacked: whoever unpacks it takes it for a change of
/// status, or pays for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_not_unpacked() {
    let running = Chat::shared().await;
    let (gateway, addr) = &running.gateways[0];
    let client = user(*addr, &unique("bomb")).await;
    let bomb = gzip(format!("{{\"status\": \"unpacked\"{}}}", " ".repeat(25 << 20)));
    assert!(bomb.starts_with(&[0x1f, 0x8b]) && bomb.len() < 32 << 10, "{} bytes", bomb.len());
    let cookie = client.cookie().expect("a session");
    let before = peak(gateway.pid());
    let mut sending = tokio::task::JoinSet::new();
    for coding in ["gzip", "x-gzip", "gzip, gzip", "identity, gzip"].into_iter().cycle().take(40) {
        let (addr, cookie, bomb) = (*addr, cookie.clone(), bomb.clone());
        sending.spawn(async move {
            let headers = [
                ("cookie", cookie.as_str()),
                ("sec-fetch-site", "same-origin"),
                ("content-type", "application/json"),
                ("content-encoding", coding),
                ("prefer", "wait=5"),
            ];
            let (status, text) = raw(addr, "PUT /api/me/status", &headers, &bomb).await;
            assert!((400..500).contains(&status), "{coding}: {text}");
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("it is refused");
    }
    // Forty of them unpacked are a gibibyte; tests beside this one take some.
    let risen = peak(gateway.pid()).saturating_sub(before) >> 10;
    assert!(risen < 100, "the gateway took {risen} MiB more");
    assert_ne!(read(&client, "/api/me").await.json()["userStatus"], json!("unpacked"));
}
