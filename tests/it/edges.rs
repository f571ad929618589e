//! The module edges of architecture.md, "Layers and folders", read from the sources themselves.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// module → the modules of this crate that it may name. Nobody else may name rdkafka, sqlx or OpenTelemetry's crates.
const MAY_USE: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("api", &["ids"]),
    ("wire", &["ids"]),
    ("kafka", &["ids", "wire"]),
    ("store", &["ids", "wire"]),
    ("process", &[]),
    ("controller", &["api", "ids", "kafka", "process"]),
    ("worker", &["ids", "kafka", "process", "store", "wire"]),
    ("gateway", &["ids", "kafka", "process", "store", "wire"]),
    ("loadgen", &["ids", "kafka", "process", "store", "wire"]),
    ("hot", &["gateway", "wire", "worker"]),
    ("fuzzing", &["controller", "gateway", "kafka", "process", "store", "wire", "worker"]),
];

/// Process skeleton parts that the layers below services may use as well: a secret, and metrics as data.
const SHARED_PROCESS: &[&str] = &["process::Secret", "process::SecretError", "process::metrics"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

/// Every `crate::module` that the code (not its comments) names; `use crate::{a, b::c}` counts for a and b.
fn named_modules(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .map(|line| {
            SHARED_PROCESS
                .iter()
                .fold(line.to_owned(), |line, shared| line.replace(&format!("crate::{shared}"), ""))
        })
        .collect::<Vec<_>>()
        .join("\n");
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut item = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        names.insert(word(&item));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            names.insert(word(&item));
        } else {
            names.insert(word(rest));
        }
    }
    names.retain(|name| MAY_USE.iter().any(|(module, _)| module == name));
    names
}

#[test]
fn modules_use_only_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for (module, allowed) in MAY_USE {
        let files = sources(&root.join(module));
        assert!(!files.is_empty(), "src/{module} has no sources");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for name in named_modules(&text) {
                if name != *module && !allowed.contains(&name.as_str()) {
                    broken.push(format!("{} uses {name}", file.display()));
                }
            }
            let code = |word: &str| {
                text.lines().any(|line| line.split("//").next().unwrap_or_default().contains(word))
            };
            for (library, owner) in [
                ("rdkafka", "kafka"),
                ("sqlx", "store"),
                ("opentelemetry", "process"),
                ("kube::", "controller"),
            ] {
                let owns = *module == owner || (library == "kube::" && *module == "api");
                if code(library) && !owns {
                    broken.push(format!("{} names {library}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "edges of architecture.md are broken:\n{}", broken.join("\n"));
}

#[test]
fn binaries_are_thin() {
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin")) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 40, "{} has {lines} lines; 40 are the most", file.display());
    }
}

#[test]
fn unsafe_code_stands_in_one_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&root) {
        let text = fs::read_to_string(&file).unwrap();
        let has = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        let audited = file.strip_prefix(&root).unwrap().starts_with("kafka/ffi.rs")
            || file.strip_prefix(&root).unwrap().starts_with("kafka/ffi");
        assert!(!has || audited, "{} has unsafe code; only kafka/ffi may", file.display());
    }
}

#[test]
fn the_reader_of_edges_reads_what_it_should() {
    let text = "use crate::{ids::{A, B}, wire};\nlet x = crate::store::y(); // crate::gateway\nuse crate::process::Secret;";
    let names: Vec<String> = named_modules(text).into_iter().collect();
    assert_eq!(names, ["ids", "store", "wire"]);
}
