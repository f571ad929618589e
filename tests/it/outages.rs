//! Kafka and PostgreSQL away at the start and later: the services wait, say why in /readyz, and go on without a restart.

use std::time::{Duration, Instant};

use hyper::Method;
use parley::loadgen::Client;
use serde_json::json;

use crate::{
    fixtures::{Binary, Chat, Kafka, Postgres, eventually, keys_dir, unique},
    path::{PASSWORD, ask},
};

struct Parts {
    kafka: Kafka,
    postgres: Postgres,
    services: Vec<Binary>,
}

/// Kafka and PostgreSQL of the test's own, and one worker and one gateway that look for them.
fn start(kafka: Kafka, postgres: Postgres) -> Parts {
    let keys = |file: &str| keys_dir().join(file).display().to_string();
    let services = ["worker", "gateway"].map(|name| {
        let env = [
            ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap()),
            ("PARLEY_DATABASE_URL", postgres.url(name, "parley")),
            ("PARLEY_REQUEST_KEYS_FILE", keys("request-keys.json")),
            ("PARLEY_REPLY_KEYS_FILE", keys("reply-keys.json")),
        ];
        let own = match name {
            "worker" => vec![
                ("PARLEY_SEAL_PRIVATE_KEYS_FILE", keys("seal-private.json")),
                ("PARLEY_KINDS", "Login,AddChat".to_owned()),
                ("PARLEY_CONSUMER_GROUP", unique("group")),
            ],
            _ => vec![
                ("PARLEY_SEAL_PUBLIC_KEYS_FILE", keys("seal-public.json")),
                ("PARLEY_LISTEN_ADDR", "127.0.0.1:0".to_owned()),
            ],
        };
        let all: Vec<(&str, &str)> =
            env.iter().chain(&own).map(|(name, value)| (*name, value.as_str())).collect();
        Binary::start(name, &["run"], &all)
    });
    Parts { kafka, postgres, services: services.into() }
}

impl Parts {
    /// Waits until every service is unready because of this dependency, and alive all the same.
    async fn unready(&self, dependency: &str) {
        for service in &self.services {
            eventually(&format!("{dependency} in /readyz of {}", service.log()), || async {
                let (status, body) = service.get("/readyz").await?;
                let report: serde_json::Value = serde_json::from_str(&body).ok()?;
                let state = &report["dependencies"][dependency];
                (status == 503 && state["ready"] == false && state["reason"].is_string()).then_some(())
            })
            .await;
            assert_eq!(service.get("/livez").await.map(|(status, _)| status), Some(200));
        }
    }

    async fn ready(&self) {
        for service in &self.services {
            eventually(&format!("/readyz of {}", service.log()), || async {
                let (status, _) = service.get("/readyz").await?;
                (status == 200).then_some(())
            })
            .await;
        }
    }
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_wait_for_kafka_and_postgres_at_the_start_and_later() {
    let (kafka, postgres) = (Kafka::own(1), Postgres::own());
    postgres.migrate("parley");
    kill(kafka.pid(0));
    kill(postgres.pid());

    let parts = start(kafka, postgres);
    parts.unready("kafka").await;
    parts.unready("postgres").await;

    parts.kafka.start_again();
    parts.postgres.start_again();
    parts.ready().await;

    kill(parts.postgres.pid());
    parts.unready("postgres").await;
    parts.postgres.start_again();
    parts.ready().await;

    kill(parts.kafka.pid(0));
    parts.unready("kafka").await;
    parts.kafka.start_again();
    parts.ready().await;

    for service in parts.services {
        let status = service.stop().await;
        assert_eq!(status.code(), Some(0), "a clean drain");
    }
}

/// Who asks a second time does not want to wait for the streams, which leave one by one.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_drain_at_once() {
    let chat = Chat::bare().await;
    let (gateway, addr) = chat.gateway(&[("PARLEY_DRAIN_SECONDS", "120")]);
    let mut gateway = gateway.ready().await;
    let mut streams = Vec::new();
    for _ in 0..30 {
        streams.push(Client::new(addr).events(None).await.expect("a stream"));
    }
    gateway.signal("TERM");
    eventually("the drain", || async { gateway.log().contains("asked to stop: draining").then_some(()) })
        .await;
    assert_eq!(gateway.ended(), None, "its streams have two minutes");
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait().await.code(), Some(1));
    // The drain would have gone on for most of its two minutes.
    assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
    assert!(gateway.log().contains("asked to stop a second time"), "{}", gateway.log());
}

/// `helm install --wait` ends before anybody has declared a topic: everything is ready, says what is missing, and serves once a set
/// has made it.
#[tokio::test(flavor = "multi_thread")]
async fn services_are_ready_before_their_topics_are_there_and_serve_once_they_are() {
    let chat = Chat::without_topics(1).await;
    let (gateway, addr) = chat.gateway(&[]);
    let services = [chat.worker(&[]).ready().await, gateway.ready().await];
    let topics = async |service: &Binary| {
        let (status, body) = service.get("/readyz").await?;
        let report: serde_json::Value = serde_json::from_str(&body).ok()?;
        Some((status, report["dependencies"]["topics"].clone()))
    };
    for service in &services {
        let (_, told) = eventually(&format!("the missing topics in {}", service.log()), || async {
            topics(service).await.filter(|(status, told)| *status == 200 && told["ready"] == false)
        })
        .await;
        let reason = told["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("user-add-chat-re"), "the topics are named: {told}");
    }
    chat.create_topics().await;
    for service in &services {
        eventually(&format!("no missing topics in {}", service.log()), || async {
            topics(service).await.filter(|(status, told)| *status == 200 && told["ready"] == true)
        })
        .await;
    }
    // The worker's group comes to the new topics by and by, and a request does not wait for ever.
    eventually("somebody to sign up", || async {
        let (name, client) = (unique("first"), Client::new(addr));
        let account = json!({"userId": name, "password": PASSWORD, "email": format!("{name}@example.com"), "userName": name});
        let (status, reply) = ask(&client, Method::POST, "/api/users", account).await;
        (status == 200 && reply["user"]["userId"] == json!(name)).then_some(())
    })
    .await;
}
