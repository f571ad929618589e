//! The whole platform under a schedule of faults, with people who use it meanwhile, and a verdict that trusts nobody.
//!
//! `make chaos` runs a thousand faults one after another, each until the platform has recovered, and prints how long that took.
//! `make test` runs a hundred of them that overlap.
//!
//!   CHAOS_FAULTS   how many (100)
//!   CHAOS_SEED     which (1); the same seed is the same schedule
//!   CHAOS_APART    1: a fault waits until the one before is recovered from

mod inflict;
mod network;
mod people;
mod report;
mod schedule;
mod services;
mod stage;
mod verdict;

use std::{sync::Arc, time::Duration};

use people::Crowd;
use report::Report;
use schedule::schedule;
use stage::Stage;
use tokio::{sync::Mutex, time::Instant};

/// Rooms, members of each, messages a second over all.
const LOAD: (usize, usize, f64) = (6, 3, 18.0);
/// Between two faults that may overlap.
const PAUSE: Duration = Duration::from_millis(900);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_of_every_class_lose_and_double_nothing() {
    let seed = setting("CHAOS_SEED", 1);
    let count = usize::try_from(setting("CHAOS_FAULTS", 100)).expect("a count");
    let apart = setting("CHAOS_APART", 0) == 1;
    eprintln!("chaos: {count} faults of seed {seed}");
    let stage = Arc::new(Stage::set().await);
    let (rooms, members, rate) = LOAD;
    let mut crowd = Crowd::gather(stage.gateways.clone(), rooms, members).await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let report = Arc::new(Mutex::new(Report::default()));
    let faults = async {
        let begun = Instant::now();
        // Servers take one fault at a time; what is done to processes and networks may overlap with it.
        let servers = Arc::new(Mutex::new(()));
        let mut under_way = tokio::task::JoinSet::new();
        for (n, fault) in schedule(seed, count).into_iter().enumerate() {
            eprintln!("chaos: {:>6.1} s  {}/{count}  {fault}", begun.elapsed().as_secs_f64(), n + 1);
            let (stage, servers, noting) = (Arc::clone(&stage), Arc::clone(&servers), Arc::clone(&report));
            let inflicting = async move {
                let held = if fault.alone() { Some(servers.lock_owned().await) } else { None };
                let begun = Instant::now();
                stage.inflict(fault).await;
                noting.lock().await.ended(&fault, begun.elapsed());
                drop(held);
            };
            if apart {
                let begun = Instant::now();
                inflicting.await;
                let recovered = crowd.heard_since(Instant::now()).await;
                report.lock().await.recovered(&fault, recovered.duration_since(begun));
            } else {
                under_way.spawn(inflicting);
                tokio::time::sleep(PAUSE).await;
            }
        }
        while let Some(done) = under_way.join_next().await {
            done.expect("the fault could be done and undone");
        }
        let settled = Instant::now();
        tokio::time::timeout(crate::fixtures::DEADLINE, crowd.heard_since(settled))
            .await
            .expect("after the last fault everybody hears everybody again");
        eprintln!("chaos: recovered {:.1} s after the last fault", settled.elapsed().as_secs_f64());
        let _ = stop.send(());
    };
    tokio::join!(crowd.speak(rate, stopped), faults);
    let verdict = stage.judge(&crowd).await;
    crowd.hush();
    let (unasked, memory) = stage.services.verdict();
    let report = report.lock().await;
    eprintln!("{}", report.table());
    {
        let book = crowd.book.lock().expect("nobody panics while it is held");
        eprintln!(
            "chaos: {verdict:?}; streams: {} reconnects, {} resyncs, {} repeats; most memory in KiB: {memory:?}",
            book.reconnects, book.resyncs, book.repeated
        );
    }
    assert!(verdict.is_ok(), "seed {seed}: {:#?}", verdict.err());
    assert!(unasked.is_empty(), "seed {seed}: processes ended by themselves: {unasked:#?}");
    for (program, most) in memory {
        assert!(most < 400 << 10, "seed {seed}: a {program} took {most} KiB");
    }
    let counts = verdict.expect("it was asserted");
    assert!(
        counts.stored > counts.said / 2 && counts.stored <= counts.said,
        "the platform was used: {counts:?}"
    );
    assert!(counts.accepted <= counts.said && counts.given_up == 0, "everything found its way: {counts:?}");
}
