//! How long faults lasted and how long it took until everybody heard everybody again.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::schedule::Fault;

#[derive(Default)]
struct Class {
    lasted: Vec<Duration>,
    recovered: Vec<Duration>,
}

#[derive(Default)]
pub(super) struct Report(BTreeMap<String, Class>);

impl Report {
    /// The cause of a fault is gone after this long.
    pub(super) fn ended(&mut self, fault: &Fault, lasted: Duration) {
        self.0.entry(fault.class()).or_default().lasted.push(lasted);
    }

    /// From a fault's beginning until every room has heard a message whole that was due after its end.
    pub(super) fn recovered(&mut self, fault: &Fault, took: Duration) {
        self.0.entry(fault.class()).or_default().recovered.push(took);
    }

    /// A table as docs/reliability.md has it; recovery only where faults came one by one.
    pub(super) fn table(&self) -> String {
        let mut table = String::from(
            "| fault | times | lasted, median (s) | longest | recovered after, median (s) | longest |\n|---|---|---|---|---|---|\n",
        );
        for (class, times) in &self.0 {
            let (lasted, recovered) = (seconds(&times.lasted), seconds(&times.recovered));
            let _ = writeln!(table, "| {class} | {} | {lasted} | {recovered} |", times.lasted.len());
        }
        table
    }
}

/// Median and longest.
fn seconds(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(longest)) => {
            format!("{:.1} | {:.1}", median.as_secs_f64(), longest.as_secs_f64())
        }
        _ => "– | –".to_owned(),
    }
}
