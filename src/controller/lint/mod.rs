//! `controller lint FILE…`: what the API server would refuse and the controller would complain of, offline, with file and
//! line.

mod locate;
mod schema;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use kube::core::cel::{CompiledSchema, ValidationErrors, Validator, apply_defaults, compile_schema};
use locate::Lines;
use schema::Finding;
use serde_json::Value;

use super::desired;
use crate::{api, process::Exit};

/// The arguments of `controller lint`.
#[derive(Debug, Clone, clap::Args)]
pub struct LintArgs {
    /// YAML files with ChatTopicSets; other kinds in them are passed over
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// One ChatTopicSet of a file.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// With the defaults that the API server would fill in.
    pub(super) object: Value,
    /// The text it was read from, and how many lines of the file come before it.
    text: String,
    before: usize,
}

/// The schema and its rules, read and compiled once for all sets.
pub(super) struct Linter {
    schema: Value,
    rules: CompiledSchema,
    validator: Validator,
}

/// Checks files and prints what it finds, `FILE:LINE: FIELD: MESSAGE`.
pub(super) fn run(args: &LintArgs) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    let linter = Linter::new();
    let mut bad = 0;
    let mut sets = 0;
    for file in &args.files {
        let text = read(file)?;
        let (documents, mut findings) = linter.documents(&text);
        sets += documents.len();
        findings.extend(documents.iter().flat_map(|document| linter.check(document)));
        findings.sort();
        bad += findings.len();
        for (line, finding) in findings {
            let field = if finding.path.is_empty() { String::new() } else { format!("{}: ", finding.path) };
            writeln!(out, "{}:{line}: {field}{}", file.display(), finding.message).map_err(Exit::failure)?;
        }
    }
    if bad > 0 {
        return Err(Exit::failure(format!("{bad} problems in {sets} ChatTopicSets")));
    }
    writeln!(out, "{sets} ChatTopicSets, nothing wrong").map_err(Exit::failure)
}

pub(super) fn read(file: &Path) -> Result<String, Exit> {
    std::fs::read_to_string(file).map_err(|error| Exit::failure(format!("{}: {error}", file.display())))
}

impl Linter {
    pub(super) fn new() -> Self {
        let schema = api::schema();
        let rules = compile_schema(&schema);
        Self { schema, rules, validator: Validator::new() }
    }

    /// The ChatTopicSets of a file, and what is wrong with its YAML, by line.
    pub(super) fn documents(&self, text: &str) -> (Vec<Document>, Vec<(usize, Finding)>) {
        let (mut documents, mut findings) = (Vec::new(), Vec::new());
        for (before, part) in split(text) {
            // Through the YAML library's own value, which refuses a key that stands twice.
            let parsed = serde_yaml::from_str::<serde_yaml::Value>(&part)
                .and_then(|value| serde_yaml::from_value::<Value>(value.clone()));
            match parsed {
                Ok(mut object) if object["kind"] == "ChatTopicSet" => {
                    drop_nulls(&mut object);
                    let object = apply_defaults(&self.schema, &object);
                    documents.push(Document { object, text: part, before });
                }
                Ok(_) => {}
                Err(error) => {
                    let line = error.location().map_or(1, |at| at.line());
                    let finding = Finding { path: String::new(), message: error.to_string() };
                    findings.push((before + line, finding));
                }
            }
        }
        (documents, findings)
    }

    /// Everything that is wrong with one set, by line of its file.
    pub(super) fn check(&self, document: &Document) -> Vec<(usize, Finding)> {
        let Document { object, text, before } = document;
        let finding = |path: &str, message: String| Finding { path: path.to_owned(), message };
        let mut findings = Vec::new();
        if object["apiVersion"] != "parley.dev/v1alpha1" {
            findings.push(finding("apiVersion", "must be parley.dev/v1alpha1".to_owned()));
        }
        if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            findings.push(finding("metadata", "name is missing".to_owned()));
        }
        let structural = self.structural(object);
        // Rules are written for what the schema accepts.
        if structural.is_empty() {
            findings.extend(self.rules(object));
            findings.extend(config(object));
        }
        findings.extend(structural);
        let lines = Lines::of(text);
        findings.into_iter().map(|finding| (before + lines.find(&finding.path), finding)).collect()
    }

    /// What the schema refuses of a set.
    pub(super) fn structural(&self, object: &Value) -> Vec<Finding> {
        if object["spec"].is_null() {
            return vec![Finding { path: String::new(), message: "spec is missing".to_owned() }];
        }
        schema::check(&object["spec"], &self.schema["properties"]["spec"], "spec")
    }

    /// What the rules refuse of a set that the schema accepts.
    pub(super) fn rules(&self, object: &Value) -> Vec<Finding> {
        let checked = self.validator.validate_compiled(&self.rules, object, None);
        let errors = checked.err().map(ValidationErrors::into_vec).unwrap_or_default();
        errors.into_iter().map(|error| Finding { path: error.field_path, message: error.message }).collect()
    }
}

