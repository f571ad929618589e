//! An independent fuzzer (schemathesis) reads the description of the API and holds the gateway to it: no 5xx, no answer that the
//! description does not tell, no body that does not fit its schema, and no way around the session.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    process::Stdio,
};

use hyper::Method;
use parley::loadgen::Client;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    kit::{Kit, Person, call},
    parsers::foreign,
};

/// What is held against every answer. Left out are `use_after_free` and `ensure_resource_availability`, which follow links that the
/// description has none of; `positive_data_acceptance`: the id of a future member may well fit the schema and be nobody's;
/// `negative_data_rejection` and `missing_required_header`: what is more than asked for is ignored, as docs/protocol.md has it of fields, and
/// no header is required but those of `changes_from_other_sites_are_refused`.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
     response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth";

/// Those that end what the other calls need: they have runs of their own.
const LAST: [&str; 3] = ["leave", "log_out", "events"];

/// Who fuzzes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Somebody who is logged in and has a room and a reply; the fuzzer knows their ids.
    Amy,
    /// The same, of whose ids it knows nothing.
    Blind,
    /// Somebody who has logged out.
    Gone,
    Nobody,
}

/// One run of the fuzzer.
#[derive(Debug)]
struct Run {
    who: Who,
    gateway: SocketAddr,
    /// The only operation; without one, all but the last.
    only: Option<&'static str>,
    examples: &'static str,
    /// Whether calls wait for the worker's replies, which are answers like any others.
    waits: bool,
}

/// What was answered, by operation and status.
type Answered = BTreeMap<String, BTreeSet<u64>>;

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_finds_no_answer_that_the_description_does_not_tell() {
    // No limits of rate: the fuzzer is one user.
    let settings = [
        ("PARLEY_REQUESTS_PER_USER", "0"),
        ("PARLEY_REQUESTS_PER_ADDRESS", "0"),
        ("PARLEY_MESSAGES_PER_ROOM", "0"),
        ("PARLEY_SIGN_INS_PER_ADDRESS", "0"),
    ];
    let mut kit = Kit::own(1, &settings).await;
    // A stream has no end, and the fuzzer reads answers to theirs: here each is one that is told to come back.
    let (full, addr) = kit.chat.gateway(&[&settings[..], &[("PARLEY_MAX_STREAMS", "0")]].concat());
    kit.gateways.push((full.ready().await, addr));
    let _worker = kit.chat.worker(&[]).ready().await;
    let folder = std::env::temp_dir().join(crate::fixtures::unique("fuzz"));
    let run =
        |who, gateway, only, examples, waits| Run { who, gateway: kit.addr(gateway), only, examples, waits };
    let runs = [
        run(Who::Amy, 0, None, "30", false),
        run(Who::Blind, 0, None, "5", false),
        run(Who::Amy, 0, None, "5", true),
        run(Who::Nobody, 0, None, "5", false),
        run(Who::Amy, 0, Some("leave"), "5", false),
        run(Who::Blind, 0, Some("leave"), "5", true),
        run(Who::Amy, 0, Some("log_out"), "5", true),
        run(Who::Gone, 0, Some("events"), "5", false),
        run(Who::Nobody, 1, Some("events"), "5", false),
    ];
    let mut answered = Answered::new();
    for (n, run) in runs.iter().enumerate() {
        // Two seconds in which the machine stands still are an outage to the gateway: what was refused for it says nothing.
        let outages = async || {
            let mut all = 0.0;
            for (gateway, _) in &kit.gateways {
                all += gateway.metric("parley_http_requests_total", &["status=\"503\""]).await;
                all += gateway.metric("parley_produce_failures_total", &[]).await;
            }
            all
        };
        let mut tries = 0;
        let report = loop {
            let (before, folder) = (outages().await, folder.join(format!("{n}-{tries}")));
            tries += 1;
            match fuzz(&kit, run, &folder).await {
                Ok(report) => break report,
                Err(found) => assert!(tries < 6 && outages().await > before, "{found}"),
            }
        };
        for (operation, statuses) in report {
            answered.entry(operation).or_default().extend(statuses);
        }
    }
    let described = operations(&kit).await;
    for (operation, _) in &described {
        let statuses = answered.get(operation).unwrap_or_else(|| panic!("{operation} was not tried"));
        let good = statuses.iter().any(|status| (200..300).contains(status));
        assert!(good, "{operation} never succeeded: {statuses:?}");
    }
    for (operation, status) in [
        ("GET /api/rooms/{roomId}/messages", 200),
        ("PUT /api/rooms/{roomId}/read", 204),
        ("GET /api/requests/{requestId}", 200),
        ("DELETE /api/rooms/{roomId}/members/me", 202),
        ("DELETE /api/session", 200),
        ("GET /api/events", 200),
        ("GET /api/events", 204),
    ] {
        assert!(answered[operation].contains(&status), "{operation} was never {status}: {answered:?}");
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// The operations of the description, as `METHOD /path/{of}/it`, with their ids.
async fn operations(kit: &Kit) -> Vec<(String, String)> {
    let description = Client::new(kit.addr(0)).get("/api/openapi.json").await.unwrap().json();
    let paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(description["paths"].clone()).expect("paths");
    let of_path = |(path, methods): (&String, &BTreeMap<String, Value>)| -> Vec<(String, String)> {
        let of_method = |(method, operation): (&String, &Value)| {
            (
                format!("{} {path}", method.to_uppercase()),
                operation["operationId"].as_str().unwrap().to_owned(),
            )
        };
        methods.iter().map(of_method).collect()
    };
    paths.iter().flat_map(of_path).collect()
}

/// Runs the fuzzer and gives what it was answered, by its own report; or what it found.
async fn fuzz(kit: &Kit, run: &Run, folder: &Path) -> Result<Answered, String> {
    std::fs::create_dir_all(folder).unwrap();
    let amy = kit.person("amy");
    if run.who == Who::Amy {
        std::fs::write(folder.join("schemathesis.toml"), known_ids(kit, &amy).await).unwrap();
    }
    if run.who == Who::Gone {
        kit.end_session(&amy).await;
    }
    // From a file: the address that it reads the description from it would not try.
    let description = Client::new(run.gateway).get("/api/openapi.json").await.unwrap();
    std::fs::write(folder.join("openapi.json"), description.body).unwrap();
    let report = folder.join("report.har");
    let mut command = Command::new(foreign().await.join("venv/bin/schemathesis"));
    command
        .args(["run", "openapi.json", "--url", &format!("http://{}", run.gateway)])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", run.examples, "--seed", "1", "--no-color", "--warnings", "off"])
        .args(["--continue-on-failure", "--header", "sec-fetch-site:same-origin", "--report-har-path"])
        .arg(&report)
        .current_dir(folder)
        .stdin(Stdio::null());
    match run.only {
        Some(only) => command.args(["--include-operation-id", only]),
        None => command.args(LAST.into_iter().flat_map(|last| ["--exclude-operation-id", last])),
    };
    if run.waits {
        command.args(["--header", "prefer:wait=20", "--request-timeout", "60"]);
    }
    if run.who != Who::Nobody {
        command.args(["--header", &format!("cookie:{}", amy.client.cookie().unwrap())]);
    }
    let output = command.output().await.expect("the fuzzer runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = said.lines().rev().take(150).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{run:?}:\n{}\n{errors}", tail.join("\n")));
    }
    Ok(read(&report, &operations(kit).await))
}

