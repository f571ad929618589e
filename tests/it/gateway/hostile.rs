//! Clients that mean harm, or are broken: the healthy ones beside them notice nothing.

use std::{io::ErrorKind, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::kit::{Ear, Kit};
use crate::fixtures::{eventually, read};

async fn send(kit: &Kit, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(kit.addr(0)).await.unwrap();
    // The gateway may answer and close before it has read everything.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(40), socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_answered_and_closed() {
    let kit = Kit::shared().await;
    let host = "host: x\r\n";
    let big = format!("GET / HTTP/1.1\r\n{host}x: {}\r\n\r\n", "y".repeat(20_000));
    let many: String = (0..400).map(|n| format!("h{n}: v\r\n")).collect();
    // Shapes of request smuggling: two lengths, a length beside chunks, an obscure coding, a folded line, a bare LF in a name.
    let shapes = [
        (
            format!("POST /api/users HTTP/1.1\r\n{host}content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
            "400",
        ),
        (
            format!(
                "POST /api/users HTTP/1.1\r\n{host}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
            ),
            "4",
        ),
        (format!("POST /api/users HTTP/1.1\r\n{host}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST /api/users HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\nzz\r\n"), "4"),
        (format!("GET / HTTP/1.1\r\n{host}x: a\r\n b\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{host}x y: a\r\n\r\n"), "400"),
        ("GARBAGE\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), "431"),
        (big, "431"),
    ];
    for (bytes, status) in shapes {
        let answer = send(kit, bytes.as_bytes()).await;
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:.120?} got {line:?}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "one answer, no second request: {bytes:.120?} got {answer}"
        );
    }
    // Pipelining is legal: each is answered, in order.
    let two = format!(
        "GET /nothing-1 HTTP/1.1\r\n{host}\r\nGET /nothing-2 HTTP/1.1\r\n{host}connection: close\r\n\r\n"
    );
    assert_eq!(send(kit, two.as_bytes()).await.matches("HTTP/1.1 404").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_are_cut_and_cost_others_nothing() {
    let kit = Kit::shared().await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut ear = Ear::live(&amy, kit.addr(0), None).await;
    let mut slow = Vec::new();
    for seq in 1.. {
        for _ in 0..300 {
            let mut socket = TcpStream::connect(kit.addr(0)).await.unwrap();
            socket.write_all(b"GET /api/me HTTP/1.1\r\nhost: x\r\nx").await.unwrap();
            slow.push(socket);
        }
        kit.say(room, &amy.id, seq, seq).await;
        ear.message(room, seq).await;
        assert_eq!(read(&amy.client, "/api/me").await.status, 200);
        // Served while they dawdle: all of the last ones are still there. Else the machine took ten seconds over that.
        let there = |socket: &TcpStream| {
            socket.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        if slow[slow.len() - 300..].iter().all(there) {
            break;
        }
        assert!(seq < 10, "others are not served before the slow ones are cut");
    }
    for mut socket in slow {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(40), socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the gateway closes it");
    }
    let mut body = TcpStream::connect(kit.addr(0)).await.unwrap();
    let head = "POST /api/users HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nsec-fetch-site: same-origin\r\ncontent-length: 100\r\n\r\n{";
    body.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(40), body.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_stuck_are_told_and_cut_and_the_healthy_hear_everything() {
    let settings = [("PARLEY_STREAM_QUEUE_KIB", "64"), ("PARLEY_MAX_STREAMS_PER_USER", "100")];
    let kit = Kit::own(1, &settings).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let mut healthy = Ear::live(&amy, kit.addr(0), None).await;
    let (mut stuck, mut drips) = (Vec::new(), tokio::task::JoinSet::new());
    let head =
        format!("GET /api/events HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n", amy.client.cookie().unwrap());
    for n in 0..50 {
        // One after another, and again when a busy machine has it come again.
        let mut socket = eventually("a stream", || async {
            let mut socket = TcpStream::connect(kit.addr(0)).await.ok()?;
            socket.write_all(head.as_bytes()).await.ok()?;
            let mut seen = Vec::new();
            while !seen.ends_with(b"\"userId\":\"") {
                seen.push(socket.read_u8().await.ok()?);
            }
            Some(socket)
        })
        .await;
        if n % 5 > 0 {
            stuck.push(socket);
            continue;
        }
        // Every fifth reads, at one byte a second.
        drips.spawn(async move {
            while matches!(socket.read(&mut [0]).await, Ok(1)) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    // More than the sockets' buffers and the queues hold.
    let padding = "x".repeat(8_000);
    let speak = async {
        for seq in 1..=400_i64 {
            let mut event = kit.store(room, &amy.id, seq, seq).remove(0);
            if let parley::wire::Event::Message { message, .. } = &mut event {
                message.push_str(&padding);
            }
            kit.produce(&[event]).await;
        }
    };
    tokio::join!(speak, healthy.message(room, 400));
    assert_eq!(healthy.seqs(room), (1..=400).collect::<Vec<_>>());
    eventually("the stuck ones to be cut", || async {
        let slow = kit.gateways[0].0.metric("parley_sse_closed_total", &["slow"]).await;
        (slow >= 50.0).then_some(())
    })
    .await;
    drop((stuck, drips));
}
