use std::io::Write as _;

use crate::process::Exit;

/// Prints a line of a command's result. A reader that went away (a pager, `head`) ends the command.
pub(super) fn say(line: impl std::fmt::Display) -> Result<(), Exit> {
    let written = writeln!(std::io::stdout().lock(), "{line}");
    written.map_err(|error| Exit::failure(format!("cannot print: {error}")))
}
