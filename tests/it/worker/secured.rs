//! A worker and a gateway whose Kafka demands TLS, rights and a password by each mechanism or a certificate, and whose PostgreSQL
//! demands TLS.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use parley::{
    loadgen::Actor,
    wire::{CHAT_EVENT, DEAD_LETTER, Kind},
};

use super::world::{KafkaRef, PASSWORD, World};
use crate::fixtures::{Binary, Kafka, Postgres, eventually, free_ports, unique};

/// Grants this user these operations on topics or groups.
fn grant(kafka: &Kafka, user: &str, operation: &str, resources: &[&str]) {
    let principal = format!("User:{user}");
    let mut args = vec!["--add", "--allow-principal", &principal, "--operation", operation];
    args.extend(resources);
    kafka.tool("org.apache.kafka.tools.AclCommand", &args, "");
}

/// What docs/security.md says that a worker needs, and nothing else.
fn allow_worker(kafka: &Kafka, user: &str, group: &str) {
    grant(kafka, user, "Read", &flags(Kind::ALL.map(Kind::request_topic), &[]));
    grant(kafka, user, "Write", &flags(Kind::ALL.map(Kind::response_topic), &[CHAT_EVENT, DEAD_LETTER]));
    grant(kafka, user, "Read", &["--group", group]);
}

/// What it says that a gateway needs.
fn allow_gateway(kafka: &Kafka, user: &str) {
    grant(kafka, user, "Write", &flags(Kind::ALL.map(Kind::request_topic), &[]));
    grant(kafka, user, "Read", &flags(Kind::ALL.map(Kind::response_topic), &[CHAT_EVENT]));
}

fn flags<const N: usize>(topics: [&'static str; N], more: &[&'static str]) -> Vec<&'static str> {
    topics.iter().chain(more).flat_map(|topic| ["--topic", topic]).collect()
}

/// A certificate for 127.0.0.1, made by an authority of its own; gives the authority's file.
fn certificates(folder: &Path) -> String {
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=postgres
        printf 'subjectAltName=IP:127.0.0.1' > san
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out server.crt -extfile san";
    fs::create_dir(folder).expect("a folder");
    let done = Command::new("sh").args(["-c", script]).current_dir(folder).output().expect("sh runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder.join("ca.crt").display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_over_tls_with_the_least_rights() {
    let own_postgres = || -> &'static Postgres {
        let postgres: &'static Postgres = Box::leak(Box::new(Postgres::own()));
        postgres.migrate("parley");
        postgres
    };
    let world = World::on(|| KafkaRef::Shared(Kafka::shared_secured()), own_postgres, 1).await;
    let folder = std::env::temp_dir().join(unique("parley-tls"));
    let authority = certificates(&folder);
    for file in ["server.crt", "server.key"] {
        let text = fs::read_to_string(folder.join(file)).expect("made");
        world.database.sql(&format!(
            "COPY (SELECT unnest(string_to_array('{}', E'\\n'))) TO PROGRAM 'cat > {file} && chmod 600 {file}'",
            text.trim()
        ));
    }
    world.database.sql("ALTER SYSTEM SET ssl = on");
    world.database.sql("SELECT pg_reload_conf()");
    eventually("PostgreSQL to speak TLS", || async {
        (world.database.sql("SHOW ssl") == "on").then_some(())
    })
    .await;

    let (user, secret) = (unique("worker"), unique("secret"));
    world.kafka.scram_user("SCRAM-SHA-512", &user, &secret);
    allow_worker(&world.kafka, &user, &world.group);
    let kafka_ca = folder.join("kafka-ca.crt");
    fs::write(&kafka_ca, world.kafka.ca()).expect("written");
    let bootstrap = world.kafka.secured_bootstrap();
    let url = format!("{}?sslmode=verify-full&sslrootcert={authority}", world.database.url("worker"));
    let kinds = Kind::ALL.map(Kind::as_str).join(",");
    let kafka_ca = kafka_ca.display().to_string();
    let env = [
        ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", bootstrap.as_str()),
        ("PARLEY_KAFKA_SECURITY_PROTOCOL", "sasl-ssl"),
        ("PARLEY_KAFKA_CA_FILE", kafka_ca.as_str()),
        ("PARLEY_KAFKA_USERNAME", user.as_str()),
        ("PARLEY_KAFKA_PASSWORD", secret.as_str()),
        ("PARLEY_DATABASE_URL", url.as_str()),
    ];
    let worker = world.worker_with(&kinds, &[], &env).ready().await;
    let (gateway, addr) = gateway(&world, &folder, &env).await;
    // There and back through both.
    Actor::sign_up(addr, unique("tess").parse().expect("an id")).await.expect("signed up and logged in");
    let plain = world.database.sql(
        "SELECT count(*) FILTER (WHERE NOT s.ssl), count(DISTINCT usename) FROM pg_stat_activity JOIN pg_stat_ssl s USING (pid)
         WHERE usename IN ('parley_worker', 'parley_gateway')",
    );
    assert_eq!(plain, "0|2", "connections without TLS, and of whom");
    assert!(!worker.log().contains(&secret), "the password is in the log");
    assert!(gateway.stop().await.success());
    assert!(worker.stop().await.success());

    // An authority that did not sign the broker; a password that is not the user's: no connection, and each says why.
    for (n, value, word) in [(2, authority.as_str(), "certificate"), (4, "not-the-secret", "uthentication")] {
        let mut wrong = env;
        wrong[n].1 = value;
        let worker = world.worker_with(&kinds, &[], &wrong);
        let reason = refused(&worker, "kafka", word).await;
        assert!(!reason.contains("not-the-secret"), "{reason}");
        assert!(worker.stop().await.success());
    }

    // Nor does anybody believe a PostgreSQL that another authority signed, or one that goes by another name.
    let other = format!("{}?sslmode=verify-full&sslrootcert={kafka_ca}", world.database.url("worker"));
    let elsewhere = url.replace("@127.0.0.1:", "@localhost:");
    // The name is what is wrong: without a look at it the same address is good.
    let unnamed = elsewhere.replace("verify-full", "verify-ca");
    let connected = || {
        world.database.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'parley_worker' AND datname = current_database()",
        )
    };
    for wrong in [&other, &elsewhere] {
        let mut env = env;
        env[5].1 = wrong;
        let worker = world.worker_with(&kinds, &[], &env);
        refused(&worker, "postgres", "certificate").await;
        eventually("nobody to be connected", || async { (connected() == "0").then_some(()) }).await;
        assert!(worker.stop().await.success());
    }
    let mut named = env;
    named[5].1 = &unnamed;
    assert!(world.worker_with(&kinds, &[], &named).ready().await.stop().await.success());

    // PLAIN, for the one user whom the broker knows by it; and a certificate instead of a password.
    allow_worker(&world.kafka, "plain", &world.group);
    let mut plain = env.to_vec();
    plain.extend([
        ("PARLEY_KAFKA_SASL_MECHANISM", "PLAIN"),
        ("PARLEY_KAFKA_USERNAME", "plain"),
        ("PARLEY_KAFKA_PASSWORD", "plain-secret"),
    ]);
    let name = unique("certified");
    let (certificate, key) = client_certificate(&world.kafka, &folder, &name);
    allow_worker(&world.kafka, &format!("CN={name}"), &world.group);
    let mutual = world.kafka.mutual_bootstrap();
    let certified = [
        ("PARLEY_KAFKA_BOOTSTRAP_SERVERS", mutual.as_str()),
        ("PARLEY_KAFKA_SECURITY_PROTOCOL", "ssl"),
        env[2],
        ("PARLEY_KAFKA_CERT_FILE", certificate.as_str()),
        ("PARLEY_KAFKA_KEY_FILE", key.as_str()),
        env[5],
    ];
    for env in [plain.as_slice(), &certified] {
        let worker = world.worker_with(&kinds, &[], env).ready().await;
        let (headers, request) = world.sign_up(&unique("tim"), PASSWORD);
        assert_eq!(world.ask(&headers, &request).await["isSuccess"], true);
        assert!(worker.stop().await.success());
    }
    fs::remove_dir_all(folder).expect("removed");
}

