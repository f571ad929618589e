//! An independent fuzzer (schemathesis) reads the description of the API and holds the gateway to it: no 5xx, no answer that the
//! description does not tell, no body that does not fit its schema, and no way around the session.

use std::process::Stdio;

use tokio::process::Command;

use super::{kit::Kit, parsers::foreign};

/// What is held against every answer. Left out are those that take a stranger's id in a path for a resource of the caller's, and
/// `positive_data_acceptance`: a user id of a room's future member may well fit the schema and be nobody's.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
     response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth";

/// What the fuzzer runs with: the whole of it as somebody who is logged in, less of it as nobody, and with calls that wait for the
/// worker's replies, which are answers like any others.
const RUNS: [(&str, &str, &[&str]); 3] =
    [("amy", "30", &[]), ("nobody", "5", &[]), ("amy", "5", &["--header", "prefer:wait=20"])];

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_finds_no_answer_that_the_description_does_not_tell() {
    // No limits of rate: the fuzzer is one user.
    let settings = [
        ("PARLEY_REQUESTS_PER_USER", "0"),
        ("PARLEY_MESSAGES_PER_ROOM", "0"),
        ("PARLEY_SIGN_INS_PER_ADDRESS", "0"),
    ];
    let kit = Kit::own(1, &settings).await;
    let _worker = kit.chat.worker(&[]).ready().await;
    let folder = std::env::temp_dir().join(crate::fixtures::unique("fuzz"));
    std::fs::create_dir_all(&folder).unwrap();
    for (who, examples, more) in RUNS {
        // A fuzzer that logs out ends its own session: each run has one.
        let amy = kit.person("amy");
        kit.room(&[&amy]);
        let mut command = Command::new(foreign().await.join("venv/bin/schemathesis"));
        command
            .arg("run")
            .arg(format!("http://{}/api/openapi.json", kit.addr(0)))
            .args([
                "--checks",
                CHECKS,
                "--exclude-path",
                "/api/events",
                "--phases",
                "examples,coverage,fuzzing",
            ])
            .args(["--max-examples", examples, "--seed", "1", "--no-color", "--warnings", "off"])
            .args(["--continue-on-failure", "--header", "sec-fetch-site:same-origin"])
            .args(more)
            .current_dir(&folder)
            .stdin(Stdio::null());
        if who != "nobody" {
            command.args(["--header", &format!("cookie:{}", amy.client.cookie().unwrap())]);
        }
        let output = command.output().await.expect("the fuzzer runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let tail: Vec<&str> = said.lines().rev().take(150).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{who} {more:?}:\n{}\n{errors}", tail.join("\n"));
    }
    let _ = std::fs::remove_dir_all(folder);
}
