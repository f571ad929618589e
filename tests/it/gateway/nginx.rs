//! nginx in front, with the settings that `docs/nginx.conf` tells: HTTP/2 to the client, a stream that is not buffered, that lives
//! longer than nginx's patience, and that resumes.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::kit::{Kit, Person};
use crate::fixtures::{DEADLINE, eventually, free_ports, root, unique};

struct Nginx {
    _child: Child,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    /// With the documented settings, but for these changes of words.
    async fn start(gateway: std::net::SocketAddr, changes: &[(&str, &str)]) -> Self {
        let (port, folder) = (free_ports(1), std::env::temp_dir().join(unique("nginx")));
        std::fs::create_dir_all(&folder).unwrap();
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-keyout", "parley.key", "-out", "parley.crt"])
            .current_dir(&folder)
            .stderr(Stdio::null())
            .status()
            .await
            .unwrap();
        assert!(made.success());
        let shown = folder.display();
        let mut site = std::fs::read_to_string(root().join("docs/nginx.conf"))
            .unwrap()
            .replace("127.0.0.1:8080", &gateway.to_string())
            .replace("listen 443", &format!("listen 127.0.0.1:{port}"))
            .replace("/etc/nginx/tls", &shown.to_string());
        for (documented, changed) in changes {
            assert!(site.contains(documented), "docs/nginx.conf has no {documented:?}");
            site = site.replace(documented, changed);
        }
        let conf = format!(
            "daemon off; master_process off; pid {shown}/pid; error_log stderr warn;
             events {{ worker_connections 256; }}
             http {{ access_log off; client_body_temp_path {shown}/b; proxy_temp_path {shown}/p;
             fastcgi_temp_path {shown}/f; uwsgi_temp_path {shown}/u; scgi_temp_path {shown}/s;
             {site} }}"
        );
        std::fs::write(folder.join("nginx.conf"), conf).unwrap();
        let child = Command::new("/usr/sbin/nginx")
            .args(["-p", &shown.to_string(), "-c", "nginx.conf"])
            .kill_on_drop(true)
            .spawn()
            .expect("nginx runs");
        let nginx = Self { _child: child, folder, port };
        eventually("nginx", || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok() })
            .await;
        nginx
    }

    fn curl(&self, person: &Person, path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--no-buffer", "--http2", "--dump-header", "/dev/stderr"])
            .args(["--header", &format!("cookie: {}", person.client.cookie().unwrap())])
            .arg(format!("https://127.0.0.1:{}{path}", self.port))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        curl
    }

    fn stream(&self, person: &Person, cursor: Option<&str>) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut curl = self.curl(person, "/api/events");
        if let Some(cursor) = cursor {
            curl.args(["--header", &format!("last-event-id: {cursor}")]);
        }
        let mut child = curl.spawn().expect("curl runs");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Reads up to a line that holds this; gives it.