/// A gateway on the same servers, by a password of the mechanism that is not the default.
async fn gateway(world: &World, folder: &Path, env: &[(&str, &str)]) -> (Binary, SocketAddr) {
    let (user, secret) = (unique("gateway"), unique("secret"));
    world.kafka.scram_user("SCRAM-SHA-256", &user, &secret);
    allow_gateway(&world.kafka, &user);
    let authority = folder.join("ca.crt").display().to_string();
    let url = format!("{}?sslmode=verify-full&sslrootcert={authority}", world.database.url("gateway"));
    let addr = SocketAddr::from(([127, 0, 0, 1], free_ports(1)));
    let key = |name: &str| world.keys.join(name).display().to_string();
    let own = [
        ("PARLEY_KAFKA_SASL_MECHANISM", "SCRAM-SHA-256".to_owned()),
        ("PARLEY_KAFKA_USERNAME", user),
        ("PARLEY_KAFKA_PASSWORD", secret),
        ("PARLEY_DATABASE_URL", url),
        ("PARLEY_LISTEN_ADDR", addr.to_string()),
        ("PARLEY_REQUEST_KEYS_FILE", key("request-keys.json")),
        ("PARLEY_REPLY_KEYS_FILE", key("reply-keys.json")),
        ("PARLEY_SEAL_PUBLIC_KEYS_FILE", key("seal-public.json")),
    ];
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let env: Vec<(&str, &str)> = env.iter().copied().chain(own).collect();
    (Binary::start("gateway", &["run"], &env).ready().await, addr)
}

/// The files of a certificate of this client and of its key.
fn client_certificate(kafka: &Kafka, folder: &Path, name: &str) -> (String, String) {
    let (certificate, key) = kafka.client_certificate(name);
    let file = |ending: &str, text: String| {
        let file = folder.join(format!("{name}.{ending}"));
        fs::write(&file, text).expect("written");
        file.display().to_string()
    };
    (file("crt", certificate), file("key", key))
}

/// Why a dependency is missed, once that has to do with this word. A first question may only have run out of time.
async fn refused(worker: &Binary, dependency: &str, word: &str) -> String {
    eventually(&format!("{dependency} to be missed for its {word}"), || async {
        let (_, body) = worker.get("/readyz").await?;
        let report: serde_json::Value = serde_json::from_str(&body).ok()?;
        let told = &report["dependencies"][dependency];
        let reason = told["reason"].as_str().filter(|reason| reason.contains(word))?;
        (told["ready"] == false).then(|| reason.to_owned())
    })
    .await
}
