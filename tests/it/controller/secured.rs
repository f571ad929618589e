//! Kafka that demands TLS, a password or a certificate, and rights: credentials from Secrets, and each missing right told apart.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Rig;
use crate::fixtures::{ApiServer, Kafka, eventually};

/// A rig with a user of its own in the secured Kafka, and its Secret.
struct Secured {
    rig: Rig,
    kafka: &'static Kafka,
    user: String,
}

impl Secured {
    async fn start() -> Self {
        let kafka = Kafka::shared_secured();
        let rig = Rig::on(ApiServer::shared(), kafka).await;
        let secured = Self { user: rig.prefix.clone(), kafka, rig };
        secured.password("right");
        secured.secret("right").await;
        secured
    }

    fn password(&self, password: &str) {
        self.password_by("SCRAM-SHA-512", password);
    }

    fn password_by(&self, mechanism: &str, password: &str) {
        self.kafka.scram_user(mechanism, &self.user, password);
    }

    /// Grants the user rights on its topics (and on the cluster what a describe needs).
    fn allow(&self, operations: &[&str]) {
        let principal = format!("User:{}", self.user);
        let prefix = self.rig.prefix.clone();
        let mut args = vec!["--add", "--allow-principal", &principal, "--topic", &prefix];
        args.extend(["--resource-pattern-type", "prefixed"]);
        for operation in operations {
            args.extend(["--operation", operation]);
        }
        self.kafka.tool("org.apache.kafka.tools.AclCommand", &args, "");
    }

    async fn secret(&self, password: &str) {
        let ca = self.kafka.ca();
        self.secret_of(json!({"user": self.user, "password": password, "ca.crt": ca})).await;
    }

    async fn secret_of(&self, data: Value) {
        let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
            kube::Api::namespaced(self.rig.client.clone(), &self.rig.namespace);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kafka"}, "stringData": data,
        });
        secrets
            .patch("kafka", &PatchParams::apply("test").force(), &Patch::Apply(&secret))
            .await
            .expect("a Secret");
    }

    fn spec(&self, topics: Value) -> Value {
        let from = |key: &str| json!({"name": "kafka", "key": key});
        json!({
            "kafka": {
                "bootstrapServers": self.kafka.secured_bootstrap(),
                "tls": {"caSecretRef": from("ca.crt")},
                "sasl": {"usernameSecretRef": from("user"), "passwordSecretRef": from("password")},
            },
            "topics": topics,
        })
    }
}

#[tokio::test]
async fn tls_and_scram_from_a_secret() {
    let secured = Secured::start().await;
    let topic = secured.rig.topic("t");
    secured.allow(&["All"]);
    secured
        .rig
        .apply("s", secured.spec(json!([{"name": topic, "config": {"retention.ms": 1_000_000}}])))
        .await;
    secured.rig.ready("s").await;
    assert_eq!(secured.rig.config(&topic).await["retention.ms"], "1000000");
    let log = secured.rig.controller.log();
    assert!(!log.contains("right"), "the password is nowhere in the log");
}

/// A set that reaches its Kafka by this mechanism, as a user whom the broker knows by no other.
async fn by_mechanism(secured: &Secured, mechanism: &str) {
    let topic = secured.rig.topic("t");
    secured.allow(&["All"]);
    let mut spec = secured.spec(json!([{ "name": topic }]));
    // The default is another one: refused.
    secured.rig.apply("s", spec.clone()).await;
    secured.rig.condition("s", "TopicsReady", "False", "AuthorizationFailed").await;
    spec["kafka"]["sasl"]["mechanism"] = json!(mechanism);
    secured.rig.apply("s", spec).await;
    secured.rig.ready("s").await;
    assert!(secured.rig.describe(&topic).await.is_some());
}

#[tokio::test]
async fn scram_sha_256_from_a_secret() {
    let mut secured = Secured::start().await;
    secured.user = format!("{}-256", secured.rig.prefix);
    secured.password_by("SCRAM-SHA-256", "sha-256-secret");
    secured.secret("sha-256-secret").await;
    by_mechanism(&secured, "SCRAM-SHA-256").await;
    assert!(!secured.rig.controller.log().contains("sha-256-secret"), "the password is nowhere in the log");
}

