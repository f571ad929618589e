use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{PathError, Processes};
use crate::{
    kafka::{
        KafkaSettings, Producer, ProducerSettings,
        admin::{Admin, OffsetSpec},
    },
    store::{Database, DatabaseArgs},
    wire::Keyring,
};

/// How long a fresh topic may be without leaders.
const LEADERS: Duration = Duration::from_secs(60);

/// Where the system under test is.
#[derive(Debug, Clone, clap::Args)]
pub struct Site {
    /// Broker, address:port
    #[arg(long)]
    pub bootstrap: String,
    /// Keys that sign requests, the gateways' own
    #[arg(long)]
    pub request_keys_file: PathBuf,
    /// Keys that verify replies and events, the workers' own
    #[arg(long)]
    pub reply_keys_file: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is declared")]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is declared")]
    pub processes: Processes,
}

/// The same, connected.
#[derive(Debug, Clone)]
pub struct Place {
    pub(super) kafka: KafkaSettings,
    pub(super) producer: Producer,
    pub(super) requests: Arc<Keyring>,
    pub(super) replies: Arc<Keyring>,
    pub(super) database: Database,
    pub(super) processes: Processes,
    bootstrap: String,
}

impl Site {
    /// Reads the keys and makes the clients; nothing is connected yet.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn open(&self) -> Result<Place, PathError> {
        let kafka = KafkaSettings::plaintext(&self.bootstrap);
        // As the gateway's, but patient: what is late shows in the latency, not in a refusal.
        let settings =
            ProducerSettings { message_timeout: super::PATIENCE, linger: Duration::from_millis(1) };
        Ok(Place {
            producer: Producer::start(&kafka, "loadgen", settings)?,
            kafka,
            requests: Arc::new(Keyring::load(&self.request_keys_file)?),
            replies: Arc::new(Keyring::load(&self.reply_keys_file)?),
            database: self.database.open("parley-loadgen")?,
            processes: self.processes.clone(),
            bootstrap: self.bootstrap.clone(),
        })
    }
}

impl Place {
    pub(super) fn admin(&self) -> Result<Admin, PathError> {
        Ok(Admin::new(&self.kafka, Duration::from_secs(30), Arc::new(|_, _, _| {}))?)
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

/// The ends of all partitions of a topic. Asked again for a while: a fresh topic's leaders are known a moment later.
pub(super) async fn ends(admin: &Admin, topic: &'static str) -> Result<Vec<(i32, i64)>, PathError> {
    let start = Instant::now();
    loop {
        match ends_now(admin, topic).await {
            Err(PathError::Admin(_)) if start.elapsed() < LEADERS => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

async fn ends_now(admin: &Admin, topic: &'static str) -> Result<Vec<(i32, i64)>, PathError> {
    let mut partitions = Vec::new();
    for (_, found) in admin.describe_topics(vec![topic.to_owned()]).await? {
        partitions.extend((0..).take(found?.partitions.len()).map(|n| (topic.to_owned(), n)));
    }
    let mut ends = Vec::new();
    for (_, partition, end) in admin.list_offsets(OffsetSpec::Latest, partitions).await? {
        ends.push((partition, end?.unwrap_or(0)));
    }
    Ok(ends)
}

/// Records that were ever written to a topic: the sum of its partitions' ends.
pub(super) async fn written(admin: &Admin, topic: &'static str) -> Result<i64, PathError> {
    Ok(ends(admin, topic).await?.iter().map(|(_, end)| end).sum())
}
