//! The controller against a real broker and a real API server.

mod admin;
mod admission;
mod between;
mod brokers;
mod commands;
mod crowd;
mod deletion;
mod drift;
mod held;
mod judged;
mod leading;
mod measures;
mod memory;
mod quiet;
mod refused;
mod remembered;
mod scale;
mod secret;
mod secured;
mod silent;
mod tap;
mod topics;
mod trouble;
mod uninstall;
mod workers;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use parley::kafka::{
    KafkaSettings,
    admin::{Admin, ConfigSource, Keys, TopicDescription},
};
use serde_json::{Value, json};

use crate::fixtures::{ApiServer, Binary, Kafka, eventually, unique};

/// A controller of a test's own, which serves one namespace of the test's own.
pub(crate) struct Rig {
    pub(crate) api: &'static ApiServer,
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) admin: Admin,
    pub(crate) controller: Binary,
    /// Put before topic names, so that tests can share a broker.
    pub(crate) prefix: String,
}

impl Rig {
    /// On the shared broker and API server.
    pub(crate) async fn start() -> Self {
        Self::on(ApiServer::shared(), Kafka::shared()).await
    }

    pub(crate) async fn on(api: &'static ApiServer, kafka: &Kafka) -> Self {
        Self::with(api, kafka, &[]).await
    }

    /// With further flags of the controller.
    pub(crate) async fn with(api: &'static ApiServer, kafka: &Kafka, flags: &[&str]) -> Self {
        let namespace = api.namespace();
        let controller = controller(api, &namespace, &kafka.bootstrap(), flags);
        Self::around(api, kafka, namespace, controller).await
    }

