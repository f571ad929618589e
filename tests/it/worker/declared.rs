//! A kind is declared in one place of the code; these are the places outside of it that must name it too.

use std::fs;

use parley::wire::Kind;

use crate::fixtures::root;

#[test]
fn samples_and_charts_know_every_kind() {
    let read = |file: &str| fs::read_to_string(root().join(file)).expect(file);
    for file in
        ["docs/samples/chat.yaml", "docs/samples/chat-three-brokers.yaml", "charts/parley-topics/values.yaml"]
    {
        let text = read(file);
        for kind in Kind::ALL {
            let (request, response) = (kind.request_topic(), kind.response_topic());
            // Once as a topic, once as a worker pool's.
            assert_eq!(text.matches(&format!(" {request}")).count(), 2, "{request} in {file}");
            assert_eq!(text.matches(&format!(" {response}")).count(), 1, "{response} in {file}");
        }
    }
    let values: serde_yaml::Value = serde_yaml::from_str(&read("charts/parley/values.yaml")).expect("YAML");
    let pools = values["workers"].as_mapping().expect("pools");
    let mut served: Vec<String> = pools
        .values()
        .flat_map(|pool| pool["kinds"].as_sequence().cloned().unwrap_or_default())
        .map(|kind| kind.as_str().expect("a name").to_owned())
        .collect();
    served.sort();
    let mut all = Kind::ALL.map(|kind| kind.as_str().to_owned());
    all.sort();
    assert_eq!(served, all, "the chart's pools");
    let schema = read("charts/parley/values.schema.json");
    for kind in Kind::ALL {
        assert!(schema.contains(&format!("\"{kind}\"")), "{kind} in the chart's schema");
    }
}
