//! The controller.

use std::process::ExitCode;

fn main() -> ExitCode {
    parley::process::main::<parley::controller::Controller>()
}
