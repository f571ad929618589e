//! Whether a fault took hold, told from outside: by what the kernel shows of processes, and by waiting for what should come of it.

use std::{future::Future, process::Command, time::Duration};

use tokio::time::{Instant, sleep};

use crate::fixtures::{DEADLINE, Kafka, eventually};

/// That a fault took hold, or why it had no effect.
pub(super) type Effect = Result<(), String>;

/// What a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// What the platform may take to do as it was told, while other faults are about.
pub(super) const PATIENCE: Duration = DEADLINE;

/// The state that the kernel shows of a process: `T` is stopped. None when it has ended.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next().filter(|state| !matches!(state, 'Z' | 'X'))
}

pub(super) fn lives(pid: u32) -> bool {
    state(pid).is_some()
}

/// Whether this becomes true in time.
pub(super) async fn becomes<F>(within: Duration, mut ask: impl FnMut() -> F) -> bool
where
    F: Future<Output = bool>,
{
    let begun = Instant::now();
    while !ask().await {
        if begun.elapsed() > within {
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
    true
}

pub(super) fn signal(pids: &[u32], signal: &str) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{signal}")).args(pids.iter().map(u32::to_string)).stderr(std::process::Stdio::null());
    // One of them may have ended a moment ago.
    let _ = kill.status();
}

/// A process and those that it started.
pub(super) fn tree(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// Whether a process that was sent a signal ends by it.
pub(super) async fn ends(pid: u32) -> Effect {
    let ended = becomes(PATIENCE, || std::future::ready(!lives(pid))).await;
    if ended { Ok(()) } else { Err(format!("it had not ended {PATIENCE:?} after the signal")) }
}

/// Stops these processes, of which the first is the one that counts, for a while.
pub(super) async fn freeze(pids: &[u32], time: Duration) -> Effect {
    signal(pids, "STOP");
    let stopped = || std::future::ready(pids.first().is_some_and(|pid| state(*pid) == Some('T')));
    let took = becomes(Duration::from_secs(2), stopped).await;
    sleep(time).await;
    signal(pids, "CONT");
    if took { Ok(()) } else { Err("the kernel did not show it stopped: it had ended".to_owned()) }
}

/// Asks a process to end and, as Kubernetes does, ends it by force when it takes too long.
pub(super) async fn end(pid: u32, how: &str) -> Effect {
    if !lives(pid) {
        return Err("it had ended already".to_owned());
    }
    let asked = Instant::now();
    signal(&[pid], how);
    eventually(&format!("process {pid} to end"), || async {
        if asked.elapsed() > GRACE {
            signal(&[pid], "KILL");
        }
        (!lives(pid)).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn what_does_nothing_has_no_effect() {
    let mut child = Command::new("sleep").arg("600").spawn().expect("sleep runs");
    let pid = child.id();
    let brief = Duration::from_millis(100);
    assert_eq!(freeze(&[pid], brief).await, Ok(()));
    assert!(becomes(PATIENCE, || std::future::ready(state(pid) == Some('S'))).await, "it goes on");
    assert!(!becomes(brief, || std::future::ready(!lives(pid))).await, "it lives");
    assert_eq!(end(pid, "KILL").await, Ok(()));
    assert_eq!(ends(pid).await, Ok(()), "a dead child that nobody has asked for has ended");
    assert!(freeze(&[pid], brief).await.is_err());
    assert!(end(pid, "TERM").await.is_err());
    child.wait().expect("it can be asked");
    assert!(freeze(&[pid], brief).await.is_err() && end(pid, "TERM").await.is_err());
}

/// Whoever holds it for the tests ignores SIGTERM; it must not have inherited that, or every restart in turn were a kill.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_asked_to_end_ends() {
    let kafka = tokio::task::block_in_place(|| Kafka::own(1));
    let pid = kafka.pid(0);
    signal(&[pid], "TERM");
    assert_eq!(ends(pid).await, Ok(()));
}
