//! Named steps of the pipeline at which tests end or freeze this process, to see that nothing is lost or doubled: between
//! every two steps lies one. Off unless `--fault POINT[@KIND][:PASS[:stop]]` names one; then a pass costs one atomic read.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use rustix::process::{Signal, getpid, kill_process};

use crate::wire::Kind;

/// The step before offsets are committed, which happens for all partitions at once.
const COMMIT: &str = "commit-offset";
/// Every step that can be named, in the order in which a batch passes them.
pub(crate) const POINTS: [&str; 13] = [
    "poll",
    "decode",
    "hash",
    "begin",
    "lock",
    "look-up",
    "effects",
    "outcomes",
    "committed",
    "produce",
    "acknowledged",
    "stored",
    COMMIT,
];

#[derive(Debug)]
struct Fault {
    point: String,
    /// Whose batches alone pass the point; `None`: those of any kind.
    kind: Option<Kind>,
    /// Passes that are still let through.
    left: AtomicU64,
    signal: Signal,
}

static FAULT: OnceLock<Fault> = OnceLock::new();

/// Arms `POINT[@KIND][:PASS[:stop]]`: SIGKILL (or SIGSTOP) at the given pass of that point, the first by default, by a batch of
/// that kind.
pub(super) fn arm(text: &str) -> Result<(), String> {
    let mut parts = text.split(':');
    let place = parts.next().unwrap_or_default();
    let (point, kind) = place.split_once('@').map_or((place, None), |(point, kind)| (point, Some(kind)));
    let kind: Option<Kind> = kind.map(str::parse).transpose().map_err(|error| format!("--fault: {error}"))?;
    let pass = parts.next().map_or(Ok(1), str::parse::<u64>).map_err(|_| "the pass is not a number")?;
    let signal = match parts.next() {
        None => Signal::KILL,
        Some("stop") => Signal::STOP,
        Some(_) => return Err("after the pass stands stop or nothing".to_owned()),
    };
    if !POINTS.contains(&point) || pass == 0 {
        return Err(format!("--fault takes one of {}, and a pass from 1", POINTS.join(", ")));
    }
    if point == COMMIT && kind.is_some() {
        return Err(format!("{COMMIT} is passed for all kinds at once"));
    }
    let fault = Fault { point: point.to_owned(), kind, left: AtomicU64::new(pass), signal };
    FAULT.set(fault).map_err(|_| "a fault is armed already".to_owned())
}

/// A batch of this kind passes a point.
pub(super) fn point(name: &'static str, kind: Kind) {
    pass(name, Some(kind));
}

/// Stored offsets are about to be committed.
pub(super) fn before_commit() {
    pass(COMMIT, None);
}

fn pass(name: &'static str, kind: Option<Kind>) {
    let Some(fault) = FAULT.get() else { return };
    let meant = fault.point == name && (fault.kind.is_none() || fault.kind == kind);
    if meant && fault.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        // Nothing can be done about a failure, and nothing comes after a success.
        let _ = kill_process(getpid(), fault.signal);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_known_points_are_armed() {
        for bad in ["", "nowhere", "poll:x", "poll:0", "poll:1:later", "poll@Chat", "commit-offset@AddChat"] {
            assert!(super::arm(bad).is_err(), "{bad}");
        }
    }
}
