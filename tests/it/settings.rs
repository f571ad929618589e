//! Bad settings stop the start: exit code 2 and one clear line that names the setting and holds no secret.

use std::process::Command;

use crate::fixtures::{keys_dir, unique};

const SECRET: &str = "hunter2-never-to-be-seen";

/// Settings with which each service would start.
fn good(program: &str) -> Vec<(&'static str, String)> {
    let keys = |file: &str| keys_dir().join(file).display().to_string();
    let mut env = vec![
        ("PARLEY_ADMIN_ADDR", "127.0.0.1:0".to_owned()),
        ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1".to_owned()),
    ];
    if program != "controller" {
        env.push(("PARLEY_DATABASE_URL", format!("postgres://user:{SECRET}@127.0.0.1:1/parley")));
        env.push(("PARLEY_REQUEST_KEYS_FILE", keys("request-keys.json")));
        env.push(("PARLEY_REPLY_KEYS_FILE", keys("reply-keys.json")));
    }
    if program == "worker" {
        env.push(("PARLEY_SEAL_PRIVATE_KEYS_FILE", keys("seal-private.json")));
        env.push(("PARLEY_KINDS", "AddChat".to_owned()));
        env.push(("PARLEY_CONSUMER_GROUP", unique("group")));
    }
    if program == "gateway" {
        env.push(("PARLEY_SEAL_PUBLIC_KEYS_FILE", keys("seal-public.json")));
    }
    env
}

/// Starts the service with one more setting; it must refuse with one line that holds `names`.
fn refuses(program: &str, args: &[&str], env: &[(&str, &str)], names: &str) {
    let path = match program {
        "worker" => env!("CARGO_BIN_EXE_worker"),
        "gateway" => env!("CARGO_BIN_EXE_gateway"),
        _ => env!("CARGO_BIN_EXE_controller"),
    };
    // One that does not refuse would run for ever.
    let output = Command::new("timeout")
        .args(["-s", "KILL", "60", path, "run"])
        .args(args)
        .env_clear()
        .envs(good(program))
        .envs(env.iter().copied())
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let case = format!("{program} run {args:?} {env:?} said: {said}");
    assert_eq!(output.status.code(), Some(2), "{case}");
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("starting")).collect();
    assert_eq!(lines.len(), 1, "{case}");
    assert!(lines[0].contains(names), "{case}");
    assert!(!said.contains(SECRET), "a secret in {case}");
}

#[test]
fn unknown_settings() {
    for program in ["worker", "gateway", "controller"] {
        refuses(program, &["--no-such-flag"], &[], "--no-such-flag");
        refuses(program, &[], &[("PARLEY_KAFKA_BOOTSTRAP_SERVER", "x:1")], "PARLEY_KAFKA_BOOTSTRAP_SERVER");
        refuses(program, &["--admin-addr", "nowhere"], &[], "--admin-addr");
        refuses(program, &["--log-format", "xml"], &[], "--log-format");
        refuses(program, &["--log-level", "parley=loud"], &[], "--log-level");
    }
}

#[test]
fn contradictory_settings() {
    for program in ["worker", "gateway", "controller"] {
        let sasl = ("PARLEY_KAFKA_SECURITY_PROTOCOL", "sasl-ssl");
        refuses(program, &[], &[sasl], "--kafka-username");
        refuses(
            program,
            &[],
            &[("PARLEY_KAFKA_USERNAME", "u"), ("PARLEY_KAFKA_PASSWORD", SECRET)],
            "--kafka-username",
        );
        refuses(program, &[], &[("PARLEY_KAFKA_CA_FILE", "/nowhere.pem")], "TLS");
        refuses(
            program,
            &[],
            &[sasl, ("PARLEY_KAFKA_USERNAME", "u"), ("PARLEY_KAFKA_PASSWORD_FILE", "/nowhere")],
            "/nowhere",
        );
    }
    refuses("worker", &["--drain-seconds", "100"], &[], "--drain-seconds");
    refuses("worker", &["--kinds", "AddChats"], &[], "AddChats");
    refuses("gateway", &["--insecure-cookie", "--listen-addr", "0.0.0.0:8080"], &[], "--insecure-cookie");
}

#[test]
#[cfg(feature = "otlp")]
fn spans_that_cannot_be_sent_as_asked() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let with_user = format!("http://user:{SECRET}@127.0.0.1:1");
    for program in ["worker", "gateway", "controller"] {
        refuses(program, &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &with_user)], "OTEL_EXPORTER_OTLP_ENDPOINT");
        refuses(
            program,
            &[],
            &[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        );
    }
    refuses(
        "gateway",
        &[],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")],
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    );
    refuses("gateway", &[], &[endpoint, ("OTEL_TRACES_SAMPLER", "sometimes")], "OTEL_TRACES_SAMPLER");
    refuses("gateway", &[], &[endpoint, ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")], "gzip");
}

#[test]
fn unusable_secrets() {
    for program in ["worker", "gateway"] {
        refuses(program, &[], &[("PARLEY_REQUEST_KEYS_FILE", "/nowhere.json")], "/nowhere.json");
        refuses(program, &[], &[("PARLEY_DATABASE_URL", "mysql://x")], "database");
        let misspelt = format!("postgres://user@127.0.0.1:1/parley?Password={SECRET}");
        refuses(program, &[], &[("PARLEY_DATABASE_URL", &misspelt)], "unknown parameter");
        refuses(program, &["--database-url-file", "/nowhere"], &[], "PARLEY_DATABASE_URL");
    }
}
