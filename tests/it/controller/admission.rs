//! Every CEL rule, from one table: offline by kube's CEL, as `controller lint` does it, and by the real API server.

use kube::core::cel::{Validator, apply_defaults};
use serde_json::{Value, json};

use super::client;
use crate::fixtures::{ApiServer, unique};

struct Case {
    what: &'static str,
    /// The spec before; none when the set is created.
    old: Option<Value>,
    new: Value,
    /// Words of the refusal; none when it is accepted.
    refused: Option<&'static str>,
}

fn topics(list: Value) -> Value {
    json!({ "topics": list })
}

fn worker(name: &str, target: &str, topics: Value, scaling: Value) -> Value {
    json!({
        "name": name, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "topics": topics, "scaling": scaling,
    })
}

fn with_workers(workers: Value) -> Value {
    json!({"topics": [{"name": "a"}, {"name": "b"}], "workers": workers})
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let case = |what, old: Option<Value>, new, refused| Case { what, old, new, refused };
    let create = |what, new, refused| case(what, None, new, refused);
    let fewer = Some("Kafka cannot take partitions away");
    let name = Some("a topic name holds only");
    vec![
        create("the least", topics(json!([{"name": "a"}])), None),
        create("every legal sign", topics(json!([{"name": "aZ09._-"}])), None),
        create("a slash", topics(json!([{"name": "a/b"}])), name),
        create("a dot", topics(json!([{"name": "."}])), name),
        create("two dots", topics(json!([{"name": ".."}])), name),
        create("Kafka's own", topics(json!([{"name": "__consumer_offsets"}])), name),
        create("one underscore", topics(json!([{"name": "_schemas"}])), None),
        case(
            "more partitions",
            Some(topics(json!([{"name": "a", "partitions": 2}]))),
            topics(json!([{"name": "a", "partitions": 3}])),
            None,
        ),
        case(
            "fewer partitions",
            Some(topics(json!([{"name": "a", "partitions": 3}]))),
            topics(json!([{"name": "a", "partitions": 2}])),
            fewer,
        ),
        case(
            "fewer partitions, to be reported",
            Some(topics(json!([{"name": "a", "partitions": 3}]))),
            topics(json!([{"name": "a", "partitions": 2, "onFewerPartitions": "Report"}])),
            None,
        ),
        case(
            "partitions left out",
            Some(topics(json!([{"name": "a", "partitions": 3}]))),
            topics(json!([{"name": "a"}])),
            None,
        ),
        case(
            "fewer default partitions",
            Some(json!({"defaults": {"partitions": 3}, "topics": [{"name": "a"}]})),
            json!({"defaults": {"partitions": 2}, "topics": [{"name": "a"}]}),
            fewer,
        ),
        case(
            "fewer default partitions that no topic takes",
            Some(json!({"defaults": {"partitions": 3}, "topics": [{"name": "a", "partitions": 5}]})),
            json!({"defaults": {"partitions": 2}, "topics": [{"name": "a", "partitions": 5}]}),
            None,
        ),
        create(
            "a worker of this set's topics",
            with_workers(json!([worker("w", "d", json!(["a", "b"]), json!({}))])),
            None,
        ),
        create(
            "a worker of another topic",
            with_workers(json!([worker("w", "d", json!(["a", "c"]), json!({}))])),
            Some("every topic of a worker must also stand in spec.topics"),
        ),
        create(
            "two workers, one target",
            with_workers(json!([
                worker("v", "d", json!(["a"]), json!({})),
                {"name": "w", "scaleTargetRef": {"apiVersion": "apps/v1beta1", "kind": "Deployment", "name": "d"}, "topics": ["b"]},
            ])),
            Some("two workers name the same scaleTargetRef"),
        ),
        create(
            "two workers, two targets",
            with_workers(json!([
                worker("v", "d", json!(["a"]), json!({})),
                worker("w", "e", json!(["b"]), json!({}))
            ])),
            None,
        ),
        create(
            "min above max",
            with_workers(json!([worker(
                "w",
                "d",
                json!(["a"]),
                json!({"minReplicas": 3, "maxReplicas": 2})
            )])),
            Some("minReplicas must not be above maxReplicas"),
        ),
        create(
            "lag without a group",
            with_workers(json!([worker("w", "d", json!(["a"]), json!({"mode": "Lag"}))])),
            Some("scaling mode Lag needs consumerGroup"),
        ),
        case(
            "a cluster id for the first time",
            Some(topics(json!([{"name": "a"}]))),
            json!({"kafka": {"bootstrapServers": "k:1", "clusterId": "x"}, "topics": [{"name": "a"}]}),
            None,
        ),
        case(
            "another cluster id",
            Some(json!({"kafka": {"bootstrapServers": "k:1", "clusterId": "x"}, "topics": [{"name": "a"}]})),
            json!({"kafka": {"bootstrapServers": "k:1", "clusterId": "y"}, "topics": [{"name": "a"}]}),
            Some("kafka.clusterId cannot change"),
        ),
        case(
            "a cluster id taken away with its parent",
            Some(json!({"kafka": {"bootstrapServers": "k:1", "clusterId": "x"}, "topics": [{"name": "a"}]})),
            topics(json!([{"name": "a"}])),
            Some("kafka.clusterId cannot change"),
        ),
        create(
            "a certificate without its key",
            json!({
                "kafka": {"bootstrapServers": "k:1", "tls": {"certSecretRef": {"name": "s", "key": "k"}}},
                "topics": [{"name": "a"}],
            }),
            Some("certSecretRef and keySecretRef come together"),
        ),
    ]
}

