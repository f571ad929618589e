//! Exactly-once effects: the worker is killed, or frozen, between every two steps of its pipeline and within its statements
//! under load, and nothing is lost or doubled. And what a worker's coming and going costs the others.

mod members;
mod rolling;
mod statements;
mod zombies;

use std::os::unix::process::ExitStatusExt as _;

use parley::{ids::RequestId, wire::Kind};

use super::{
    audit::Load,
    world::{KafkaRef, World},
};
use crate::fixtures::{Kafka, Postgres, eventually};

/// Timeouts as short as the relations between them allow: a killed member is missed for two seconds.
const QUICK: [&str; 6] =
    ["--drain-seconds", "1", "--session-timeout-seconds", "2", "--termination-grace-seconds", "3"];

/// The same for members under KIP-848, whose timeouts are the broker's.
const QUICK_BROKER: &str = "group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=2000
group.consumer.session.timeout.ms=2000";

const KIP_848: [&str; 2] = ["--group-protocol", "consumer"];

/// A step of the pipeline and what a kill there leaves of the batch in hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// Nothing: the batch is to be run.
    Nothing,
    /// Its effects: its records come again, and are answered by what is stored.
    Effects,
}

use Leaves::{Effects, Nothing};

/// Every step of the pipeline, in order, and a kind whose batch passes it beside one of AddChat: each kind of the inbox has its
/// turn. `src/worker/fault.rs` refuses any other step.
const POINTS: [(&str, Kind, Leaves); 13] = [
    ("poll", Kind::AddUser, Nothing),
    ("decode", Kind::ChangeStatus, Nothing),
    ("hash", Kind::Login, Nothing),
    ("begin", Kind::LeaveRoom, Nothing),
    ("lock", Kind::AddRoom, Nothing),
    ("look-up", Kind::AddFriend, Nothing),
    ("effects", Kind::Logout, Nothing),
    ("outcomes", Kind::AddUser, Nothing),
    ("committed", Kind::AddRoom, Effects),
    ("produce", Kind::Logout, Effects),
    ("acknowledged", Kind::Login, Effects),
    ("stored", Kind::ChangeStatus, Effects),
    ("commit-offset", Kind::AddFriend, Effects),
];

/// A world whose broker misses members of either protocol soon.
async fn quick_world(partitions: i32) -> World {
    let kafka = || KafkaRef::Own(Box::new(Kafka::own_with(1, QUICK_BROKER)));
    World::on(kafka, Postgres::shared, partitions).await
}

/// A worker dies at this step with a batch of `kind` in hand. Gives the requests of the kind that had their effects by then.
async fn kill_at(
    world: &World,
    load: &Load,
    (point, kind, leaves): (&str, Kind, Leaves),
    flags: &[&str],
) -> Vec<RequestId> {
    // The first batch of AddChat is done by then, and offsets are of all kinds: so only this one is there.
    let (fault, kinds) = match (point, kind) {
        ("commit-offset", _) => (point.to_owned(), kind.as_str().to_owned()),
        (_, Kind::AddChat) => (format!("{point}@{kind}:2"), Kind::ALL.map(Kind::as_str).join(",")),
        _ => (format!("{point}@{kind}"), Kind::ALL.map(Kind::as_str).join(",")),
    };
    // Small batches: a fault meets some of the load done, some in hand and some waiting.
    let own = ["--batch-records", "10", "--fault", &fault];
    let mut killed = world.worker_of(&kinds, &[&QUICK[..], flags, &own].concat());
    let status = killed.wait().await;
    assert_eq!(status.signal(), Some(9), "{fault}: {status}\n{}", killed.log());
    let done = load.done(world, kind);
    match leaves {
        Nothing => assert!(done.len() < load.count(kind), "{fault}: something was in hand"),
        Effects => assert!(!done.is_empty(), "{fault}: something was committed"),
    }
    done
}

/// At each of the points one worker dies with messages in hand, and the one that takes over with something else.
async fn killed_at_each(world: &World, points: &[(&str, Kind, Leaves)], flags: &[&str]) {
    for (point, other, leaves) in points.iter().copied() {
        let mut load = Load::new(world);
        let mut came_again = Vec::new();
        for kind in [Kind::AddChat, other] {
            load.send(world, 20).await;
            let done = kill_at(world, &load, (point, kind, leaves), flags).await;
            came_again.push((kind, done));
        }
        load.send(world, 10).await;
        let next = world.worker(&[&QUICK[..], flags].concat());
        load.audit(world, point).await;
        // A kill that nobody had to make good would show nothing: what was committed and whose offset was not comes again.
        for (kind, done) in came_again.into_iter().filter(|_| leaves == Effects) {
            eventually(&format!("{point}: {kind} that comes again"), || async {
                let replayed = |id| world.replies_to(id).iter().any(|(_, replayed)| *replayed);
                done.iter().copied().any(replayed).then_some(())
            })
            .await;
        }
        load.audit(world, point).await;
        assert!(next.stop().await.success(), "{point}: a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_at_any_step_loses_and_doubles_nothing() {
    killed_at_each(&World::own(2).await, &POINTS, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_under_the_consumer_protocol_loses_and_doubles_nothing() {
    let some: Vec<_> = POINTS
        .into_iter()
        .filter(|(point, ..)| ["lock", "committed", "acknowledged", "commit-offset"].contains(point))
        .collect();
    killed_at_each(&quick_world(2).await, &some, &KIP_848).await;
}
