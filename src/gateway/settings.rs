use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::http::HeaderName;

use crate::{
    kafka::KafkaArgs,
    process::{Exit, ProcessArgs},
    store::DatabaseArgs,
};

/// How a gateway runs.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Flags that every service has.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// PostgreSQL.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Keys that sign requests
    #[arg(long, env = "PARLEY_REQUEST_KEYS_FILE", default_value = "/etc/parley/keys/request-keys.json")]
    pub request_keys_file: PathBuf,
    /// Keys that replies and events are signed with
    #[arg(long, env = "PARLEY_REPLY_KEYS_FILE", default_value = "/etc/parley/keys/reply-keys.json")]
    pub reply_keys_file: PathBuf,
    /// Public keys that passwords are sealed to
    #[arg(long, env = "PARLEY_SEAL_PUBLIC_KEYS_FILE", default_value = "/etc/parley/keys/seal-public.json")]
    pub seal_public_keys_file: PathBuf,
    /// Address of the web client, the API and the event streams
    #[arg(long, env = "PARLEY_LISTEN_ADDR", default_value = "0.0.0.0:8080")]
    pub listen_addr: SocketAddr,
    /// Name the cookie `parley`, without Secure, for browsers that drop `__Host-` cookies on plain http; loopback only
    #[arg(long, env = "PARLEY_INSECURE_COOKIE")]
    pub insecure_cookie: bool,
    /// Seconds over which a stopping gateway sends its browsers away
    #[arg(long, env = "PARLEY_DRAIN_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub drain_seconds: u64,
    /// Limits.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// The gateway's limits, all of them per process.
#[derive(Debug, Clone, clap::Args)]
pub struct LimitArgs {
    /// Threads of work that the event streams are spread over; 0: one per core
    #[arg(long, env = "PARLEY_SHARDS", default_value_t = 0)]
    pub shards: usize,
    /// MiB of events kept in memory for streams that come back
    #[arg(long, env = "PARLEY_RING_MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub ring_mib: u64,
    /// KiB that may wait for one stream's socket
    #[arg(long, env = "PARLEY_STREAM_QUEUE_KIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..=65_536))]
    pub stream_queue_kib: u64,
    /// Seconds that an event may wait for one stream's socket
    #[arg(long, env = "PARLEY_STREAM_QUEUE_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub stream_queue_seconds: u64,
    /// Seconds between two heartbeats of a stream
    #[arg(long, env = "PARLEY_HEARTBEAT_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub heartbeat_seconds: u64,
    /// Seconds that a stream lives before the browser is asked to come back
    #[arg(long, env = "PARLEY_STREAM_LIFE_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub stream_life_seconds: u64,
    /// The most events of one resume
    #[arg(long, env = "PARLEY_REPLAY_EVENTS", default_value_t = 10_000)]
    pub replay_events: usize,
    /// The most records that one resume may read from Kafka
    #[arg(long, env = "PARLEY_REPLAY_RECORDS", default_value_t = 200_000)]
    pub replay_records: usize,
    /// The most seconds that one resume may read from Kafka
    #[arg(long, env = "PARLEY_REPLAY_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub replay_seconds: u64,
    /// Resumes that read from Kafka at once
    #[arg(long, env = "PARLEY_REPLAYS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub replays: u64,
    /// The most streams at once
    #[arg(long, env = "PARLEY_MAX_STREAMS", default_value_t = 20_000)]
    pub max_streams: usize,
    /// The most streams from one address (IPv6: one /64) at once
    #[arg(long, env = "PARLEY_MAX_STREAMS_PER_ADDRESS", default_value_t = 20_000)]
    pub max_streams_per_address: usize,
    /// The most streams of sessions that are still unknown, from one address at once
    #[arg(long, env = "PARLEY_MAX_UNKNOWN_STREAMS_PER_ADDRESS", default_value_t = 200)]
    pub max_unknown_streams_per_address: usize,
    /// The most streams of one user at once
    #[arg(long, env = "PARLEY_MAX_STREAMS_PER_USER", default_value_t = 20)]
    pub max_streams_per_user: usize,
    /// New streams a second, four seconds' worth at once; 0: no limit
    #[arg(long, env = "PARLEY_MAX_CONNECTS_PER_SECOND", default_value_t = 2_000)]
    pub max_connects_per_second: u32,
    /// Requests of one user a second, four seconds' worth at once; 0: no limit
    #[arg(long, env = "PARLEY_REQUESTS_PER_USER", default_value_t = 50)]
    pub requests_per_user: u32,
    /// Requests without an open session from one address (IPv6: one /64) a second, four seconds' worth at once; 0: no limit
    #[arg(long, env = "PARLEY_REQUESTS_PER_ADDRESS", default_value_t = 1_000)]
    pub requests_per_address: u32,
    /// Messages to one room a second, four seconds' worth at once; 0: no limit
    #[arg(long, env = "PARLEY_MESSAGES_PER_ROOM", default_value_t = 500)]
    pub messages_per_room: u32,
    /// Sign-ups, logins and logouts of unknown sessions from one address (IPv6: one /64) a second, four seconds' worth at once; 0: no limit
    #[arg(long, env = "PARLEY_SIGN_INS_PER_ADDRESS", default_value_t = 50)]
    pub sign_ins_per_address: u32,
    /// Header in which a trusted proxy names the client's address, such as X-Forwarded-For; the last entry counts. Without it: the
    /// connection's other end
    #[arg(long, env = "PARLEY_CLIENT_ADDRESS_HEADER")]
    pub client_address_header: Option<HeaderName>,
    /// The most connections at once, of whatever use; more wait in the kernel's queue
    #[arg(long, env = "PARLEY_MAX_CONNECTIONS", default_value_t = 24_000)]
    pub max_connections: usize,
}

impl RunArgs {
    /// What the flags' own types cannot tell.
    pub(crate) fn check(&self) -> Result<(), Exit> {
        if self.insecure_cookie && !self.listen_addr.ip().is_loopback() {
            return Err(Exit::settings(format!(
                "--insecure-cookie is for loopback only, but --listen-addr is {}; use 127.0.0.1, or TLS in front and no --insecure-cookie",
                self.listen_addr
            )));
        }
        Ok(())
    }

    pub(super) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        run: super::RunArgs,
    }

    /// The table of `docs/gateway.md` names every setting of the gateway's own with its default.
    #[test]
    fn every_setting_is_documented_with_its_default() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gateway.md")).unwrap();
        for arg in Cli::command().get_arguments() {
            let Some(flag) = arg.get_long() else { continue };
            let common =
                ["kafka-", "database-", "admin-", "log-"].iter().any(|start| flag.starts_with(start));
            if common {
                continue;
            }
            let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
            let row = format!(
                "| `--{flag}` | {} |",
                default.map_or("none".to_owned(), |value| format!("`{value}`"))
            );
            assert!(docs.contains(&row), "docs/gateway.md lacks {row}");
        }
    }
}
