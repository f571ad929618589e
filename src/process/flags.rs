use std::{collections::BTreeSet, net::SocketAddr, process::ExitCode};

use clap::{ArgMatches, Command as Clap, CommandFactory, FromArgMatches};
use tracing_subscriber::EnvFilter;

use super::secret;

/// The flags that every service has.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessArgs {
    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "PARLEY_ADMIN_ADDR", default_value = "0.0.0.0:9090")]
    pub admin_addr: SocketAddr,
    /// How log lines look
    #[arg(long, env = "PARLEY_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// What is logged: a level, or targets with levels such as `info,parley::worker=debug`
    #[arg(long, env = "PARLEY_LOG_LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: String,
}

/// A filter that the log understands.
fn log_level(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people at a terminal.
    Text,
}

/// Parses the command line and environment into the command and a text of its effective settings. Help and version end with
/// 0, anything wrong with one line and 2.
pub(super) fn parse<C: CommandFactory + FromArgMatches>() -> Result<(C, String), ExitCode> {
    let clap = C::command().version(super::VERSION);
    let known = known_environment(&clap);
    let parsed = clap.try_get_matches().and_then(|matches| Ok((C::from_arg_matches(&matches)?, matches)));
    let (command, matches) = parsed.map_err(|error| {
        if error.exit_code() == 0
            || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        {
            let code = error.exit_code();
            let _ = error.print();
            return ExitCode::from(u8::try_from(code).unwrap_or(2));
        }
        complain(&one_line(&error.to_string()))
    })?;
    if let Some(name) =
        unknown_environment(&known, std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    {
        return Err(complain(&format!(
            "error: the environment variable {name} is no setting of this command; --help lists them"
        )));
    }
    Ok((command, effective(&matches)))
}

#[expect(clippy::print_stderr, reason = "there is no log before the settings that shape it")]
fn complain(line: &str) -> ExitCode {
    eprintln!("{line}");
    ExitCode::from(2)
}

/// clap's message up to its first blank line, on one line: the rest is usage, which `--help` gives.
pub(crate) fn one_line(message: &str) -> String {
    let head = message.split("\n\n").next().unwrap_or(message);
    head.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All `PARLEY_` variables that some flag of this command or of its subcommands reads, and the secrets.
fn known_environment(clap: &Clap) -> BTreeSet<String> {
    let own =
        clap.get_arguments().filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned());
    let mut names: BTreeSet<String> = own.collect();
    names.extend(secret::ENVIRONMENT.iter().map(|name| (*name).to_owned()));
    for sub in clap.get_subcommands() {
        names.extend(known_environment(sub));
    }
    names
}

/// The first `PARLEY_` variable that nothing reads: a misspelt setting must not be ignored. What Kubernetes sets for the
/// Services of a namespace (`PARLEY_GATEWAY_SERVICE_HOST`, `…_PORT_80_TCP_ADDR`) is none of ours.
fn unknown_environment(known: &BTreeSet<String>, names: impl Iterator<Item = String>) -> Option<String> {
    let service_link = |name: &str| {
        name.contains("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.contains("_PORT_")
            || name.ends_with("_PORT")
    };
    names.filter(|name| name.starts_with("PARLEY_") && !known.contains(name) && !service_link(name)).min()
}

/// `flag=value` of everything in force. No secret is a flag, so none is here.
fn effective(matches: &ArgMatches) -> String {
    let mut parts = Vec::new();
    if let Some((name, sub)) = matches.subcommand() {
        parts.push(name.to_owned());
        parts.push(effective(sub));
    }
    for id in matches.ids() {
        let Ok(Some(values)) = matches.try_get_raw(id.as_str()) else { continue };
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        parts.push(format!("{}={}", id.as_str(), values.join(",")));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Example {
        #[command(flatten)]
        process: ProcessArgs,
    }

    #[test]
    fn a_misspelt_variable_is_found_and_a_service_link_is_not_one() {
        let known = known_environment(&Example::command());
        let unknown = |names: &[&str]| unknown_environment(&known, names.iter().map(|n| (*n).to_owned()));
        assert_eq!(unknown(&["PATH", "PARLEY_ADMIN_ADDR", "PARLEY_DATABASE_URL"]), None);
        assert_eq!(unknown(&["PARLEY_GATEWAY_PORT_80_TCP_ADDR", "PARLEY_GATEWAY_SERVICE_HOST"]), None);
        assert_eq!(unknown(&["PARLEY_ADMIN_ADR"]).as_deref(), Some("PARLEY_ADMIN_ADR"));
    }

    #[test]
    fn a_complaint_is_one_line() {
        let error = Example::command().try_get_matches_from(["x", "--admin-addr", "nowhere"]).unwrap_err();
        let line = one_line(&error.to_string());
        assert!(line.contains("--admin-addr") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn effective_settings_name_flags_and_defaults() {
        let matches = Example::command().get_matches_from(["x", "--log-format", "text"]);
        let text = effective(&matches);
        assert!(text.contains("log_format=text") && text.contains("admin_addr=0.0.0.0:9090"), "{text}");
    }
}