#[test]
fn offline() {
    let schema = parley::api::schema();
    let validator = Validator::new();
    let object = |spec: &Value| {
        let set = json!({"apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet", "metadata": {"name": "s"}, "spec": spec});
        apply_defaults(&schema, &set)
    };
    for case in cases() {
        let old = case.old.as_ref().map(object);
        let outcome = validator.validate(&schema, &object(&case.new), old.as_ref());
        match (case.refused, outcome) {
            (None, Ok(())) => {}
            (Some(words), Err(errors)) if errors.to_string().contains(words) => {}
            (expected, outcome) => panic!("{}: expected {expected:?}, got {outcome:?}", case.what),
        }
    }
}

#[tokio::test]
async fn by_the_api_server() {
    let api = ApiServer::shared();
    let (client, namespace) = (client(api).await, api.namespace());
    let sets: kube::Api<kube::core::DynamicObject> =
        kube::Api::namespaced_with(client, &namespace, &super::set_resource());
    let object = |name: &str, spec: &Value| -> kube::core::DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap()
    };
    for case in cases() {
        let name = unique("s");
        let outcome = match &case.old {
            None => sets.create(&kube::api::PostParams::default(), &object(&name, &case.new)).await,
            Some(old) => {
                let before =
                    sets.create(&kube::api::PostParams::default(), &object(&name, old)).await.unwrap();
                let mut after = object(&name, &case.new);
                after.metadata.resource_version = before.metadata.resource_version;
                sets.replace(&name, &kube::api::PostParams::default(), &after).await
            }
        };
        match (case.refused, outcome) {
            (None, Ok(_)) => {}
            (Some(words), Err(error)) if error.to_string().contains(words) => {}
            (expected, outcome) => panic!("{}: expected {expected:?}, got {outcome:?}", case.what),
        }
    }
}

/// What the schema alone refuses, without a rule of ours.
#[tokio::test]
async fn bounds_and_duplicates() {
    let api = ApiServer::shared();
    let (client, namespace) = (client(api).await, api.namespace());
    let sets: kube::Api<kube::core::DynamicObject> =
        kube::Api::namespaced_with(client, &namespace, &super::set_resource());
    let many = |n: usize| -> Vec<Value> { (0..n).map(|i| json!({"name": format!("t{i}")})).collect() };
    let workers = |n: usize| -> Vec<Value> {
        (0..n).map(|i| worker(&format!("w{i}"), &format!("d{i}"), json!(["t0"]), json!({}))).collect()
    };
    for (spec, words) in [
        (json!({"topics": []}), "spec.topics"),
        (json!({"topics": many(501)}), "must have at most 500 items"),
        (json!({"topics": [{"name": "a"}, {"name": "a"}]}), "Duplicate value"),
        (json!({"topics": many(1), "workers": workers(21)}), "must have at most 20 items"),
        (json!({"topics": [{"name": "a", "partitions": 0}]}), "greater than or equal to 1"),
        (json!({"topics": [{"name": "a", "partitions": "two"}]}), "must be of type integer"),
        (json!({"topics": [{"name": "a"}], "driftPolicy": "Maybe"}), "Unsupported value"),
    ] {
        let set = json!({
            "apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet", "metadata": {"name": unique("s")}, "spec": spec,
        });
        let set = serde_json::from_value(set).unwrap();
        let refused =
            sets.create(&kube::api::PostParams::default(), &set).await.expect_err(words).to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    // The largest set that is allowed, with every worker and every rule, is within the API server's cost budget.
    let largest = json!({
        "apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet", "metadata": {"name": unique("s")},
        "spec": {
            "topics": many(500),
            "workers": (0..20).map(|i| {
                let served: Vec<String> = (0..50).map(|t| format!("t{}", 499 - t)).collect();
                worker(&format!("w{i}"), &format!("d{i}"), json!(served), json!({}))
            }).collect::<Vec<_>>(),
        },
    });
    let largest = serde_json::from_value(largest).unwrap();
    sets.create(&kube::api::PostParams::default(), &largest).await.expect("the largest set is accepted");
}
