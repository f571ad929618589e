//! The module edges of the table in `src/lib.rs`, read from the sources themselves.

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

/// Of `wire`, the layers beside it know only what a record is, and the values that are stored; see docs/decisions.md.
const OF_WIRE: &[(&str, &[&str])] = &[
    ("kafka", &["Incoming", "Outgoing"]),
    ("store", &["Body", "Event", "FriendEntry", "Kind", "Reply", "RoomEntry", "User"]),
];

/// program → the modules of the library that it may name, besides `process`.
const BINARIES: &[(&str, &[&str])] = &[
    ("controller", &["controller"]),
    ("crdgen", &["api"]),
    ("gateway", &["gateway"]),
    ("hot", &["hot"]),
    ("loadgen", &["loadgen"]),
    ("parley", &["controller", "gateway", "worker"]),
    ("worker", &["worker"]),
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

/// The code without its comments, and without what every layer may name.
fn code(text: &str) -> String {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .map(|line| {
            SHARED_PROCESS
                .iter()
                .fold(line.to_owned(), |line, shared| line.replace(&format!("crate::{shared}"), ""))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths that stand at the beginning of `rest`: of `{a, b::{c, d}}` a and b::{c, d}, of `a::b(…` a::b.
fn paths(rest: &str) -> Vec<String> {
    let (mut depth, mut found, mut path) = (0_i32, Vec::new(), String::new());
    let list = rest.starts_with('{');
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if list && depth == 1 => {
                found.push(std::mem::take(&mut path));
                continue;
            }
            c if depth == 0 && c != ':' && c != '_' && !c.is_alphanumeric() => break,
            _ => {}
        }
        path.push(c);
        if depth == 0 && c == '}' {
            break;
        }
    }
    found.push(path);
    let trim = |path: String| {
        let path = if list { path.trim_start_matches('{').to_owned() } else { path };
        path.trim().to_owned()
    };
    found.into_iter().map(trim).filter(|path| !path.is_empty()).collect()
}

fn first_word(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Every path of a module of this library that the code names after `root`, such as `crate::`.
fn paths_after(text: &str, root: &str) -> Vec<String> {
    let code = code(text);
    let all = code.split(root).skip(1).flat_map(paths);
    all.filter(|path| MAY_USE.iter().any(|(module, _)| *module == first_word(path))).collect()
}

/// Every module that the code of a file so deep below `src` names, from the root or by climbing to it.
fn named_modules(text: &str, depth: usize) -> BTreeSet<String> {
    let climbed = paths_after(text, &"super::".repeat(depth));
    paths_after(text, "crate::").into_iter().chain(climbed).map(|path| first_word(&path)).collect()
}

/// What the code names of one module: the types and constants, by their capitals, and all else by its first word.
fn items_of(text: &str, module: &str) -> BTreeSet<String> {
    let (text, _tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((text, ""));
    let paths = paths_after(text, "crate::").into_iter().filter(|path| first_word(path) == module);
    let rest: Vec<String> = paths.map(|path| path[module.len()..].to_owned()).collect();
    let words = rest.iter().flat_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| !word.is_empty() && *word != "self").map(str::to_owned).collect()
}

/// How many modules a file lies below the root of the library.
fn depth(root: &Path, file: &Path) -> usize {
    let parts = file.strip_prefix(root).unwrap().components().count();
    if file.ends_with("mod.rs") { parts - 1 } else { parts }
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
            for name in named_modules(&text, depth(&root, &file)) {
                if name != *module && !allowed.contains(&name.as_str()) {
                    broken.push(format!("{} uses {name}", file.display()));
                }
            }
            for (_, known) in OF_WIRE.iter().filter(|(layer, _)| layer == module) {
                for item in items_of(&text, "wire").iter().filter(|item| !known.contains(&item.as_str())) {
                    broken.push(format!("{} uses wire::{item}", file.display()));
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
    assert!(broken.is_empty(), "the edges of src/lib.rs are broken:\n{}", broken.join("\n"));
}

#[test]
fn binaries_are_thin_and_use_only_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let files = sources(&root);
    assert_eq!(files.len(), BINARIES.len(), "every program is listed: {files:?}");
    for (program, allowed) in BINARIES {
        let text = fs::read_to_string(root.join(program).with_extension("rs")).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 40, "{program} has {lines} lines; 40 are the most");
        let named: BTreeSet<String> =
            paths_after(&text, "parley::").iter().map(|path| first_word(path)).collect();
        let more: Vec<&String> =
            named.iter().filter(|name| *name != "process" && !allowed.contains(&name.as_str())).collect();
        assert!(more.is_empty(), "{program} uses {more:?}");
        assert!(allowed.iter().all(|module| named.contains(*module)), "{program} uses only {named:?}");
        // It prints the definition and needs no log, no flags and no runtime.
        assert!(*program != "crdgen" || !named.contains("process"), "crdgen uses api alone");
    }
}

/// Nor is there, anywhere else, a word that would allow it.
#[test]
fn unsafe_code_stands_in_one_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&root) {
        let text = fs::read_to_string(&file).unwrap();
        let has = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.into_iter().any(|word| matches!(word, "unsafe" | "unsafe_code"))
        });
        let audited = file.strip_prefix(&root).unwrap().starts_with("kafka/ffi.rs")
            || file.strip_prefix(&root).unwrap().starts_with("kafka/ffi");
        assert!(!has || audited, "{} has unsafe code; only kafka/ffi may", file.display());
    }
}

/// Shards hand each other messages and counters, never a lock: no stream waits for another shard's.
#[test]
fn the_hub_has_no_lock() {
    let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway/hub");
    let files = sources(&hub);
    assert!(files.len() > 20, "{} files of the hub are read", files.len());
    for file in files {
        let text = code(&fs::read_to_string(&file).unwrap());
        for lock in ["Mutex", "RwLock", "DashMap", "Condvar", "OnceLock"] {
            assert!(!text.contains(lock), "{} has a {lock}", file.display());
        }
    }
}

#[test]
fn the_reader_of_edges_reads_what_it_should() {
    let text = "use crate::{ids::{A, B}, wire};\nlet x = crate::store::y(); // crate::gateway\nuse crate::process::Secret;
        use super::super::{api::C, kafka};\nuse super::hot;";
    let names: Vec<String> = named_modules(text, 2).into_iter().collect();
    assert_eq!(names, ["api", "ids", "kafka", "store", "wire"]);
    let names: Vec<String> = named_modules(text, 3).into_iter().collect();
    assert_eq!(names, ["ids", "store", "wire"]);
    let text = "use crate::{\n  ids::RoomId,\n  wire::{Event, signing::{self, sign}},\n};\nlet y = crate::wire::VERSION;
        #[cfg(test)]\nmod tests {\nuse crate::wire::Keyring;\n}";
    let text = text.replace("        #[cfg", "#[cfg");
    let items: Vec<String> = items_of(&text, "wire").into_iter().collect();
    assert_eq!(items, ["Event", "VERSION", "sign", "signing"]);
}
