use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    kafka::KafkaArgs,
    process::{Exit, ProcessArgs},
    store::{DatabaseArgs, throttles::Rule},
    wire::Kind,
};

/// Flags of `worker run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is declared")]
    pub process: ProcessArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is declared")]
    pub kafka: KafkaArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is declared")]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is declared")]
    pub keys: KeyArgs,
    /// Kinds of requests that this worker serves, separated by commas
    #[arg(long, env = "PARLEY_KINDS", value_delimiter = ',', required = true)]
    pub kinds: Vec<Kind>,
    /// Consumer group whose members share the partitions
    #[arg(long, env = "PARLEY_CONSUMER_GROUP")]
    pub consumer_group: String,
    /// How the group shares them: the classic protocol, or KIP-848's (brokers 4.0 and later)
    #[arg(long, env = "PARLEY_GROUP_PROTOCOL", default_value = "classic")]
    pub group_protocol: GroupProtocol,
    /// The most records of one batch
    #[arg(long, env = "PARLEY_BATCH_RECORDS", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub batch_records: u16,
    /// How long a batch waits to fill after its first record, in milliseconds
    #[arg(long, env = "PARLEY_BATCH_WAIT_MS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub batch_wait_ms: u16,
    /// How long the batch in hand may take when a partition goes or the process ends
    #[arg(long, env = "PARLEY_DRAIN_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub drain_seconds: u16,
    /// After this long without a heartbeat the group gives the partitions to others
    #[arg(long, env = "PARLEY_SESSION_TIMEOUT_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=3600))]
    pub session_timeout_seconds: u16,
    /// When the process is killed after it was asked to stop
    #[arg(long, env = "PARLEY_TERMINATION_GRACE_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(3..=3600))]
    pub termination_grace_seconds: u16,
    /// Threads that hash passwords; default: half of the cores
    #[arg(long, env = "PARLEY_HASH_THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub hash_threads: Option<u16>,
    /// Sign-ups an hour from one address that cost it no wait; 0: as many as want to
    #[arg(long, env = "PARLEY_SIGN_UPS_PER_ADDRESS", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=30000))]
    pub sign_ups_per_address: u16,
    /// For tests: a named step of the pipeline at which this process kills or stops itself
    #[arg(long, env = "PARLEY_FAULT", hide = true)]
    pub fault: Option<String>,
}

/// The key files that a worker reads.
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    /// Keys that verify requests
    #[arg(long, env = "PARLEY_REQUEST_KEYS_FILE")]
    pub request_keys_file: PathBuf,
    /// Keys that sign replies and events
    #[arg(long, env = "PARLEY_REPLY_KEYS_FILE")]
    pub reply_keys_file: PathBuf,
    /// Keys that open sealed passwords; needed for Login and AddUser
    #[arg(long, env = "PARLEY_SEAL_PRIVATE_KEYS_FILE")]
    pub seal_private_keys_file: Option<PathBuf>,
}

/// How a group shares partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupProtocol {
    /// The classic one, cooperative.
    Classic,
    /// KIP-848.
    Consumer,
}

/// The same, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) kinds: Vec<Kind>,
    pub(super) batch_records: usize,
    pub(super) batch_wait: Duration,
    pub(super) drain: Duration,
    pub(super) hash_threads: usize,
    pub(super) sign_ups: Option<Rule>,
}

impl RunArgs {
    /// Whether a worker would start with these.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn usable(&self) -> Result<(), Exit> {
        self.check().map(drop)
    }

    /// Checks what no single flag can.
    ///
    /// # Errors
    /// When two settings contradict each other: one line for people.
    pub(super) fn check(&self) -> Result<Settings, Exit> {
        let (drain, session, grace) =
            (self.drain_seconds, self.session_timeout_seconds, self.termination_grace_seconds);
        if drain >= session || session >= grace {
            return Err(Exit::settings(format!(
                "--drain-seconds {drain} < --session-timeout-seconds {session} < --termination-grace-seconds {grace} must hold: \
                 a batch must end before the group gives its partition away, and that before the process is killed"
            )));
        }
        let mut kinds = self.kinds.clone();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() != self.kinds.len() {
            return Err(Exit::settings("--kinds names a kind twice"));
        }
        if kinds.iter().any(|kind| needs_passwords(*kind)) && self.keys.seal_private_keys_file.is_none() {
            return Err(Exit::settings(
                "--kinds names Login or AddUser, which need --seal-private-keys-file to open passwords",
            ));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Settings {
            kinds,
            batch_records: usize::from(self.batch_records),
            batch_wait: Duration::from_millis(u64::from(self.batch_wait_ms)),
            drain: Duration::from_secs(u64::from(drain)),
            hash_threads: self.hash_threads.map_or((cores / 2).max(1), usize::from),
            sign_ups: (self.sign_ups_per_address > 0).then(|| Rule {
                free: i32::from(self.sign_ups_per_address),
                most: Duration::from_secs(15 * 60),
                forget: Duration::from_secs(3600),
            }),
        })
    }
}

/// Whether requests of this kind carry a sealed password.
pub(super) fn needs_passwords(kind: Kind) -> bool {
    matches!(kind, Kind::Login | Kind::AddUser)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    fn check(extra: &str) -> Result<Settings, Exit> {
        let base =
            "x --kafka-bootstrap-servers k:1 --consumer-group g --request-keys-file r --reply-keys-file p";
        let line = format!("{base} {extra}");
        Cli::try_parse_from(line.split_whitespace()).unwrap().run.check()
    }

    #[test]
    fn contradictions_stop_the_start() {
        let settings = check("--kinds AddChat,ListRooms").unwrap();
        assert_eq!((settings.batch_records, settings.batch_wait), (500, Duration::from_millis(3)));
        for (extra, word) in [
            ("--kinds AddChat --drain-seconds 20", "--drain-seconds 20"),
            ("--kinds AddChat --termination-grace-seconds 20", "must hold"),
            ("--kinds AddChat,AddChat", "twice"),
            ("--kinds Login", "--seal-private-keys-file"),
        ] {
            let Err(Exit::Settings(line)) = check(extra) else { panic!("{extra} was taken") };
            assert!(line.contains(word), "{line}");
        }
        assert!(check("--kinds Login --seal-private-keys-file s").is_ok());
    }
}
