use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::{LogFormat, ProcessArgs};

/// Starts the log on standard error; standard output belongs to what a command prints. A one-shot command logs as text.
pub(super) fn init(args: Option<&ProcessArgs>) {
    let (format, level) =
        args.map_or((LogFormat::Text, "info"), |args| (args.log_format, args.log_level.as_str()));
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only a test that already has a log makes this fail; its log is as good.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}
