//! `loadgen`: loads a running Parley and audits what came of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    parley::process::main::<parley::loadgen::LoadgenCli>()
}