async fn line(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> String {
    loop {
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("a line in time").unwrap();
        let line = line.unwrap_or_else(|| panic!("the stream ended before {wanted:?}"));
        if line.contains(wanted) {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_through_nginx_lives_resumes_and_is_not_buffered() {
    let settings = [("PARLEY_HEARTBEAT_SECONDS", "1"), ("PARLEY_CLIENT_ADDRESS_HEADER", "X-Forwarded-For")];
    let kit = Kit::own(1, &settings).await;
    // Half the time between heartbeats would cut a quiet stream: here both are shortened alike.
    let nginx = Nginx::start(kit.addr(0), &[("proxy_read_timeout 60s", "proxy_read_timeout 30s")]).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);

    let version = nginx
        .curl(&amy, "/api/me")
        .args(["--write-out", "\n%{http_version} %{response_code}"])
        .output()
        .await
        .unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.ends_with("\n2 200"), "{version}");

    let (mut curl, mut lines) = nginx.stream(&amy, None);
    line(&mut lines, "event: hello").await;
    kit.say(room, &amy.id, 1, 1).await;
    line(&mut lines, "message 1").await;
    let cursor = line(&mut lines, "id: ").await;
    // Quiet for longer than nginx waits for a byte: heartbeats keep it.
    tokio::time::sleep(Duration::from_secs(33)).await;
    kit.say(room, &amy.id, 2, 2).await;
    line(&mut lines, "message 2").await;
    let _ = curl.kill().await;
    // The gateway learns that the client is gone.
    eventually("the stream to be gone", || async {
        let gone = kit.gateways[0].0.metric("parley_sse_closed_total", &["gone"]).await;
        (gone >= 1.0).then_some(())
    })
    .await;

    kit.say(room, &amy.id, 3, 3).await;
    let (_curl, mut lines) = nginx.stream(&amy, Some(cursor.trim_start_matches("id: ")));
    line(&mut lines, "message 2").await;
    line(&mut lines, "message 3").await;

    // A page behind nginx may change things: Host and Origin agree.
    let origin = format!("origin: https://127.0.0.1:{}", nginx.port);
    eventually("a change to be taken", || async {
        let put = nginx
            .curl(&amy, "/api/me/status")
            .args(["--request", "PUT", "--data", "{\"status\":\"x\"}", "--header", &origin])
            .args(["--header", "content-type: application/json", "--write-out", "\n%{response_code}"])
            .output()
            .await
            .unwrap();
        let put = String::from_utf8_lossy(&put.stdout).into_owned();
        // On a busy machine a fresh producer may not reach the broker in time: then, and only then, it is asked again.
        assert!(put.ends_with("\n202") || put.ends_with("\n503"), "{put}");
        put.ends_with("\n202").then_some(())
    })
    .await;
    // A real browser: its page and its stream share one HTTP/2 connection.
    let mut chromium = Command::new("node")
        .arg(root().join("tests/it/gateway/foreign/chromium.mjs"))
        .args([&format!("https://127.0.0.1:{}", nginx.port), &amy.client.cookie().unwrap()])
        .env("WEB", root().join("web"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node runs");
    let mut heard = BufReader::new(chromium.stdout.take().unwrap()).lines();
    line(&mut heard, "[\"protocol\",\"h2\",").await;
    line(&mut heard, "[\"hello\",").await;
    kit.say(room, &amy.id, 4, 4).await;
    line(&mut heard, "message 4").await;
    let _ = chromium.kill().await;
}

/// What is sent is far less than any buffer, and no heartbeat comes meanwhile that would push it out. Each of the two that keep nginx
/// from gathering is enough: its own setting, and the gateway's header.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_not_held_back_and_a_resume_and_an_end_come_through() {
    const QUIET: (&str, &str) = ("proxy_read_timeout 60s", "proxy_read_timeout 300s");
    let settings = [("PARLEY_HEARTBEAT_SECONDS", "60"), ("PARLEY_CLIENT_ADDRESS_HEADER", "X-Forwarded-For")];
    let kit = Kit::own(1, &settings).await;
    let amy = kit.person("amy");
    let room = kit.room(&[&amy]);
    let documented = Nginx::start(kit.addr(0), &[QUIET]).await;
    let by_header = Nginx::start(kit.addr(0), &[QUIET, ("proxy_buffering off;", "")]).await;
    let mut cursor = String::new();
    for (n, nginx) in (1..).zip([&documented, &by_header]) {
        let (_curl, mut lines) = nginx.stream(&amy, None);
        line(&mut lines, "event: hello").await;
        let said = Instant::now();
        kit.say(room, &amy.id, n, n).await;
        line(&mut lines, &format!("message {n}")).await;
        eprintln!("through nginx after {:?}", said.elapsed());
        assert!(said.elapsed() < Duration::from_secs(45), "{:?}", said.elapsed());
        cursor = line(&mut lines, "id: ").await;
    }
    kit.say(room, &amy.id, 3, 3).await;
    let (_curl, mut lines) = documented.stream(&amy, Some(cursor.trim_start_matches("id: ")));
    let mut heard = Vec::new();
    // What this gateway has not read yet comes live, after it.
    for wanted in ["event: resumed", "message 3"] {
        while !heard.iter().any(|text: &String| text.contains(wanted)) {
            heard.push(line(&mut lines, "").await);
        }
    }
    let told = |n: i64| heard.iter().filter(|text| text.contains(&format!("message {n}"))).count();
    assert_eq!([1, 2, 3].map(told), [0, 0, 1], "{heard:?}");

    kit.end_session(&amy).await;
    let ended = async { while lines.next_line().await.unwrap().is_some() {} };
    tokio::time::timeout(DEADLINE, ended).await.expect("the stream ends");
    let mut again = documented.curl(&amy, "/api/events");
    let again = again.args(["--write-out", "%{http_version} %{http_code}"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout), "2 204", "a browser stops");
}
