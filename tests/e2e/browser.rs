use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::cluster::{DEADLINE, gateway, root};

/// For all of the web client's checks together; each of their steps has a deadline of its own.
const WEB_DEADLINE: Duration = Duration::from_secs(1_800);

/// Two people in two browsers of a real Chromium, driven by `browser/two-users.mjs`, which says one JSON line a step.
pub(crate) struct TwoUsers {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl TwoUsers {
    /// Starts the browsers; the script goes on to its first pause by itself.
    pub(crate) fn start() -> Self {
        let mut child = Command::new("node")
            .arg(root().join("tests/e2e/browser/two-users.mjs"))
            .arg(format!("http://{}", gateway()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let stdin = child.stdin.take().expect("a pipe");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, stdin, lines }
    }

    /// Reads up to the step of this name and gives what it says.
    pub(crate) async fn step(&mut self, name: &str) -> Value {
        loop {
            let line =
                timeout(DEADLINE, self.lines.next_line()).await.expect("the browsers go on").expect("a line");
            let line =
                line.unwrap_or_else(|| panic!("the browsers ended before the step {name:?}: see above"));
            let step: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a step: {line}"));
            eprintln!("browser: {line}");
            if step["step"] == name {
                return step;
            }
        }
    }

    /// Lets the script go on after a pause.
    pub(crate) async fn go_on(&mut self) {
        self.stdin.write_all(b"go\n").await.expect("the script reads");
    }

    /// Waits for its end, which must be a success.
    pub(crate) async fn finish(mut self) {
        let status = timeout(DEADLINE, self.child.wait()).await.expect("the browsers end").expect("a status");
        assert!(status.success(), "the browsers' script failed: {status}");
    }
}

/// The web client's own checks on a running Parley (`web/test/real`): status, unread counts, read marks, deep links, leaving a
/// room, logging out everywhere, seven tabs, history.
#[tokio::test(flavor = "multi_thread")]
async fn the_web_client_holds_on_the_real_system() {
    let mut command = Command::new("npm");
    command.args(["run", "--silent", "real"]).current_dir(root().join("web"));
    command.env("PARLEY_ORIGIN", format!("http://{}", gateway())).kill_on_drop(true);
    let run = command.spawn().expect("npm runs").wait_with_output();
    let output = timeout(WEB_DEADLINE, run).await.expect("the checks end").expect("a status");
    assert!(output.status.success(), "the web client's checks failed: see above");
}
