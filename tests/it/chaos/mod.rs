//! The whole platform under a schedule of faults, with people who use it meanwhile, and a verdict that trusts nobody.
//!
//! `make chaos` runs a thousand faults one after another, each until the platform has recovered, and prints how long that took.
//! `make test` runs a hundred of them that overlap. `make soak` runs one a minute for two hours and watches that nothing rises.
//!
//!   CHAOS_FAULTS    how many (100)
//!   CHAOS_SEED      which (1); the same seed is the same schedule
//!   CHAOS_APART     1: a fault waits until the one before is recovered from
//!   CHAOS_MINUTES   a soak of so many minutes, with a fault in each
//!   CHAOS_RATE      messages a second over all rooms (18)
//!   CHAOS_OUT       a folder for what `hack/recovery.mjs` makes the page's table from
//!
//! A fault counts when it is seen to take hold (`effect.rs`); a class of faults that never does fails the run.

mod accounts;
mod clock;
mod effect;
mod errands;
mod evidence;
mod inflict;
mod network;
mod people;
mod report;
mod schedule;
mod services;
mod soak;
mod stage;
mod verdict;

use std::{collections::HashMap, sync::Arc, time::Duration};

use errands::{ASKED_AT_ONCE, Errands, outcome};
use futures::{StreamExt as _, stream};
pub(crate) use network::Relay;
use parley::ids::RequestId;
use people::Crowd;
use report::Report;
pub(crate) use schedule::Trouble;
use schedule::{Fault, schedule};
use soak::Soak;
use stage::Stage;
pub(crate) use stage::local;
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// Rooms, and members of each.
const ROOMS: (usize, usize) = (6, 3);
/// Between two faults that may overlap.
const PAUSE: Duration = Duration::from_millis(900);

/// When the next fault comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Soon, whatever became of the one before.
    Overlapping,
    /// Once the one before is recovered from.
    Apart,
    /// In the next minute.
    EachMinute,
}

impl Pace {
    /// What such a run takes at the very most: one that takes longer hangs, and that is a failure like any other.
    fn limit(self, faults: usize) -> Duration {
        let each = match self {
            Self::Overlapping | Self::Apart => 40,
            Self::EachMinute => 60,
        };
        Duration::from_secs(3_600 + each * faults as u64)
    }

