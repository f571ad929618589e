//! What a worker tells of itself: every metric of its contract, and the trace context that it passes on.

use parley::wire::{ChangeStatus, Kind, Request};

use super::world::{PASSWORD, World};
use crate::fixtures::{eventually, unique};

/// The worker's part of docs/metrics.md, process metrics too. A vector is there from its first use on.
const METRICS: [&str; 22] = [
    "parley_build_info",
    "parley_ready{dependency=",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "parley_requests_total{kind=",
    "parley_request_duration_seconds_bucket{kind=",
    "parley_batch_records_bucket",
    "parley_batch_duration_seconds_bucket{stage=\"decode\"",
    "parley_batch_duration_seconds_bucket{stage=\"hash\"",
    "parley_batch_duration_seconds_bucket{stage=\"transaction\"",
    "parley_batch_duration_seconds_bucket{stage=\"produce\"",
    "parley_consumer_lag{topic=\"user-add-chat-request\"}",
    "parley_assigned_partitions",
    "parley_rebalances_total",
    "parley_dead_letters_total{code=",
    "parley_replays_total{kind=",
    "parley_db_pool_connections{state=\"idle\"}",
    "parley_db_pool_connections{state=\"busy\"}",
    "parley_db_pool_connections{state=\"max\"}",
    "parley_password_hash_duration_seconds_bucket",
    "parley_password_hash_queue",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_contract_is_there_and_none_names_a_person() {
    let world = World::own(1).await;
    let worker = world.worker(&[]).ready().await;
    let name = unique("measured");
    let (headers, sign_up) = world.sign_up(&name, PASSWORD);
    assert_eq!(world.ask(&headers, &sign_up).await["isSuccess"], true);
    world.produce(&world.record(&headers, &sign_up)).await;
    world.kafka.tool(
        "org.apache.kafka.tools.ConsoleProducer",
        &["--topic", Kind::Login.request_topic()],
        "x\n",
    );
    eventually("every metric", || async {
        let (_, text) = worker.get("/metrics").await?;
        METRICS.iter().all(|metric| text.lines().any(|line| line.starts_with(metric))).then_some(())
    })
    .await;
    let (_, text) = worker.get("/metrics").await.expect("metrics");
    assert!(!text.contains(&name) && !text.contains(&headers.session_key.to_string()));
    // Help texts are the fields' doc comments: none may be empty.
    let helped = text.lines().filter_map(|line| line.strip_prefix("# HELP parley_"));
    assert!(helped.clone().count() >= 15 && helped.clone().all(|line| line.split_once(' ').is_some()));
    // Another takes over some partitions: the lag of each topic is told by its owner and by nobody else.
    let other = world.worker(&[]).ready().await;
    eventually("one owner's lag for each topic", || async {
        let (_, one) = worker.get("/metrics").await?;
        let (_, two) = other.get("/metrics").await?;
        let told = |topic: &str| {
            let series = format!("parley_consumer_lag{{topic=\"{topic}\"}}");
            [&one, &two].map(|text| text.contains(&series))
        };
        let told: Vec<[bool; 2]> = Kind::ALL.iter().map(|kind| told(kind.request_topic())).collect();
        let shared = told.contains(&[true, false]) && told.contains(&[false, true]);
        (shared && told.iter().all(|[one, two]| one != two)).then_some(())
    })
    .await;
    assert!(worker.stop().await.success());
    assert!(other.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_context_goes_on_to_reply_and_event() {
    let world = World::shared().await;
    let ann = world.person("ann");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = world.headers(&ann);
    headers.traceparent = Some(trace.to_owned());
    let change = ChangeStatus { user_id: ann.id.clone(), status: "traced".parse().expect("a status") };
    world.produce(&world.record(&headers, &Request::ChangeStatus(change))).await;
    let id = headers.request_id.to_string();
    eventually("reply and event with the trace context", || async {
        let written = world.written();
        let of_ours = written.iter().filter(|seen| seen.text("request-id") == id);
        let traced = of_ours.filter(|seen| seen.text("traceparent") == trace);
        (traced.map(|seen| seen.topic.as_str()).collect::<Vec<_>>().len() == 2).then_some(())
    })
    .await;
}
