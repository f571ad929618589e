//! Thousands of connections at once that want nothing.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::kit::{Ear, Kit};
use crate::fixtures::{DEADLINE, read};

/// Connections; this program and the gateway may have 20,000 files each.
const MANY: usize = 4_000;

/// Resident memory of the gateway in MiB.
fn resident(kit: &Kit) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", kit.gateways[0].0.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_costs_little_memory_and_healthy_clients_are_served() {
    let kit = Kit::own(1, &[]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    let before = resident(&kit);
    let mut flood = JoinSet::new();
    for n in 0..MANY {
        let addr = kit.addr(0);
        flood.spawn(async move {
            let mut socket = TcpStream::connect(addr).await.ok()?;
            // A third says nothing, a third half of a request, a third leaves at once.
            match n % 3 {
                0 => {}
                1 => socket.write_all(b"GET /api/me HTTP/1.1\r\nhost: x\r\n").await.ok()?,
                _ => return None,
            }
            Some(socket)
        });
    }
    kit.say(room, &amy.id, 1, 1).await;
    ear.message(room, 1).await;
    let held: Vec<TcpStream> = flood.join_all().await.into_iter().flatten().collect();
    assert!(held.len() > MANY / 2, "{} connections are there", held.len());
    assert_eq!(read(&amy.client, "/api/me").await.status, 200, "served beside them");
    kit.say(room, &amy.id, 2, 2).await;
    ear.message(room, 2).await;
    let grown = resident(&kit).saturating_sub(before);
    assert!(grown < 120, "{grown} MiB for {} connections", held.len());
    // Those that say nothing are sent away by themselves.
    let ended = async {
        for socket in &held {
            let mut byte = [0];
            while !matches!(socket.peek(&mut byte).await, Ok(0) | Err(_)) {
                // The answer to half a request is not read here: only its end is waited for.
                if socket.try_read(&mut [0; 512]).is_err() {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the gateway closes what says nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_wait_until_others_end() {
    let kit = Kit::own(1, &[("PARLEY_MAX_CONNECTIONS", "2")]).await;
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let first = Ear::live(&amy, kit.addr(0), None).await;
    let _second = Ear::live(&ben, kit.addr(0), None).await;
    let mut third = TcpStream::connect(kit.addr(0)).await.unwrap();
    third.write_all(b"GET /api/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let none = tokio::time::timeout(Duration::from_secs(1), third.read_to_string(&mut answer)).await;
    assert!(none.is_err() && answer.is_empty(), "{answer}");
    drop(first);
    let read = tokio::time::timeout(DEADLINE, third.read_to_string(&mut answer)).await;
    read.expect("it is served at last").unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
