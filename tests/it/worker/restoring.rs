//! docs/backup.md, done as it says: a dump, the loss of everything, the dump restored, and the request topics read again.

use std::{fs::File, process::Command, time::Duration};

use parley::ids::RequestId;

use super::world::World;
use crate::fixtures::eventually;

fn done(command: &mut Command) {
    let status = command.status().expect("the command runs");
    assert!(status.success(), "{command:?}");
}

/// Waits for a second reply to a request: its value, and whether it says that it is a replay.
async fn again(world: &World, id: RequestId) -> (serde_json::Value, bool) {
    eventually("a second reply", || async { world.replies_to(id).into_iter().nth(1) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_restored_and_what_came_after_it_is_run_again_while_it_is_in_time() {
    let begun = String::from_utf8(
        Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.000"]).output().expect("date runs").stdout,
    )
    .expect("text");
    let world = World::with_own_postgres(1).await;
    let ann = world.person("ann");
    let room = world.room(&[&ann]);
    let worker = world.worker_of("AddChat", &[]).ready().await;
    let (before, request) = (world.headers(&ann), ann.says(room, "before the dump"));
    assert_eq!(world.ask(&before, &request).await["seq"], 1);
    let dump = std::env::temp_dir().join(crate::fixtures::unique("parley-dump"));
    let owner = world.database.url("owner");
    done(Command::new("pg_dump").args(["-Fc", "-d", &owner]).stdout(File::create(&dump).expect("a file")));
    // Two more: one is still in time when it is run again, the other is not.
    let (mut late, request) = (world.headers(&ann), ann.says(room, "after it"));
    late.deadline = late.deadline.after(Duration::from_secs(3_600));
    assert_eq!(world.ask(&late, &request).await["seq"], 2);
    let (mut gone, request) = (world.headers(&ann), ann.says(room, "after it, in a hurry"));
    gone.deadline = parley::ids::Timestamp::now().after(Duration::from_secs(4));
    let told = world.ask(&gone, &request).await;
    assert!(told["seq"] == 3 || told["errorCode"] == "deadline_exceeded", "{told}");

    assert!(worker.stop().await.success());
    world.database.lose();
    let administrator = world.database.url("postgres");
    done(Command::new("pg_restore").args(["-d", &administrator, "--clean", "--if-exists"]).arg(&dump));
    std::fs::remove_file(&dump).expect("it was made");
    assert_eq!(world.database.sql("SELECT message FROM messages"), "before the dump");
    let reset = [
        "--group",
        &world.group,
        "--reset-offsets",
        "--to-datetime",
        begun.trim(),
        "--all-topics",
        "--execute",
        "--timeout",
        "240000",
    ];
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    // A group with a member that left without a word, as a slow machine's may, is not reset before its session is over.
    eventually("the group to be reset", || async {
        let told = tokio::task::block_in_place(|| world.kafka.tool(class, &reset, ""));
        (told.contains("user-add-chat-request") && !told.contains("Error")).then_some(())
    })
    .await;
    eventually("the last deadline to pass", || async {
        (parley::ids::Timestamp::now().as_micros() > gone.deadline.as_micros()).then_some(())
    })
    .await;

    let worker = world.worker_of("AddChat", &[]).ready().await;
    let (value, replayed) = again(&world, before.request_id).await;
    assert!(replayed && value["seq"] == 1, "answered from what is stored: {value}");
    let (value, replayed) = again(&world, late.request_id).await;
    assert!(!replayed && value["seq"] == 2, "run again: {value}");
    assert_eq!(again(&world, gone.request_id).await.0["errorCode"], "deadline_exceeded");
    let rows = world.database.sql("SELECT seq, message FROM messages ORDER BY seq");
    assert_eq!(rows, "1|before the dump\n2|after it");
    assert!(worker.stop().await.success());
}
