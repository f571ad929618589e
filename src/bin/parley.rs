//! The three services in one file, for the image: what it does is decided by the name under which it is called, so that the
//! code that they share is there once. `controller`, `worker` and `gateway` are symbolic links to it.

use std::{path::Path, process::ExitCode};

use parley::process::main as serve;

#[global_allocator]
static MEMORY: parley::process::Allocator = parley::process::Allocator;

#[expect(clippy::print_stderr, reason = "there is no log before there is a service")]
fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("controller") => serve::<parley::controller::Controller>(),
        Some("worker") => serve::<parley::worker::commands::Worker>(),
        Some("gateway") => serve::<parley::gateway::Gateway>(),
        _ => {
            eprintln!("error: call this as controller, worker or gateway: these names are links to it");
            ExitCode::from(2)
        }
    }
}
