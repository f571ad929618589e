//! Pages that name tests: what the best peers test, and what attackers try. They must not name a test that is not there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::fixtures::root;

/// Every `word` between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The source files of a module path: `a::b` is `a/b.rs` or `a/b/mod.rs`, and tests may stand in `a/b/tests.rs`.
fn sources(folder: &Path, modules: &[&str]) -> Vec<PathBuf> {
    let path = folder.join(modules.join("/"));
    [path.with_extension("rs"), path.join("mod.rs"), path.join("tests.rs")]
        .into_iter()
        .filter(|p| p.is_file())
        .collect()
}

/// Whether the text holds this function as a test; `*` stands for any.
fn has_test(text: &str, name: &str) -> bool {
    let mut lines = text.lines().map(str::trim).peekable();
    let mut attributed = false;
    while let Some(line) = lines.next() {
        if ["#[test]", "#[tokio::test]"].iter().any(|a| line.starts_with(a))
            || line.starts_with("#[tokio::test(")
        {
            attributed = true;
        } else if let Some((before, after)) = line.split_once("fn ") {
            let found = after.split(['(', '<']).next().unwrap_or_default();
            // Properties are tests by their macro.
            let property = after.contains(" in ")
                || (after.ends_with('(') && lines.peek().is_some_and(|l| l.contains(" in ")));
            if (attributed || property) && (name == "*" || found == name) && ["", "async "].contains(&before)
            {
                return true;
            }
            attributed = false;
        } else if !line.starts_with('#') && !line.starts_with("//") {
            attributed = false;
        }
    }
    false
}

/// The tests that the tables of a page name, each by its modules below `tests/it` (the controller's and the gateway's need not be
/// named), `tests/e2e` or `src`, or by its file and title below `web/test`.
fn named(page: &str) -> Vec<String> {
    let page = fs::read_to_string(root().join(page)).expect("the page");
    let mut names = Vec::new();
    for row in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 2 && cells.iter().all(|cell| !cell.is_empty()), "two full cells: {row}");
        assert!(!cells[1].contains('…'), "names are given in full: {row}");
        names.extend(quoted(cells[1]).into_iter().filter(|word| word.contains("::")).map(str::to_owned));
    }
    names
}

fn is_there(name: &str) -> bool {
    if let Some((file, title)) = name.split_once(".test.mjs::") {
        let folders = ["web/test", "web/test/real"].map(|folder| root().join(folder));
        let files = folders.iter().map(|folder| folder.join(file).with_extension("test.mjs"));
        let texts = files.filter_map(|file| fs::read_to_string(file).ok());
        return texts.into_iter().any(|text| text.contains(&format!("\ntest(\"{title}\"")));
    }
    let mut modules: Vec<&str> = name.split("::").collect();
    let test = modules.pop().unwrap_or_default();
    if modules.last() == Some(&"tests") && modules.len() > 1 {
        modules.pop();
    }
    let folders = ["tests/it", "tests/it/controller", "tests/it/gateway", "tests/e2e", "src"];
    let files = folders.iter().flat_map(|folder| sources(&root().join(folder), &modules));
    files.into_iter().any(|file| has_test(&fs::read_to_string(file).expect("a source"), test))
}

#[test]
fn every_test_that_a_page_names_is_there() {
    for (page, least) in [("docs/peer-scenarios.md", 60), ("docs/threats.md", 25)] {
        let named = named(page);
        let missing: Vec<&String> = named.iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{page} names tests that are not there: {missing:?}");
        assert!(named.len() > least, "{page}: only {} tests are named", named.len());
    }
}

#[test]
fn the_reader_of_tests_reads_what_it_should() {
    let text = "#[test]\nfn one() {}\nfn two() {}\n#[tokio::test]\n/// why\nasync fn three() {}\nproptest! {\nfn four(n in 1..2) {}\nfn five(\n  n in 1..2,\n) {}\n}";
    for (name, is) in [
        ("one", true),
        ("two", false),
        ("three", true),
        ("four", true),
        ("five", true),
        ("six", false),
        ("*", true),
    ] {
        assert_eq!(has_test(text, name), is, "{name}");
    }
}
