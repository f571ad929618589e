//! A client that vanishes without a word: its machine is switched off, its network is gone. Nothing tells the gateway but that
//! nobody confirms what it sends.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::kit::{Ear, Kit};
use crate::fixtures::{DEADLINE, eventually, free_ports};

/// A network of two, one of them in a namespace of its own. Gone when dropped.
struct Wire {
    name: String,
    here: String,
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip runs");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Wire {
    fn new() -> Self {
        let id = std::process::id() % 16_000;
        // Of the range for benchmarks (RFC 2544), which no network of this machine uses.
        let address = |host: u32| format!("198.18.{}.{}", id / 63, id % 63 * 4 + host);
        let (name, link) = (format!("parley-gone-{id}"), format!("pg{id}"));
        let wire = Self { name: name.clone(), here: address(1) };
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "far", "netns", &name]);
        ip(&["addr", "add", &format!("{}/30", address(1)), "dev", &link]);
        ip(&["link", "set", &link, "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{}/30", address(2)), "dev", "far"]);
        ip(&["-n", &name, "link", "set", "far", "up"]);
        wire
    }

    fn cut(&self) {
        ip(&["-n", &self.name, "link", "set", "far", "down"]);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The link goes with the namespace that one of its ends is in.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanished_is_noticed_long_before_its_streams_life_ends() {
    let wire = Wire::new();
    let port = free_ports(1);
    let listen = format!("0.0.0.0:{port}");
    let mut kit = Kit::own(0, &[]).await;
    let (gateway, _) = kit.chat.gateway(&[
        ("PARLEY_LISTEN_ADDR", &listen),
        ("PARLEY_HEARTBEAT_SECONDS", "1"),
        ("PARLEY_STREAM_QUEUE_SECONDS", "1"),
    ]);
    kit.gateways.push((gateway.ready().await, SocketAddr::from(([127, 0, 0, 1], port))));
    let (amy, ben) = (kit.person("amy"), kit.person("ben"));
    let mut healthy = Ear::live(&ben, kit.addr(0), None).await;
    let mut curl = tokio::process::Command::new("ip")
        .args(["netns", "exec", &wire.name, "curl", "--silent", "--no-buffer"])
        .args(["--header", &format!("cookie: {}", amy.client.cookie().unwrap())])
        .arg(format!("http://{}:{port}/api/events", wire.here))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("curl runs");
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("a line in time").unwrap();
        if line.expect("the stream goes on").contains("event: hello") {
            break;
        }
    }
    wire.cut();
    eventually("the gateway to notice", || async {
        let gone = kit.gateways[0].0.metric("parley_sse_closed_total", &["gone"]).await;
        (gone >= 1.0).then_some(())
    })
    .await;
    healthy.until("a heartbeat", |block| block.event.is_empty() && block.id.is_some()).await;
    assert_eq!(kit.gateways[0].0.metric("parley_sse_connections", &[]).await, 1.0, "the other one lives");
}
