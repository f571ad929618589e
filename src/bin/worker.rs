//! The worker: see `parley::worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    parley::process::main::<parley::worker::commands::Worker>()
}