    /// Around a controller that was started in its own way.
    pub(crate) async fn around(
        api: &'static ApiServer,
        kafka: &Kafka,
        namespace: String,
        controller: Binary,
    ) -> Self {
        Self {
            client: client(api).await,
            admin: admin(&kafka.bootstrap()),
            controller: controller.ready().await,
            prefix: unique("t"),
            namespace,
            api,
        }
    }

    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn api_of(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, resource)
    }

    pub(crate) fn sets(&self) -> Api<DynamicObject> {
        self.api_of(&set_resource())
    }

    pub(crate) fn deployments(&self) -> Api<DynamicObject> {
        self.api_of(&ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")))
    }

    /// Applies a set as a user would; the topic names in `spec` are taken as they are.
    pub(crate) async fn apply(&self, name: &str, spec: Value) -> DynamicObject {
        self.try_apply(name, spec).await.expect("the set is accepted")
    }

    pub(crate) async fn try_apply(&self, name: &str, spec: Value) -> Result<DynamicObject, kube::Error> {
        let set = json!({
            "apiVersion": "parley.dev/v1alpha1", "kind": "ChatTopicSet", "metadata": {"name": name}, "spec": spec,
        });
        self.sets().patch(name, &PatchParams::apply("user").force(), &Patch::Apply(&set)).await
    }

    pub(crate) async fn get(&self, name: &str) -> Value {
        let set = self.sets().get(name).await.expect("the set is there");
        serde_json::to_value(set).expect("JSON")
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.sets().delete(name, &DeleteParams::default()).await.expect("the set can be deleted");
    }

    /// Waits until the set's condition has this status and reason, for its present generation.
    pub(crate) async fn condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> Value {
        let mut last = Value::Null;
        let found = tokio::time::timeout(crate::fixtures::DEADLINE, async {
            loop {
                // A server that has just come back may not know our kind yet.
                let set =
                    self.sets().get(name).await.ok().map(|set| serde_json::to_value(set).expect("JSON"));
                let set = set.unwrap_or_default();
                let found = set["status"]["conditions"].as_array().into_iter().flatten().any(|c| {
                    c["type"] == kind
                        && c["status"] == status
                        && c["reason"] == reason
                        && c["observedGeneration"] == set["metadata"]["generation"]
                });
                if found {
                    return set;
                }
                last = set;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| {
            let status_of = serde_json::to_string_pretty(&last["status"]).unwrap_or_default();
            panic!("no {kind}={status}/{reason}: {status_of}\n{}", self.controller.log())
        })
    }

    pub(crate) async fn ready(&self, name: &str) -> Value {
        self.condition(name, "Ready", "True", "Reconciled").await
    }

    /// One topic of the set's status.
    pub(crate) async fn topic_status(&self, set: &str, topic: &str) -> Value {
        let set = self.get(set).await;
        let topics = set["status"]["topics"].as_array().cloned().unwrap_or_default();
        topics.into_iter().find(|t| t["name"] == topic).unwrap_or(Value::Null)
    }

    /// The topic as the broker describes it; none when there is none.
    pub(crate) async fn describe(&self, topic: &str) -> Option<TopicDescription> {
        let described = self.admin.describe_topics(vec![topic.to_owned()]).await.expect("the broker answers");
        described.into_iter().next().and_then(|(_, topic)| topic.ok())
    }

    /// The values set on the topic itself.
    pub(crate) async fn config(&self, topic: &str) -> BTreeMap<String, String> {
        let described = self
            .admin
            .describe_configs(vec![(topic.to_owned(), Keys::default())])
            .await
            .expect("the broker answers");
        let (_, entries) = described.into_iter().next().expect("one topic");
        entries
            .expect("the topic is there")
            .into_iter()
            .filter(|entry| entry.source == ConfigSource::Topic)
            .filter_map(|entry| Some((entry.key, entry.value?)))
            .collect()
    }

    /// Waits until the topic has this value of a key: a broker shows what it took a moment later.
    pub(crate) async fn configured(&self, topic: &str, key: &str, value: &str) {
        eventually(&format!("{key} of {topic} to be {value}"), || async {
            (self.config(topic).await.get(key).map(String::as_str) == Some(value)).then_some(())
        })
        .await;
    }

    /// A Deployment that nobody runs: the API server has no nodes.
    pub(crate) async fn deployment(&self, name: &str) {
        self.deployment_of(name, Value::Null).await;
    }

    /// The same, created with so many replicas; null leaves them out.
    pub(crate) async fn deployment_of(&self, name: &str, replicas: Value) {
        let labels = json!({"app": name});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}},
            },
        });
        let deployment = serde_json::from_value(deployment).expect("a Deployment");
        self.deployments().create(&kube::api::PostParams::default(), &deployment).await.expect("created");
    }

    pub(crate) async fn replicas(&self, name: &str) -> i64 {
        let deployment = self.deployments().get(name).await.expect("the Deployment is there");
        deployment.data["spec"]["replicas"].as_i64().unwrap_or(-1)
    }

    pub(crate) async fn scaled_to(&self, name: &str, replicas: i64) {
        eventually(&format!("{name} at {replicas}"), || async {
            (self.replicas(name).await == replicas).then_some(())
        })
        .await;
    }

    /// Says that all wanted replicas are ready, as kube-controller-manager would.
    pub(crate) async fn make_ready(&self, name: &str) {
        let replicas = self.replicas(name).await;
        let status = json!({"status": {"replicas": replicas, "readyReplicas": replicas}});
        self.deployments()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .expect("the status can be written");
    }

    /// Waits until the status speaks of the present spec.
    pub(crate) async fn observed(&self, name: &str) -> Value {
        eventually("the spec is observed", || async {
            let set = self.get(name).await;
            (set["status"]["observedGeneration"] == set["metadata"]["generation"]).then_some(set)
        })
        .await
    }

    /// The notes of all events of a reason in the namespace.
    pub(crate) async fn events(&self, reason: &str) -> Vec<String> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("events.k8s.io", "v1", "Event"));
        let events = self.api_of(&resource).list(&kube::api::ListParams::default()).await.expect("events");
        let notes = events.items.into_iter().filter(|e| e.data["reason"] == reason);
        notes.filter_map(|e| e.data["note"].as_str().map(str::to_owned)).collect()
    }

    /// Gives the set a label of a new value, and waits for the reconcile that it causes: one without any change.
    pub(crate) async fn touch(&self, name: &str) {
        let before = self.controller.metric("parley_reconcile_total", &[]).await;
        let patch = json!({"metadata": {"labels": {"touched": unique("x")}}});
        self.sets().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("touched");
        eventually("another reconcile", || async {
            (self.controller.metric("parley_reconcile_total", &[]).await > before).then_some(())
        })
        .await;
    }
}