/// A null counts as if its field had been left out: the API server drops it before it fills in defaults.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The documents of a stream, each with the number of lines before it.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut parts = vec![(0, String::new())];
    for (number, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            parts.push((number + 1, String::new()));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// Configuration values that no topic can take. The API server lets them through, so that they cost only their topic.
fn config(object: &Value) -> Vec<Finding> {
    let spec = match serde_json::from_value::<api::ChatTopicSetSpec>(object["spec"].clone()) {
        Ok(spec) => spec,
        Err(error) => return vec![Finding { path: "spec".to_owned(), message: error.to_string() }],
    };
    let place = |name: &str| spec.topics.iter().position(|topic| topic.name == name).unwrap_or(0);
    let topics = desired::topics(&spec);
    let wrong = topics.iter().filter_map(|topic| Some((place(&topic.name), topic.config.as_ref().err()?)));
    wrong
        .map(|(index, why)| Finding { path: format!("spec.topics[{index}].config"), message: why.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let linter = Linter::new();
        let (documents, mut findings) = linter.documents(text);
        findings.extend(documents.iter().flat_map(|document| linter.check(document)));
        findings.sort();
        findings.into_iter().map(|(line, f)| format!("{line}: {}: {}", f.path, f.message)).collect()
    }

    #[test]
    fn the_samples_are_clean() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/samples")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(findings(&text), [] as [String; 0], "{}", path.display());
            assert!(!Linter::new().documents(&text).0.is_empty(), "{}", path.display());
        }
    }

    #[test]
    fn each_problem_with_its_line() {
        let text = "\
kind: ConfigMap
metadata: {name: other}
---
apiVersion: parley.dev/v1alpha1
kind: ChatTopicSet
metadata:
  name: s
spec:
  driftPolicy: Maybe
  topics:
    - name: a
      partitions: 0
    - name: a
    - nam: b
";
        assert_eq!(
            findings(text),
            [
                "9: spec.driftPolicy: must be one of Revert, Report",
                "12: spec.topics[0].partitions: must be at least 1",
                "13: spec.topics[1]: \"a\" stands here twice",
                "14: spec.topics[2]: name is missing",
                "14: spec.topics[2].nam: there is no such field",
            ]
        );
    }

    #[test]
    fn rules_and_configuration() {
        let text = "\
apiVersion: parley.dev/v1alpha1
kind: ChatTopicSet
metadata: {name: s}
spec:
  topics:
    - name: __mine
    - name: b
      config:
        retention.ms: 1.5
  workers:
    - name: w
      scaleTargetRef: {name: d}
      topics: [c]
";
        let found = findings(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("4: spec: every topic of a worker"), "{found:?}");
        assert!(found[1].starts_with("6: spec.topics[0].name: a topic name holds only"), "{found:?}");
        assert!(found[2].starts_with("8: spec.topics[1].config: config retention.ms: 1.5"), "{found:?}");
    }

    #[test]
    fn a_null_is_as_good_as_nothing() {
        let text = "\
apiVersion: parley.dev/v1alpha1
kind: ChatTopicSet
metadata: {name: s}
spec:
  driftPolicy:
  workers:
  topics: [{name: a, partitions: null, unmanagedConfig: null, config: {retention.ms: null}}]
";
        assert_eq!(findings(text), [] as [String; 0]);
        assert_eq!(findings(&text.replace("[{name: a", "[{name: null")).len(), 1, "but a name must be there");
    }

    #[test]
    fn broken_yaml_has_a_line_too() {
        let found = findings("kind: ChatTopicSet\n---\na: 1\na: 2\n");
        assert!(found.iter().any(|f| f.starts_with("4: ") || f.starts_with("3: ")), "{found:?}");
    }
}