#[tokio::test]
async fn plain_from_a_secret() {
    let mut secured = Secured::start().await;
    "plain".clone_into(&mut secured.user);
    secured.secret("plain-secret").await;
    by_mechanism(&secured, "PLAIN").await;
    assert!(!secured.rig.controller.log().contains("plain-secret"), "the password is nowhere in the log");
}

/// A certificate instead of a password: without it the broker ends the connection, with it the set has the rights of its name.
#[tokio::test]
async fn a_client_certificate_from_a_secret() {
    let mut secured = Secured::start().await;
    let name = secured.rig.prefix.clone();
    let (certificate, key) = secured.kafka.client_certificate(&name);
    secured.user = format!("CN={name}");
    secured.allow(&["All"]);
    secured.secret_of(json!({"tls.crt": certificate, "tls.key": key, "ca.crt": secured.kafka.ca()})).await;
    let from = |key: &str| json!({"name": "kafka", "key": key});
    let topic = secured.rig.topic("t");
    let spec = |tls: Value| json!({"kafka": {"bootstrapServers": secured.kafka.mutual_bootstrap(), "tls": tls}, "topics": [{"name": topic}]});
    secured.rig.apply("s", spec(json!({"caSecretRef": from("ca.crt")}))).await;
    secured.rig.condition("s", "Ready", "Unknown", "KafkaUnreachable").await;
    let tls = json!({"caSecretRef": from("ca.crt"), "certSecretRef": from("tls.crt"), "keySecretRef": from("tls.key")});
    secured.rig.apply("s", spec(tls)).await;
    secured.rig.ready("s").await;
    assert!(secured.rig.describe(&topic).await.is_some());
    assert!(!secured.rig.controller.log().contains("PRIVATE KEY"), "the key is nowhere in the log");
}

/// Strimzi `shFail{Creation,AddPartitions,AlterConfig,Delete}IfNoTopicAuthz`: one right after the other.
#[tokio::test]
async fn each_missing_right_shows_separately() {
    let secured = Secured::start().await;
    let rig = &secured.rig;
    let topic = rig.topic("t");
    let spec = |partitions: i32, retention: i64| {
        secured
            .spec(json!([{"name": topic, "partitions": partitions, "config": {"retention.ms": retention}}]))
    };
    let says = async |words: &str| {
        rig.condition("s", "TopicsReady", "False", "AuthorizationFailed").await;
        eventually(words, || async {
            let message =
                rig.topic_status("s", &topic).await["message"].as_str().unwrap_or_default().to_owned();
            message.contains(words).then_some(())
        })
        .await;
    };
    rig.apply("s", spec(1, 1_000_000)).await;
    says("Describe on the topic is refused").await;
    secured.allow(&["Describe"]);
    says("Creating the topic failed").await;
    secured.allow(&["Create"]);
    says("DescribeConfigs on the topic failed").await;
    assert!(rig.describe(&topic).await.is_some());
    secured.allow(&["DescribeConfigs"]);
    rig.ready("s").await;
    rig.apply("s", spec(2, 1_000_000)).await;
    says("Adding partitions failed").await;
    secured.allow(&["Alter"]);
    rig.ready("s").await;
    rig.apply("s", spec(2, 2_000_000)).await;
    says("Changing the configuration failed").await;
    secured.allow(&["AlterConfigs"]);
    rig.ready("s").await;
    let mut deletes = spec(2, 2_000_000);
    deletes["deletionPolicy"] = json!("Delete");
    rig.apply("s", deletes).await;
    rig.ready("s").await;
    rig.delete("s").await;
    eventually("the set says why it waits", || async {
        let set = rig.sets().get_opt("s").await.ok()??;
        set.data["status"].to_string().contains(&format!("Deleting {topic} failed")).then_some(())
    })
    .await;
    secured.allow(&["Delete"]);
    eventually("the set goes with its topic", || async {
        (rig.sets().get_opt("s").await.ok()?.is_none() && rig.describe(&topic).await.is_none()).then_some(())
    })
    .await;
}

/// A wrong password is said, and a rotated one is noticed without any change of the set.
#[tokio::test]
async fn a_rotated_secret_is_noticed() {
    let secured = Secured::start().await;
    let topic = secured.rig.topic("t");
    secured.allow(&["All"]);
    secured.secret("wrong").await;
    secured.rig.apply("s", secured.spec(json!([{ "name": topic }]))).await;
    secured.rig.condition("s", "TopicsReady", "False", "AuthorizationFailed").await;
    secured.secret("right").await;
    secured.rig.ready("s").await;
}

