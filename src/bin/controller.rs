//! The controller.

use std::process::ExitCode;

#[global_allocator]
static MEMORY: parley::process::Allocator = parley::process::Allocator;

fn main() -> ExitCode {
    parley::process::main::<parley::controller::Controller>()
}
