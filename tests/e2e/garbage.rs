//! Garbage on a request topic, from Kafka's own console producer: dead-lettered with reasons, and the partition goes on.

use parley::loadgen::Actor;

use crate::cluster::{eventually, gateway, kafka_tool};

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_dead_lettered_and_the_partition_goes_on() {
    let mark = format!("garbage-{}", uuid::Uuid::new_v4().simple());
    // The letters are known by their key: of what cannot be taken apart on this topic nothing is kept, it may hold a password.
    let lines: String = (0..20).map(|n| format!("{mark}\thunter22 {n}\n")).collect();
    let topic = ["--topic", "login-request", "--property", "parse.key=true"];
    kafka_tool("org.apache.kafka.tools.ConsoleProducer", &topic, &lines);

    let user = format!("after-{}", &mark[mark.len() - 12..]).parse().expect("a legal user id");
    Actor::sign_up(gateway(), user).await.expect("sign-up and login go on behind the garbage");

    let letters = eventually("twenty dead letters", || {
        let mark = mark.clone();
        async move {
            let args = [
                "--topic",
                "dead-letter",
                "--from-beginning",
                "--timeout-ms",
                "15000",
                "--property",
                "print.headers=true",
                "--property",
                "print.key=true",
            ];
            let all = tokio::task::spawn_blocking(move || {
                kafka_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &args, "")
            });
            let all = all.await.expect("the tool ran");
            let ours: Vec<String> =
                all.lines().filter(|line| line.contains(&mark)).map(str::to_owned).collect();
            (ours.len() >= 20).then_some(ours)
        }
    })
    .await;
    for letter in letters {
        assert!(letter.contains("origin-topic:login-request"), "{letter}");
        assert!(letter.contains("error-code:unauthenticated"), "{letter}");
        assert!(letter.contains("error-message:") && !letter.contains("hunter22"), "{letter}");
    }
}