/// A Secret that is not there is named.
#[tokio::test]
async fn a_missing_secret_is_named() {
    let secured = Secured::start().await;
    let mut spec = secured.spec(json!([{"name": secured.rig.topic("t")}]));
    spec["kafka"]["sasl"]["passwordSecretRef"]["key"] = json!("no-such-key");
    secured.rig.apply("s", spec).await;
    let set = secured.rig.condition("s", "Ready", "Unknown", "KafkaUnreachable").await;
    assert!(set["status"]["conditions"][0]["message"].as_str().unwrap().contains("no-such-key"));
}

impl Secured {
    /// Takes a right on its topics away.
    fn forbid(&self, operation: &str) {
        let (principal, prefix) = (format!("User:{}", self.user), self.rig.prefix.clone());
        let args = [
            "--remove",
            "--force",
            "--allow-principal",
            &principal,
            "--topic",
            &prefix,
            "--resource-pattern-type",
            "prefixed",
            "--operation",
            operation,
        ];
        self.kafka.tool("org.apache.kafka.tools.AclCommand", &args, "");
    }
}

/// A topic that was lost and may not be made anew at first: when it may, its loss is told, and not a creation like any other.
#[tokio::test]
async fn a_loss_is_told_however_many_tries_it_takes() {
    let secured = Secured::start().await;
    let rig = &secured.rig;
    let topic = rig.topic("t");
    secured.allow(&["Describe", "DescribeConfigs", "Create"]);
    rig.apply("s", secured.spec(json!([{"name": topic, "partitions": 2}]))).await;
    let before = rig.ready("s").await["status"]["topics"][0].clone();
    secured.forbid("Create");
    rig.admin.delete_topics(vec![topic.clone()]).await.unwrap()[0].1.clone().unwrap();
    rig.condition("s", "TopicsReady", "False", "AuthorizationFailed").await;
    let status = rig.topic_status("s", &topic).await;
    assert!(status["message"].as_str().is_some_and(|m| m.contains("Creating the topic failed")), "{status}");
    assert_eq!((&status["state"], &status["topicId"]), (&json!("Creating"), &before["topicId"]));
    assert!(rig.events("TopicLost").await.is_empty(), "not before it is there again");
    secured.allow(&["Create"]);
    let set = rig.ready("s").await;
    assert_ne!(set["status"]["topics"][0]["topicId"], before["topicId"]);
    let lost = rig.events("TopicLost").await;
    assert!(lost.len() == 1 && lost[0].contains(&topic) && lost[0].contains("data is gone"), "{lost:?}");
    assert_eq!(rig.events("TopicCreated").await.len(), 1, "the first creation alone");
}

/// A group that may not be described (mode Lag): the count is held and the message says why, and then it is not held any more.
#[tokio::test]
async fn a_group_out_of_reach_holds_the_count() {
    let secured = Secured::start().await;
    let rig = &secured.rig;
    let topic = rig.topic("t");
    secured.allow(&["Describe", "DescribeConfigs", "Create"]);
    rig.deployment_of("pool", json!(2)).await;
    rig.make_ready("pool").await;
    let mut spec = secured.spec(json!([{"name": topic, "partitions": 4}]));
    spec["workers"] = json!([{
        "name": "w", "scaleTargetRef": {"name": "pool"}, "topics": [topic], "consumerGroup": topic,
        "scaling": {"mode": "Lag", "minReplicas": 4, "lag": {"recordsPerSecondPerWorker": 100}},
    }]);
    rig.apply("s", spec).await;
    rig.condition("s", "WorkersReady", "False", "LagUnknown").await;
    let set = eventually("the message names the right", || async {
        let set = rig.get("s").await;
        let message = set["status"]["workers"][0]["message"].as_str()?.to_lowercase();
        (message.contains("group") && message.contains("authoriz")).then_some(set)
    })
    .await;
    assert_eq!(set["status"]["topicsReady"], "1/1");
    assert_eq!(rig.replicas("pool").await, 2, "held");
    let principal = format!("User:{}", secured.user);
    let args = ["--add", "--allow-principal", &principal, "--group", &topic, "--operation", "Describe"];
    secured.kafka.tool("org.apache.kafka.tools.AclCommand", &args, "");
    rig.scaled_to("pool", 4).await;
    rig.make_ready("pool").await;
    rig.ready("s").await;
}
