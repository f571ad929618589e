//! Hours at half load with a fault a minute: what the processes hold and how long messages take must stay as they are.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use tokio::time::Instant;

use super::{people::Crowd, services::Services};

/// One sample of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) resident_kib: u64,
    pub(super) descriptors: u64,
}

/// What was seen in one minute, by what it is.
type Minute = BTreeMap<String, f64>;

/// The processes that no fault ends, so that what leaks in them is not given back by a restart: name, and what it is called here.
/// Faults come to their connections, to the servers behind these and to the processes beside them.
pub(super) const SPARED: [(&str, &str); 4] = [
    ("parley-worker-chat-0", "chat worker"),
    ("parley-worker-account-0", "account worker"),
    ("gateway-0", "gateway"),
    ("controller-0", "controller"),
];

const MEMORY: &str = "memory (MiB)";
const DESCRIPTORS: &str = "descriptors";
const MEDIAN: &str = "message to all members, median (ms)";
const TENTH: &str = "message to all members, p90 (ms)";

/// How far each may rise over a whole run: by this part of its median, or by this much. docs/reliability.md has the same table.
const WATCHED: [(&str, f64, f64); 4] =
    [(MEMORY, 0.15, 6.0), (DESCRIPTORS, 0.1, 10.0), (MEDIAN, 0.5, 20.0), (TENTH, 1.0, 400.0)];

/// The same for each process, by the name that its samples have.
fn watched() -> Vec<(String, f64, f64)> {
    let mut watched = Vec::new();
    for (what, part, least) in WATCHED {
        if what == MEMORY || what == DESCRIPTORS {
            watched.extend(SPARED.map(|(_, process)| (format!("{process}, {what}"), part, least)));
        } else {
            watched.push((what.to_owned(), part, least));
        }
    }
    watched
}

#[derive(Default)]
pub(super) struct Soak {
    minutes: Vec<Minute>,
}

impl Soak {
    /// Watches until it is aborted by being dropped.
    pub(super) async fn watch(&mut self, services: &Services, crowd: &Crowd, minutes: usize) {
        let begun = Instant::now();
        for n in 0..minutes {
            let start = begun + Duration::from_secs(60) * u32::try_from(n).expect("few");
            let mut seen: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for sample in 1..=6 {
                tokio::time::sleep_until(start + Duration::from_secs(10) * sample).await;
                for (process, held) in
                    SPARED.iter().filter_map(|(name, process)| Some((process, services.held(name)?)))
                {
                    let mebibytes = held.resident_kib as f64 / 1024.0;
                    seen.entry(format!("{process}, {MEMORY}")).or_default().push(mebibytes);
                    let descriptors = held.descriptors as f64;
                    seen.entry(format!("{process}, {DESCRIPTORS}")).or_default().push(descriptors);
                }
            }
            let mut minute: Minute =
                seen.into_iter().map(|(what, values)| (what, quantile(values, 0.5))).collect();
            // What was due in the minute before had a minute to arrive.
            if let Some(before) = start.checked_sub(Duration::from_secs(60)).filter(|_| n > 0) {
                let took = crowd.took(before, start);
                minute.insert(MEDIAN.to_owned(), quantile(took.clone(), 0.5));
                minute.insert(TENTH.to_owned(), quantile(took, 0.9));
            }
            let line: Vec<String> = minute.iter().map(|(what, value)| format!("{what} {value:.1}")).collect();
            eprintln!("soak: minute {:>3}/{minutes}: {}", n + 1, line.join("; "));
            self.minutes.push(minute);
        }
    }

    /// A table as docs/reliability.md has it, and what rose too far.
    pub(super) fn verdict(&self) -> (String, Vec<String>) {
        let mut table =
            String::from("| what | lowest | median | highest | rise over the run |\n|---|---|---|---|---|\n");
        let mut risen = Vec::new();
        // Pools, caches and the JIT of those beside them fill in the first tenth.
        let settled = self.minutes.len().div_ceil(10);
        for (what, part, least) in watched() {
            let points: Vec<(f64, f64)> = (0..)
                .zip(&self.minutes)
                .skip(settled)
                .filter_map(|(n, minute)| Some((f64::from(n), *minute.get(&what)?)))
                .collect();
            let values = || points.iter().map(|(_, value)| *value).collect::<Vec<_>>();
            let median = quantile(values(), 0.5);
            let rise = slope(&points) * points.len() as f64;
            let (lowest, highest) = (quantile(values(), 0.0), quantile(values(), 1.0));
            let _ = writeln!(table, "| {what} | {lowest:.0} | {median:.0} | {highest:.0} | {rise:+.1} |");
            if points.is_empty() || rise > (median * part).max(least) {
                risen.push(format!("{what}: {rise:+.1} over the run, median {median:.1}"));
            }
        }
        (table, risen)
    }
}

/// The value below which this part of them lies; NaN of nothing.
fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    // Rounded to an index that exists.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and their number")]
    let index = (last * part).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// The median of the slopes between any two points (Theil and Sen): a minute with a fault in it does not bend it.
fn slope(points: &[(f64, f64)]) -> f64 {
    let mut slopes = Vec::new();
    for (n, (x1, y1)) in points.iter().enumerate() {
        slopes.extend(points[n + 1..].iter().map(|(x2, y2)| (y2 - y1) / (x2 - x1)));
    }
    if slopes.is_empty() { 0.0 } else { quantile(slopes, 0.5) }
}

#[test]
fn a_rise_is_told_and_noise_is_not() {
    let soak = |of: fn(f64) -> f64| {
        let minute = |n: i32| watched().into_iter().map(|(what, ..)| (what, of(f64::from(n)))).collect();
        Soak { minutes: (0..60).map(minute).collect() }.verdict()
    };
    let (table, risen) = soak(|n| 100.0 + n % 7.0 + if n % 10.0 == 0.0 { 900.0 } else { 0.0 });
    assert!(risen.is_empty(), "{risen:?}");
    assert_eq!(table.lines().count(), 2 + watched().len());
    let (_, risen) = soak(|n| 100.0 + 10.0 * n + n % 7.0);
    assert_eq!(risen.len(), watched().len(), "{risen:?}");
    let (_, risen) = Soak::default().verdict();
    assert_eq!(risen.len(), watched().len(), "what was never seen is not flat");
}

#[test]
fn the_page_names_the_limits() {
    let page =
        std::fs::read_to_string(crate::fixtures::root().join("docs/reliability.md")).expect("the page");
    for (what, part, least) in WATCHED {
        let row = format!("| {what} | {:.0} % | {least} |", part * 100.0);
        assert!(page.contains(&row), "docs/reliability.md lacks {row}");
    }
}
