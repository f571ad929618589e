//! Properties that hold for every input, whoever made it: `fuzz/` tries them with libFuzzer, and an ordinary test holds every
//! committed input to them (docs/fuzzing.md). They stand in the modules whose private parts they need. In no release.

mod settings;

use crate::{
    controller::fuzzing::plan,
    gateway::fuzzing::{body, cursor},
    wire::fuzzing::{record, sealed},
};
use settings::settings;

/// Panics when a property does not hold. Gives whether the input was accepted, as far as its property knows good from bad.
type Property = fn(&[u8]) -> bool;

/// The targets, each named like its program in `fuzz/fuzz_targets` and its inputs in `fuzz/corpus`.
const TARGETS: [(&str, Property); 6] = [
    ("record", record),
    ("cursor", cursor),
    ("body", body),
    ("plan", plan),
    ("sealed", sealed),
    ("settings", settings),
];

/// Holds an input to the properties of a target.
///
/// # Panics
/// When one does not hold, or there is no such target.
pub fn run(target: &str, data: &[u8]) -> bool {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let Some((_, property)) = found else { unreachable!("there is no target {target}") };
    property(data)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn names(folder: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What was found once stays found, and the inputs that fuzzing begins with get past the first checks.
    #[test]
    fn every_committed_input_holds() {
        for (target, property) in TARGETS {
            let mut accepted = 0;
            let inputs = names(&format!("corpus/{target}"));
            for name in &inputs {
                let path = format!("{}/fuzz/corpus/{target}/{name}", env!("CARGO_MANIFEST_DIR"));
                let data = fs::read(&path).unwrap();
                assert!(data.len() <= 40_000, "{path} is too large");
                match std::panic::catch_unwind(|| property(&data)) {
                    Ok(good) => accepted += usize::from(good),
                    Err(_) => panic!("{path}: see above"),
                }
            }
            assert!(accepted >= 4, "{target}: {accepted} of {} inputs are accepted", inputs.len());
        }
    }

    #[test]
    fn every_target_has_a_program_and_inputs() {
        let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("corpus"), known);
        assert_eq!(names("fuzz_targets"), known.iter().map(|name| format!("{name}.rs")).collect());
    }
}
