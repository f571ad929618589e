//! The gateway.

use std::process::ExitCode;

fn main() -> ExitCode {
    parley::process::main::<parley::gateway::Gateway>()
}