pub(crate) fn set_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("parley.dev", "v1alpha1", "ChatTopicSet"),
        "chattopicsets",
    )
}

/// A controller for one namespace, with a lease of its own there. It may do what the chart lets it do, and nothing else.
pub(crate) fn controller(api: &ApiServer, namespace: &str, bootstrap: &str, more: &[&str]) -> Binary {
    let kinds = more.iter().skip_while(|flag| **flag != "--scale-targets").nth(1);
    let kubeconfig = api.controller_kubeconfig(namespace, kinds.unwrap_or(&"apps/deployments"));
    controller_by(&kubeconfig, namespace, bootstrap, more)
}

/// The same, by the way to the API server that this file tells.
pub(crate) fn controller_by(kubeconfig: &Path, namespace: &str, bootstrap: &str, more: &[&str]) -> Binary {
    let kubeconfig = kubeconfig.display().to_string();
    let mut args = vec![
        "run",
        "--kafka-bootstrap-servers",
        bootstrap,
        "--watch-namespaces",
        namespace,
        "--own-connection-namespaces",
        namespace,
        "--lease-namespace",
        namespace,
        // So that what is done behind the controller's back is noticed soon.
        "--poll-seconds",
        "1",
    ];
    args.extend(patient(more));
    Binary::start("controller", &args, &[("KUBECONFIG", &kubeconfig)])
}

/// These flags, and a lease that outlives some ten seconds in which the machine stands still, unless they tell one: who lost it forgets
/// what it has seen, and how long Kafka is waited for follows from it.
fn patient<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let lease: &[&str] = if flags.contains(&"--lease-seconds") { &[] } else { &["--lease-seconds", "20"] };
    [flags, lease].concat()
}

pub(crate) async fn client(api: &ApiServer) -> Client {
    let kubeconfig = Kubeconfig::read_from(api.kubeconfig()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

pub(crate) fn admin(bootstrap: &str) -> Admin {
    let settings = KafkaSettings::plaintext(bootstrap);
    Admin::new(&settings, Duration::from_secs(60), Arc::new(|_, _, _| {})).expect("a client")
}

/// What the tests' controllers run with is no administrator's: see [`controller`].
#[tokio::test]
async fn the_controllers_of_these_tests_have_the_rights_of_the_chart() {
    let api = ApiServer::shared();
    let (namespace, other) = (api.namespace(), api.namespace());
    let account = api.controller_kubeconfig(&namespace, "apps/deployments").display().to_string();
    let may = |what: &[&str], namespace: &str| {
        let asked = [&["auth", "can-i", "--kubeconfig", &account, "-n", namespace], what].concat();
        // It ends with 1 when the answer is no.
        api.try_kubectl(&asked).is_ok_and(|answer| answer.trim() == "yes")
    };
    for right in [
        &["list", "chattopicsets"][..],
        &["patch", "chattopicsets", "--subresource=status"],
        &["patch", "deployments.apps", "--subresource=scale"],
        &["create", "events.events.k8s.io"],
        &["update", "leases.coordination.k8s.io/parley-controller"],
        &["get", "secrets/kafka"],
    ] {
        assert!(may(right, &namespace), "{right:?}");
        assert!(!may(right, &other), "{right:?} in another namespace");
    }
    for none in [
        &["*", "*"][..],
        &["create", "chattopicsets"],
        &["delete", "chattopicsets"],
        &["patch", "deployments.apps"],
        &["patch", "statefulsets.apps", "--subresource=scale"],
        &["update", "leases.coordination.k8s.io/another"],
        &["get", "secrets/other"],
        &["list", "secrets"],
    ] {
        assert!(!may(none, &namespace), "{none:?}");
    }
}