/// The fuzzer's settings with the ids of amy's room and of a reply of hers.
async fn known_ids(kit: &Kit, amy: &Person) -> String {
    let room = kit.room(&[amy]);
    kit.store(room, &amy.id, 1, 3);
    let headers = [("prefer", "wait=30")];
    let client = amy.client.at(kit.addr(0));
    let answer = call(&client, Method::PUT, "/api/me/status", &headers, &json!({"status": "x"})).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let request = answer.json()["requestId"].as_str().unwrap().to_owned();
    format!("[parameters]\n\"path.roomId\" = \"{room}\"\n\"path.requestId\" = \"{request}\"\n")
}

/// A report in HAR 1.2: every call and its answer.
fn read(report: &Path, operations: &[(String, String)]) -> Answered {
    let har: Value = serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("JSON");
    let mut answered = Answered::new();
    for entry in har["log"]["entries"].as_array().expect("entries") {
        let (request, status) = (&entry["request"], entry["response"]["status"].as_u64().unwrap());
        // What our own reader of addresses does not take is of no operation.
        let Ok(uri) = request["url"].as_str().unwrap().parse::<hyper::Uri>() else { continue };
        let (method, path) = (request["method"].as_str().unwrap(), uri.path());
        if let Some((operation, _)) = operations.iter().find(|(operation, _)| is_of(operation, method, path))
        {
            answered.entry(operation.clone()).or_default().insert(status);
        }
    }
    answered
}

fn is_of(operation: &str, method: &str, path: &str) -> bool {
    let (named, template) = operation.split_once(' ').expect("METHOD PATH");
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let alike = template.iter().zip(&path).all(|(part, is)| part.starts_with('{') || part == is);
    named == method && template.len() == path.len() && alike
}