    /// What the messages of such a run fit on.
    fn disk_mib(self) -> u32 {
        match self {
            Self::Overlapping => 600,
            Self::Apart => 1_500,
            Self::EachMinute => 4_000,
        }
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// The faults of this run. A soak holds what there is to what it was at the beginning: nothing grows on purpose.
fn faults(pace: Pace, seed: u64, minutes: usize) -> Vec<Fault> {
    match pace {
        Pace::EachMinute => {
            let grows = |fault: &Fault| matches!(fault, Fault::Grow | Fault::Scale(_));
            schedule(seed, 2 * minutes).into_iter().filter(|fault| !grows(fault)).take(minutes).collect()
        }
        Pace::Overlapping | Pace::Apart => schedule(seed, setting("CHAOS_FAULTS", 100)),
    }
}

/// When everybody heard everybody again after this moment. The run ends here when they never do.
async fn heard_again(crowd: &Crowd, since: Instant, after: &str) -> Instant {
    let heard = tokio::time::timeout(crate::fixtures::DEADLINE, crowd.heard_since(since)).await;
    heard.unwrap_or_else(|_| {
        panic!("no recovery: {:?} after {after} not every room hears its members", crate::fixtures::DEADLINE)
    })
}

/// Does them one after another at that pace.
async fn inflict(
    stage: &Arc<Stage>,
    crowd: &Crowd,
    report: &Arc<Mutex<Report>>,
    pace: Pace,
    faults: Vec<Fault>,
) {
    let begun = Instant::now();
    let count = faults.len();
    // Servers take one fault at a time; what is done to processes and networks may overlap with it.
    let servers = Arc::new(Mutex::new(()));
    let mut under_way = tokio::task::JoinSet::new();
    for (n, fault) in (1_u32..).zip(faults) {
        eprintln!("chaos: {:>6.1} s  {n}/{count}  {fault}", begun.elapsed().as_secs_f64());
        let (stage, servers, noting) = (Arc::clone(stage), Arc::clone(&servers), Arc::clone(report));
        let inflicting = async move {
            let held = if fault.alone() { Some(servers.lock_owned().await) } else { None };
            let begun = Instant::now();
            let effect = stage.inflict(fault).await;
            noting.lock().await.ended(&fault, begun.elapsed(), &effect);
            if let Err(why) = &effect {
                eprintln!("chaos: {n}/{count} had no effect: {why}");
            }
            drop(held);
            effect
        };
        if pace == Pace::Overlapping {
            under_way.spawn(inflicting);
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let start = Instant::now();
        let effect = inflicting.await;
        let recovered = heard_again(crowd, Instant::now(), &fault.to_string()).await;
        if effect.is_ok() {
            report.lock().await.recovered(&fault, recovered.duration_since(start));
        }
        if pace == Pace::EachMinute {
            tokio::time::sleep_until(begun + Duration::from_secs(60) * n).await;
        }
    }
    while let Some(done) = under_way.join_next().await {
        let _ = done.expect("the fault could be done and undone");
    }
    let settled = Instant::now();
    heard_again(crowd, settled, "the last fault").await;
    eprintln!("chaos: recovered {:.1} s after the last fault", settled.elapsed().as_secs_f64());
}

/// Every tenth message's outcome by the id that its author was given: nobody waited for these answers, and they are to be had all the
/// same. How many were asked for.
async fn asked_later(crowd: &Crowd) -> Result<usize, Vec<String>> {
    let some: Vec<_> = {
        let book = crowd.book.lock().expect("nobody panics while it is held");
        let said = book.said.iter().enumerate().step_by(10);
        said.filter_map(|(n, said)| Some((n, said.room, said.accepted?, said.heard != 0))).collect()
    };
    let ask = async |(n, room, request, stored): &(usize, usize, RequestId, bool)| {
        let told = outcome(&crowd.author(*n).client, &crowd.gateways, *n, *request, true).await;
        let right = told.as_ref().is_some_and(|told| (told["isSuccess"] == true) == *stored);
        (!right).then(|| format!("message {n} of room {room}, heard: {stored}, is told later as {told:?}"))
    };
    let asked = stream::iter(&some).map(ask).buffered(ASKED_AT_ONCE);
    let wrong: Vec<String> = asked.filter_map(async |wrong| wrong).collect().await;
    if wrong.is_empty() { Ok(some.len()) } else { Err(wrong) }
}

/// What the chart lets each program take, in KiB: beyond it the kernel would have ended it.
fn memory_limits() -> HashMap<&'static str, u64> {
    let chart = std::fs::read_to_string(crate::fixtures::root().join("charts/parley/values.yaml"));
    let values: serde_json::Value = serde_yaml::from_str(&chart.expect("the chart's values")).expect("YAML");
    let of = |part: &serde_json::Value| {
        let text = part["resources"]["limits"]["memory"].as_str().expect("a limit");
        text.strip_suffix("Mi").and_then(|mib| mib.parse::<u64>().ok()).expect("in Mi") << 10
    };
    let parts = [("controller", "controller"), ("gateway", "gateway"), ("worker", "workerDefaults")];
    parts.map(|(program, part)| (program, of(&values[part]))).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn faults_of_every_class_lose_and_double_nothing() {
    let seed = setting("CHAOS_SEED", 1) as u64;
    let minutes = setting("CHAOS_MINUTES", 0);
    let pace = match (minutes, setting("CHAOS_APART", 0)) {
        (1.., _) => Pace::EachMinute,
        (0, 1) => Pace::Apart,
        _ => Pace::Overlapping,
    };
    let faults = faults(pace, seed, minutes);
    eprintln!("chaos: {} faults of seed {seed}", faults.len());
    let limit = pace.limit(faults.len());
    let run = tokio::time::timeout(limit, run(seed, minutes, pace, faults)).await;
    run.unwrap_or_else(|_| panic!("seed {seed}: the run hangs: it has not ended after {limit:?}"));
}

async fn run(seed: u64, minutes: usize, pace: Pace, faults: Vec<Fault>) {
    let stage = Arc::new(Stage::set(pace.disk_mib()).await);
    if pace == Pace::EachMinute {
        stage.services.spare(&soak::SPARED.map(|(name, _)| name));
    }
    let mut crowd = Crowd::gather(stage.gateways.clone(), ROOMS.0, ROOMS.1).await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let report = Arc::new(Mutex::new(Report::default()));
    let mut soak = Soak::default();
    let (errands, enough) = (Errands::new(&crowd), CancellationToken::new());
    let faults = async {
        tokio::join!(
            inflict(&stage, &crowd, &report, pace, faults),
            soak.watch(&stage.services, &crowd, minutes)
        );
        let _ = stop.send(());
        enough.cancel();
    };
    let rate = setting("CHAOS_RATE", 18) as f64;
    tokio::join!(crowd.speak(rate, stopped), errands.run(&crowd, &enough), faults);
    // Minutes, after a long run.
    eprintln!("chaos: the verdict: every record and row is read");
    let verdict = stage.judge(&crowd).await;
    eprintln!("chaos: the verdict: outcomes are asked for by their ids");
    let (errands, broken) = errands.outcomes().await;
    let accounts = tokio::task::block_in_place(|| stage.accounts(errands)).judge();
    let asked = asked_later(&crowd).await;
    crowd.hush();
    let (unasked, memory) = stage.services.verdict();
    let report = report.lock().await;
    eprintln!("{}had no effect: {:#?}", report.table(), report.idle());
    if let Ok(folder) = std::env::var("CHAOS_OUT") {
        let file = std::path::Path::new(&folder).join("recovery.json");
        std::fs::write(file, report.json(seed).to_string()).expect("the folder of CHAOS_OUT can be written");
    }
    {
        let book = crowd.book.lock().expect("nobody panics while it is held");
        eprintln!(
            "chaos: {verdict:?}; streams: {} reconnects, {} resyncs, {} repeats; most memory in KiB: {memory:?}",
            book.reconnects, book.resyncs, book.repeated
        );
    }
    eprintln!(
        "chaos: errands done and too late: {accounts:?}; messages whose outcome was asked for later: {asked:?}"
    );
    assert!(verdict.is_ok(), "seed {seed}: {:#?}", verdict.err());
    assert!(accounts.is_ok(), "seed {seed}: {:#?}", accounts.err());
    assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    assert!(asked.is_ok(), "seed {seed}: {:#?}", asked.err());
    let (done, late) = accounts.expect("it was asserted");
    assert!(done > 18 && done > late, "people ran errands: {done} done, {late} too late");
    assert!(unasked.is_empty(), "seed {seed}: processes ended by themselves: {unasked:#?}");
    assert!(report.never_held().is_empty(), "seed {seed}: never took hold: {:?}", report.never_held());
    let limits = memory_limits();
    for (program, most) in memory {
        let limit = limits[program];
        assert!(most < limit, "seed {seed}: a {program} took {most} KiB, the chart gives it {limit}");
    }
    if pace == Pace::EachMinute {
        let (table, risen) = soak.verdict();
        eprintln!("{table}");
        assert!(risen.is_empty(), "seed {seed}: not flat: {risen:#?}");
    }
    let counts = verdict.expect("it was asserted");
    assert!(
        counts.stored > counts.said / 2 && counts.stored <= counts.said,
        "the platform was used: {counts:?}"
    );
    assert!(counts.accepted <= counts.said && counts.given_up == 0, "everything found its way: {counts:?}");
}

#[test]
fn memory_is_held_to_the_limits_of_the_chart() {
    let limits = memory_limits();
    assert_eq!(limits.len(), 3, "{limits:?}");
    assert!(limits.values().all(|kib| (64 << 10..1 << 20).contains(kib)), "{limits:?}");
}
