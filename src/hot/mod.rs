//! The pure functions that every request and every event passes, each as a loop: `hack/check/instructions.sh` counts what one
//! round takes, so that a change that makes them dearer is seen where a clock would not show it. No service calls this.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    gateway::hot::{cursor, event_in, fan_out},
    wire::hot::{request_in, request_out},
    worker::batches,
};

/// Runs so many rounds and gives how many did what they should.
type Loop = fn(u32) -> u32;

/// By name, in the order of a message's way: gateway, worker, gateway.
const LOOPS: [(&str, Loop); 6] = [
    ("request-out", request_out),
    ("request-in", request_in),
    ("batch", batches),
    ("event-in", event_in),
    ("fan-out", fan_out),
    ("cursor", cursor),
];

/// `hot`: prints the names. `hot NAME ROUNDS`: runs that loop.
pub fn main(mut args: impl Iterator<Item = String>) -> ExitCode {
    let name = args.next();
    let rounds: Option<u32> = args.next().and_then(|text| text.parse().ok());
    let chosen = LOOPS.iter().find(|(known, _)| name.as_deref() == Some(*known));
    match (&name, chosen, rounds) {
        (None, ..) => {
            let written = LOOPS.iter().try_for_each(|(name, _)| writeln!(io::stdout(), "{name}"));
            written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        // A round that fails is cheap: its count would say nothing.
        (_, Some((_, run)), Some(rounds)) if run(rounds) == rounds => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loop_does_what_it_counts() {
        for (name, run) in LOOPS {
            assert_eq!((run(0), run(3)), (0, 3), "{name}");
        }
    }

    #[test]
    fn what_is_no_loop_is_refused() {
        let code = |args: &[&str]| format!("{:?}", main(args.iter().map(|arg| (*arg).to_owned())));
        let (good, bad) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(
            [code(&["cursor", "1"]), code(&["cursor"]), code(&["none", "1"])],
            [good, bad.clone(), bad]
        );
    }
}
