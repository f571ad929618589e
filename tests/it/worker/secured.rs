//! A worker whose Kafka demands TLS, SCRAM and rights, and whose PostgreSQL demands TLS.

use std::{fs, path::Path, process::Command};

use parley::wire::{CHAT_EVENT, DEAD_LETTER, Kind};

use super::world::{KafkaRef, World};
use crate::fixtures::{Binary, Kafka, Postgres, eventually, unique};

/// What docs/security.md says that a worker needs, and nothing else.
fn allow(kafka: &Kafka, user: &str, group: &str) {
    let principal = format!("User:{user}");
    let grant = |operations: &[&str], resources: &[&str]| {
        let mut args = vec!["--add", "--allow-principal", &principal];
        operations.iter().for_each(|operation| args.extend(["--operation", operation]));
        args.extend(resources);
        kafka.tool("org.apache.kafka.tools.AclCommand", &args, "");
    };
    let topics = |topics: Vec<&'static str>| -> Vec<&'static str> {
        topics.into_iter().flat_map(|topic| ["--topic", topic]).collect()
    };
    grant(&["Read"], &topics(Kind::ALL.iter().map(|kind| kind.request_topic()).collect()));
    let mut written: Vec<&str> = Kind::ALL.iter().map(|kind| kind.response_topic()).collect();
    written.extend([CHAT_EVENT, DEAD_LETTER]);
    grant(&["Write"], &topics(written));
    grant(&["Read"], &["--group", group]);
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
    let config = format!("SCRAM-SHA-512=[password={secret}]");
    let args = ["--alter", "--entity-type", "users", "--entity-name", &user, "--add-config", &config];
    world.kafka.tool("kafka.admin.ConfigCommand", &args, "");
    allow(&world.kafka, &user, &world.group);
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
    let (headers, request) = world.sign_up(&unique("tess"), "correct horse battery");
    assert_eq!(world.ask(&headers, &request).await["isSuccess"], true);
    let plain = world.database.sql(
        "SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE usename = 'parley_worker' AND NOT s.ssl",
    );
    assert_eq!(plain, "0", "connections without TLS");
    assert!(!worker.log().contains(&secret), "the password is in the log");
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
    let mut env = env;
    env[5].1 = &unnamed;
    assert!(world.worker_with(&kinds, &[], &env).ready().await.stop().await.success());
    fs::remove_dir_all(folder).expect("removed");
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
