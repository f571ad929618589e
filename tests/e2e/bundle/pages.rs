//! The pages by which somebody installs Parley, gives it topics, upgrades it and saves its data: their shell blocks are run in their
//! order, word for word, on a cluster, a database and a Kafka that know nothing of it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::{Command, Stdio},
    time::Instant,
};

use crate::cluster::{DEADLINE, Folder, HOST, helm, kafka_tool, kubectl, root, sql, superuser_password};

/// The first one says what the words in capitals stand for; each goes on where the one before ended.
const PAGES: [&str; 4] = ["docs/install.md", "docs/first-topic-set.md", "docs/upgrade.md", "docs/backup.md"];

/// What a page sets apart by three backticks, without the indentation of the list that it stands in.
struct Block {
    /// Page and line.
    place: String,
    language: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(page)).expect("the page");
    let mut lines = text.lines().zip(1..);
    let mut blocks = Vec::new();
    while let Some((line, number)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indentation = line.len() - line.trim_start().len();
        let inside = lines.by_ref().map(|(line, _)| line).take_while(|line| line.trim() != "```");
        let text = inside.map(|line| format!("{}\n", line.get(indentation..).unwrap_or_default())).collect();
        blocks.push(Block { place: format!("{page}:{number}"), language: language.to_owned(), text });
    }
    blocks
}

/// The text with the words that stand for something of the reader's replaced.
fn filled(text: &str, yours: &BTreeMap<&str, String>) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut filled = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(|c| !in_word(c)).unwrap_or(rest.len()));
        let (between, next) = after.split_at(after.find(in_word).unwrap_or(after.len()));
        filled.push_str(yours.get(word).map_or(word, String::as_str));
        filled.push_str(between);
        rest = next;
    }
    filled
}

/// Whether each line that a page shows was printed, in this order; `…` is any word, and spaces are one.
fn printed(shown: &str, output: &str) -> bool {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut output = output.lines().map(words);
    shown.lines().map(words).all(|want| {
        output.any(|line| {
            line.len() == want.len() && line.iter().zip(&want).all(|(has, want)| want == "…" || has == want)
        })
    })
}

/// No release, no definition, no topics, no database, no roles: as everybody begins.
fn clear_the_ground() {
    let patience = format!("--timeout={}s", DEADLINE.as_secs());
    if helm(&["list", "-q"]).lines().any(|release| release == "parley") {
        helm(&["uninstall", "parley", "--wait"]);
    }
    kubectl(&["delete", "namespace", "parley", "--ignore-not-found", &patience]);
    kubectl(&["delete", "crd", "chattopicsets.parley.dev", "--ignore-not-found", &patience]);
    let every = ["--delete", "--if-exists", "--topic", "(?!__).+"];
    kafka_tool("org.apache.kafka.tools.TopicCommand", &every, "");
    sql("postgres", "DROP DATABASE IF EXISTS parley WITH (FORCE)");
    sql("postgres", "DROP ROLE IF EXISTS parley_gateway, parley_worker, parley_owner");
}

#[test]
fn whoever_follows_the_pages_has_a_parley_that_works() {
    let secret = || uuid::Uuid::new_v4().simple().to_string();
    let yours = BTreeMap::from([
        ("DATABASE", HOST.to_owned()),
        ("KAFKA", HOST.to_owned()),
        // The image is on the node already, also by its version.
        ("REGISTRY", "parley.dev".to_owned()),
        ("TAG", env!("CARGO_PKG_VERSION").to_owned()),
        ("OWNER_PASSWORD", secret()),
        ("WORKER_PASSWORD", secret()),
        ("GATEWAY_PASSWORD", secret()),
    ]);
    let explained = fs::read_to_string(root().join(PAGES[0])).expect("the page");
    for word in yours.keys() {
        assert!(explained.contains(&format!("`{word}`")), "{} does not say what {word} stands for", PAGES[0]);
    }
    clear_the_ground();

    // As in a clone, but nothing is left in ours.
    let folder = Folder::new("pages");
    for name in ["charts", "docs", "hack"] {
        symlink(root().join(name), folder.0.join(name)).expect("a link can be made");
    }
    // psql and pg_dump would ask for these.
    let passwords = folder.file("pgpass");
    let lines =
        format!("*:*:*:postgres:{}\n*:*:*:parley_owner:{}\n", superuser_password(), yours["OWNER_PASSWORD"]);
    fs::write(&passwords, lines).expect("a file can be written");
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).expect("it was written");

    for page in PAGES {
        let mut output = None;
        for Block { place, language, text } in blocks(page) {
            match (language.as_str(), &output) {
                ("sh", _) => {
                    let start = Instant::now();
                    let run = Command::new("bash")
                        .args(["-euo", "pipefail", "-c", &filled(&text, &yours)])
                        .current_dir(&folder.0)
                        .env("PGPASSFILE", &passwords)
                        .stdin(Stdio::null())
                        .output()
                        .expect("bash runs");
                    let said = String::from_utf8_lossy(&run.stdout).into_owned();
                    let complaint = String::from_utf8_lossy(&run.stderr);
                    assert!(run.status.success(), "{place} fails:\n{text}{said}{complaint}");
                    eprintln!("{place}: {:?}", start.elapsed());
                    output = Some(said);
                }
                ("text", Some(said)) => {
                    assert!(printed(&text, said), "{place} shows:\n{text}what was printed is:\n{said}");
                }
                _ => panic!("{place}: {language:?} is neither a command nor what the one before it prints"),
            }
        }
        assert!(output.is_some(), "{page} has no shell block");
    }
    kubectl(&["wait", "cts/chat", "--for=condition=Ready", "--timeout=240s"]);
}

#[test]
fn the_reader_of_pages_reads_what_it_should() {
    let yours = BTreeMap::from([("KAFKA", "k".to_owned()), ("OWNER_PASSWORD", "o".to_owned())]);
    assert_eq!(
        filled("a=KAFKA:9 MY_KAFKA $KAFKAS\n'OWNER_PASSWORD@KAFKA", &yours),
        "a=k:9 MY_KAFKA $KAFKAS\n'o@k"
    );
    let output = "NAME   READY\nchat   True   3s\nPhase:      Succeeded\n";
    for (shown, is) in [
        ("chat True …\n", true),
        ("NAME READY\nPhase: Succeeded\n", true),
        ("Phase: Succeeded\nNAME READY\n", false),
        ("chat True\n", false),
        ("chat … …\nPhase: Failed\n", false),
    ] {
        assert_eq!(printed(shown, output), is, "{shown}");
    }
    let place = |block: &Block| (block.place.clone(), block.language.clone());
    let found = blocks("docs/install.md");
    assert!(
        found.iter().all(|block| block.language == "sh" && !block.text.starts_with(' ')),
        "lists are undone"
    );
    assert!(found.len() >= 4, "{:?}", found.iter().map(place).collect::<Vec<_>>());
}
