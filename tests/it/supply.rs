//! What the programs are built from: no npm package with a known fault, and no feature of a crate that nobody asked for.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use crate::fixtures::root;

/// Crates of ours whose default features are on, and what of these is used. All others are asked for by the feature.
const DEFAULTS: [(&str, &str); 26] = [
    ("argon2", "password-hash: hashes are PHC strings; getrandom: their salts"),
    ("backon", "tokio-sleep: waits of the runtime"),
    ("base64", "std: errors that are errors"),
    ("bytes", "std"),
    ("clap", "help, usage, suggestions: what somebody sees who mistypes a setting"),
    ("crypto_box", "salsa20, getrandom: the sealed box"),
    ("futures", "std, async-await: streams and select"),
    ("jiff", "std: the wall clock"),
    ("k8s-openapi", "std"),
    ("kube", "client, rustls-tls, ring: TLS to the API server"),
    ("libc", "std"),
    ("rand", "thread_rng, sys_rng: jitter, and secrets from the system"),
    ("rdkafka-sys", "libz, which rdkafka's libz-static builds"),
    ("rustix", "std: errors that are errors"),
    ("schemars", "derive: the schema of the resource"),
    ("serde", "std"),
    ("serde_json", "std"),
    ("yaml_serde", "std"),
    ("sha2", "alloc"),
    ("subtle", "std"),
    ("thiserror", "std"),
    ("tracing", "std, attributes: what kube and sqlx use"),
    ("tracing-subscriber", "fmt, ansi: the log, for people too"),
    ("utoipa", "macros: the description of the API"),
    ("uuid", "std"),
    ("zeroize", "alloc: texts that are wiped"),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Whoever adds a crate switches its default features off, or says what they are for.
#[test]
fn default_features_are_on_only_where_something_of_them_is_used() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let ours = packages.iter().find(|package| package["name"] == "parley").expect("our own");
    let on = ours["dependencies"].as_array().expect("dependencies").iter().filter(|dependency| {
        // Those of tests alone are in no program.
        dependency["kind"].is_null() && dependency["uses_default_features"] == true
    });
    let on: BTreeSet<&str> = on.filter_map(|dependency| dependency["name"].as_str()).collect();
    let some = |name: &&str| {
        let has =
            |package: &Value| package["features"]["default"].as_array().is_some_and(|all| !all.is_empty());
        packages.iter().any(|package| package["name"] == *name && has(package))
    };
    let on: BTreeSet<&str> = on.into_iter().filter(some).collect();
    let named: BTreeSet<&str> = DEFAULTS.iter().map(|(name, _)| *name).collect();
    let unnamed: Vec<_> = on.difference(&named).collect();
    assert!(
        unnamed.is_empty(),
        "default features that nobody asked for (default-features = false): {unnamed:?}"
    );
    let gone: Vec<_> = named.difference(&on).collect();
    assert!(gone.is_empty(), "named here without need: {gone:?}");
}

/// The web client's packages and those of the parsers that read our streams in tests.
#[test]
fn no_npm_package_has_a_known_fault() {
    let check =
        Command::new("node").arg(root().join("hack/check/npm-audit.mjs")).output().expect("node runs");
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{said}{}", String::from_utf8_lossy(&check.stderr));
    for lock in ["web/package-lock.json", "tests/it/gateway/foreign/package-lock.json"] {
        assert!(said.contains(lock), "{lock} is judged: {said}");
    }
}
