//! Which faults took hold, how long they lasted, and how long it took until everybody heard everybody again.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{effect::Effect, schedule::Fault};

#[derive(Default)]
struct Class {
    /// How many faults of the class came.
    times: usize,
    lasted: Vec<Duration>,
    recovered: Vec<Duration>,
    /// Why some had no effect.
    idle: Vec<String>,
}

#[derive(Default)]
pub(super) struct Report {
    classes: BTreeMap<String, Class>,
    /// Networks that something was done to, and what: how often, and how often somebody met it.
    links: BTreeMap<String, BTreeMap<String, (usize, usize)>>,
}

/// A trouble of one network that came so often is to have been met: one that comes once may find nobody there.
const OFTEN: usize = 8;

impl Report {
    /// The cause of a fault is gone after this long, and it took hold or did not.
    pub(super) fn ended(&mut self, fault: &Fault, lasted: Duration, effect: &Effect) {
        if let Fault::Network(link, _, trouble, _) = fault {
            let troubles = self.links.entry(format!("{link:?}")).or_default();
            let (times, met) = troubles.entry(format!("{trouble:?}")).or_default();
            *times += 1;
            *met += usize::from(effect.is_ok());
        }
        let class = self.classes.entry(fault.class()).or_default();
        class.times += 1;
        match effect {
            Ok(()) => class.lasted.push(lasted),
            Err(why) => class.idle.push(format!("{fault}: {why}")),
        }
    }

    /// From the beginning of a fault that took hold until every room has heard a message whole that was due after its end.
    pub(super) fn recovered(&mut self, fault: &Fault, took: Duration) {
        self.classes.entry(fault.class()).or_default().recovered.push(took);
    }

    /// Faults that had no effect, and why.
    pub(super) fn idle(&self) -> Vec<&str> {
        self.classes.values().flat_map(|class| class.idle.iter().map(String::as_str)).collect()
    }

    /// Classes of faults that came and never took hold, and networks whose troubles nobody ever met: all of them, or one that came
    /// often.
    pub(super) fn never_held(&self) -> Vec<String> {
        let classes = self.classes.iter().filter(|(_, class)| class.idle.len() == class.times);
        let links = self.links.iter().flat_map(|(link, troubles)| {
            let none = troubles.values().all(|(_, met)| *met == 0).then(|| format!("{link}: any trouble"));
            let often = troubles.iter().filter(|(_, (times, met))| *met == 0 && *times >= OFTEN);
            none.into_iter().chain(often.map(move |(trouble, _)| format!("{link}: {trouble}")))
        });
        classes.map(|(name, _)| name.clone()).chain(links).collect()
    }

    /// As `hack/recovery.mjs` takes it; recovery only where faults came one by one. Times are seconds.
    pub(super) fn json(&self, seed: u64) -> Value {
        let class = |(name, class): (&String, &Class)| {
            json!({
                "fault": name,
                "times": class.times,
                "held": class.times - class.idle.len(),
                "lasted": seconds(&class.lasted),
                "recovered": seconds(&class.recovered),
            })
        };
        json!({
            "seed": seed,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "faults": self.classes.values().map(|class| class.times).sum::<usize>(),
            "classes": self.classes.iter().map(class).collect::<Vec<_>>(),
        })
    }

    /// The same for who watches the run.
    pub(super) fn table(&self) -> String {
        let row = |(name, class): (&String, &Class)| {
            let held = class.times - class.idle.len();
            let (lasted, recovered) = (seconds(&class.lasted), seconds(&class.recovered));
            format!(
                "{name}: {held} of {} took hold, lasted {lasted}, recovered after {recovered}\n",
                class.times
            )
        };
        self.classes.iter().map(row).collect()
    }
}

/// Median and longest.
fn seconds(times: &[Duration]) -> Value {
    let mut times = times.to_vec();
    times.sort_unstable();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(longest)) => {
            json!({"median": median.as_secs_f64(), "longest": longest.as_secs_f64()})
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{
        chaos::schedule::{Link, Service, Trouble},
        fixtures::{root, unique},
    };

    fn report() -> Report {
        let mut report = Report::default();
        let second = Duration::from_secs(1);
        let kill = Fault::Kill(Service::Worker, 0);
        for (nth, effect) in (1..).zip([Ok(()), Err("it had ended".to_owned()), Ok(())]) {
            report.ended(&kill, second * nth, &effect);
            report.recovered(&kill, second * nth * 2);
        }
        report.ended(&Fault::Grow, second, &Err("there are 12 already".to_owned()));
        let lost = |link| Fault::Network(link, 0, Trouble::Loss, second);
        report.ended(&lost(Link::Browsers), second, &Ok(()));
        report.ended(&lost(Link::Brokers), second, &Err("nobody came by".to_owned()));
        report
    }

    #[test]
    fn what_never_took_hold_is_told() {
        let report = report();
        assert_eq!(report.never_held(), ["Partitions added", "Brokers: any trouble"]);
        assert_eq!(report.idle().len(), 3, "{:?}", report.idle());
        let mut often = self::report();
        let idle: Effect = Err("nobody came by".to_owned());
        for _ in 0..OFTEN {
            let delay = Fault::Network(Link::Browsers, 0, Trouble::Delay, Duration::from_secs(1));
            often.ended(&delay, Duration::from_secs(1), &idle);
        }
        assert!(often.never_held().contains(&"Browsers: Delay".to_owned()), "{:?}", often.never_held());
        assert!(Report::default().never_held().is_empty());
    }

    /// The page's table is made from what a run writes, and by nothing else.
    #[test]
    fn the_page_can_be_made_from_a_run() {
        let folder = std::env::temp_dir().join(unique("recovery"));
        std::fs::create_dir(&folder).expect("a folder can be made");
        let (run, page) = (folder.join("recovery.json"), folder.join("page.md"));
        std::fs::write(&run, report().json(7).to_string()).expect("written");
        std::fs::copy(root().join("docs/reliability.md"), &page).expect("copied");
        let make = |run: &std::path::Path| {
            let made =
                Command::new("node").arg(root().join("hack/recovery.mjs")).arg(run).arg(&page).output();
            let made = made.expect("node runs");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            std::fs::read_to_string(&page).expect("the page")
        };
        let text = make(&run);
        for row in [
            "6 faults of seed 7",
            "| Worker killed | 3 | 2 | 3.0 (3.0) | 4.0 (6.0) |",
            "| Partitions added | 1 | 0 | – | – |",
        ] {
            assert!(text.contains(row), "{row} is not in {text}");
        }
        assert!(text.contains("## Models") && !text.contains("undefined"), "the rest stays: {text}");
        // From no run the page says that there is none, as before the first.
        let without = make(&folder.join("none.json"));
        assert!(without.contains("No table") && !without.contains("seed 7"), "{without}");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
