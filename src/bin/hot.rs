//! `hot NAME ROUNDS`: runs a function of the hot path so often, for the count of its instructions.

use std::process::ExitCode;

fn main() -> ExitCode {
    parley::hot::main(std::env::args().skip(1))
}
