//! Prints the custom resource definition of `ChatTopicSet`.

use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let written = parley::api::crd_yaml()
        .map_err(std::io::Error::other)
        .and_then(|yaml| std::io::stdout().write_all(yaml.as_bytes()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}
