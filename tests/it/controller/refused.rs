//! What the API server refuses the controller: said, kept apart, and done once it may be.

use serde_json::{Value, json};

use super::{Rig, patient};
use crate::fixtures::{ApiServer, Binary, Kafka, eventually, unique};

/// A controller as [`super::controller`] starts it, but as this user of these groups: so the audit log tells whose a write was, and
/// it has the rights of these and no other.
pub(super) fn controller_as(
    (user, groups): (&str, &[&str]),
    api: &ApiServer,
    namespace: &str,
    bootstrap: &str,
    more: &[&str],
) -> Binary {
    let text = std::fs::read_to_string(api.kubeconfig()).expect("a kubeconfig");
    let mut config: Value = serde_yaml::from_str(&text).expect("YAML");
    config["users"][0]["user"]["as"] = json!(user);
    config["users"][0]["user"]["as-groups"] = json!(groups);
    let file = api.kubeconfig().with_file_name(unique(user));
    std::fs::write(&file, config.to_string()).expect("a kubeconfig can be written");
    let mut args = vec!["run", "--kafka-bootstrap-servers", bootstrap, "--poll-seconds", "1"];
    for flag in ["--watch-namespaces", "--own-connection-namespaces", "--lease-namespace"] {
        args.extend([flag, namespace]);
    }
    args.extend(patient(more));
    Binary::start("controller", &args, &[("KUBECONFIG", &file.display().to_string())])
}

/// A rig whose controller has rights of its own in its namespace, given one by one.
pub(super) struct Limited {
    pub(super) rig: Rig,
    user: String,
}

impl Limited {
    /// With all that it needs at the very least: to lead, to see sets and targets, to say what it finds.
    pub(super) async fn start(kafka: &Kafka) -> Self {
        let api = ApiServer::shared();
        let (namespace, user) = (api.namespace(), unique("limited"));
        let grant = |verbs, resource| grant(api, &namespace, &user, verbs, resource);
        grant("create,get,update", "leases.coordination.k8s.io");
        grant("get,list,watch,patch", "chattopicsets.parley.dev");
        grant("get,list,watch", "deployments.apps");
        grant("create,patch", "events.events.k8s.io");
        let groups: &[&str] = &["system:authenticated"];
        let controller = controller_as((&user, groups), api, &namespace, &kafka.bootstrap(), &[]);
        Self { rig: Rig::around(api, kafka, namespace, controller).await, user }
    }

    pub(super) fn grant(&self, verbs: &str, resource: &str) {
        grant(self.rig.api, &self.rig.namespace, &self.user, verbs, resource);
    }
}

fn grant(api: &ApiServer, namespace: &str, user: &str, verbs: &str, resource: &str) {
    let role = unique("role");
    let (verb, resource) = (format!("--verb={verbs}"), format!("--resource={resource}"));
    api.kubectl(&["create", "role", &role, "-n", namespace, &verb, &resource]);
    let (role_of, user) = (format!("--role={role}"), format!("--user={user}"));
    api.kubectl(&["create", "rolebinding", &role, "-n", namespace, &role_of, &user]);
}

/// A Secret that may not be read, and a replica count that may not be written, are conditions of their own; the topics go on.
#[tokio::test]
async fn a_secret_and_a_replica_count_out_of_reach_are_said() {
    let limited = Limited::start(Kafka::shared()).await;
    let rig = &limited.rig;
    limited.grant("patch", "chattopicsets.parley.dev/status");
    let topic = rig.topic("t");
    rig.deployment("pool").await;
    let spec = |kafka: Value| {
        json!({
            "kafka": kafka, "topics": [{"name": topic, "partitions": 3}],
            "workers": [{"name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic]}],
        })
    };
    let bootstrap = Kafka::shared().bootstrap();
    let from = |key: &str| json!({"name": "kafka", "key": key});
    let secret = json!({"usernameSecretRef": from("user"), "passwordSecretRef": from("password")});
    rig.apply("s", spec(json!({"bootstrapServers": bootstrap, "sasl": secret}))).await;
    let set = rig.condition("s", "TopicsReady", "False", "AuthorizationFailed").await;
    assert!(set["status"].to_string().contains("Secret kafka may not be read"), "{}", set["status"]);
    assert!(rig.describe(&topic).await.is_none());

    rig.apply("s", spec(json!({ "bootstrapServers": bootstrap }))).await;
    rig.condition("s", "TopicsReady", "True", "Reconciled").await;
    let set = rig.condition("s", "WorkersReady", "False", "AuthorizationFailed").await;
    let message = set["status"]["workers"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("refuses the write") && message.contains("deployments/scale"), "{message}");
    assert_eq!(rig.replicas("pool").await, 1);
    limited.grant("patch", "deployments.apps/scale");
    rig.scaled_to("pool", 3).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
    let refused = rig.events("Refused").await;
    assert!(refused.iter().any(|note| note.contains("worker w:")), "{refused:?}");
    eventually("nothing waits for another try", || async {
        (rig.controller.metric("parley_objects_in_backoff", &[]).await == 0.0).then_some(())
    })
    .await;
}
