//! The scenarios of `make bench-worker`, small: that they measure, and that what they sent stands everywhere once. Their figures are
//! of no interest here.

use std::fs;

use parley::{
    loadgen::{
        bench::Stage,
        path::{
            BacklogArgs, LoginsArgs, OneByOneArgs, Processes, SaveArgs, Site,
            limit::{
                BrokerArgs, HashArgs, PostgresArgs, StreamArgs, run_broker, run_hash, run_postgres,
                run_stream,
            },
            passwords_sql, run_backlog, run_logins, run_one_by_one, run_save,
        },
    },
    store::DatabaseArgs,
};

use crate::fixtures::{Chat, keys_dir, unique};

const BYTES: u32 = 100;

/// A stage of its own for each scenario: rooms begin empty.
fn stage(chat: &Chat) -> Stage {
    let stage = Stage { seed: unique("b").replace('-', ""), users: 12, room_size: 4 };
    chat.database.sql(&stage.sql());
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_of_the_workers_bench_measures_and_finds_everything_once() {
    let chat = Chat::bare().await;
    let worker = chat.worker(&[("PARLEY_HASH_THREADS", "1")]);
    let (gateway, listen) = chat.gateway(&[]);
    let (worker, gateway) = (worker.ready().await, gateway.ready().await);
    let url = std::env::temp_dir().join(unique("parley-bench-url"));
    fs::write(&url, chat.database.url("worker")).expect("a file");
    let processes = Processes {
        worker_pids: vec![worker.pid()],
        postgres_pid: Some(chat.database.server().pid()),
        broker_pid: Some(chat.kafka.pid(0)),
        gateway_pid: Some(gateway.pid()),
    };
    let site = Site {
        bootstrap: chat.kafka.bootstrap(),
        request_keys_file: keys_dir().join("request-keys.json"),
        reply_keys_file: keys_dir().join("reply-keys.json"),
        database: DatabaseArgs { database_url_file: Some(url.clone()), database_max_connections: 4 },
        processes,
    };
    let place = site.open().expect("a place");
    fs::remove_file(url).expect("the file");

    let save = SaveArgs { rate: 100.0, seconds: 2, message_bytes: BYTES, gateway: Some(listen) };
    let report = run_save(&place, &stage(&chat), &save).await.expect("a report");
    assert!(report.findings.clean() && report.not_sent == 0, "{report:?}");
    assert_eq!((report.messages, report.reply_ms.count, report.event_ms.count), (200, 200, 200));
    assert!(report.stream_lost == 0 && report.stream_ms.is_some_and(|ms| ms.p50 > 0.0), "{report:?}");
    assert!(report.reply_ms.p50 > 0.0 && report.reply_ms.p50 <= report.reply_ms.max, "{report:?}");
    assert!(report.cost.worker > 0.0 && report.cost.postgres > 0.0 && report.cost.broker > 0.0, "{report:?}");

    let backlog = BacklogArgs { messages: 3_000, message_bytes: BYTES };
    let report = run_backlog(&place, &stage(&chat), &backlog).await.expect("a report");
    assert!(report.findings.clean() && report.per_second > 0.0 && report.cost.system > 0.0, "{report:?}");

    let plain = OneByOneArgs { seconds: 2, messages: 5_000, message_bytes: BYTES };
    let report = run_one_by_one(&place, &stage(&chat), &plain).await.expect("a report");
    assert!(report.loops == 2 && report.messages > 0 && report.per_second > 0.0, "{report:?}");

    let rows = PostgresArgs { rows: 3_000, connections: 2, batch: 500, message_bytes: BYTES };
    let report = run_postgres(&place, &stage(&chat), &rows).await.expect("a report");
    assert!(report.rows == 3_000 && report.cost.postgres > 0.0, "{report:?}");

    let records = BrokerArgs { messages: 3_000, message_bytes: BYTES };
    let report = run_broker(&place, &stage(&chat), &records).await.expect("a report");
    assert_eq!((report.consume.records, report.produce.records), (3_000, 6_000));
    assert!(report.per_second > 0.0 && report.micros_per_message > 0.0, "{report:?}");

    let report = run_hash(&HashArgs { threads: 1, seconds: 1 }).await.expect("a report");
    assert!(report.hashes > 0, "{report:?}");

    let streams = StreamArgs { streams: 20, rate: 10.0, seconds: 1, event_bytes: 100 };
    let report = run_stream(&streams).await.expect("a report");
    assert_eq!((report.deliveries, report.from_due_ms.count), (200, 200));

    let stage = stage(&chat);
    chat.database.sql(&passwords_sql(&stage).expect("a hash"));
    let logins = LoginsArgs {
        seal_public_keys_file: keys_dir().join("seal-public.json"),
        logins: 20,
        save: SaveArgs { rate: 50.0, seconds: 1, message_bytes: BYTES, gateway: None },
    };
    let report = run_logins(&place, &stage, &logins).await.expect("a report");
    assert!(report.alone_ms.count == 50 && report.beside_ms.count == 50 && report.refused == 0, "{report:?}");
    assert!(report.findings.iter().all(|found| found.clean()), "{report:?}");
}
