use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf, str::FromStr, time::Duration};

use super::{connection, say::say};
use crate::{
    ids::{RequestId, Timestamp},
    kafka::{Delivery, KafkaArgs, KafkaSettings, RecordView, scan::From},
    process::Exit,
    store::{Clock, DatabaseArgs, inbox},
    wire::{DEAD_LETTER, HeaderName, Incoming, Keyring, Kind, Opened, Request, open_request, request_record},
};

/// Look at the records that no retry could mend, and run them again once their reason is gone
#[derive(Debug, clap::Subcommand)]
pub(super) enum DeadLetterCommand {
    /// One line for each dead letter
    List(ListArgs),
    /// Everything about some of them: headers and value
    Show(ListArgs),
    /// Send them to their topics again, with their request ids, so that what took effect does not take it twice
    Replay(ReplayArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    kafka: KafkaArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Keys that verify and sign requests
    #[arg(long, env = "PARLEY_REQUEST_KEYS_FILE")]
    request_keys_file: PathBuf,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Records a second at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds that each may take, from its sending
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    deadline_seconds: u64,
}

#[derive(Debug, Clone, clap::Args)]
struct Filter {
    /// Only these places in the dead-letter topic, PARTITION:OFFSET
    places: Vec<Place>,
    /// Only requests of this kind
    #[arg(long)]
    kind: Option<Kind>,
    /// Only with this error code
    #[arg(long)]
    code: Option<String>,
    /// Only this request
    #[arg(long)]
    request_id: Option<RequestId>,
    /// Only those dead-lettered at this time (RFC 3339) or later
    #[arg(long)]
    since: Option<Timestamp>,
    /// At most this many of them: the oldest, over all partitions
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

/// A place in the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(i32, i64);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (partition, offset) = text.split_once(':')?;
            Some(Self(partition.parse().ok()?, offset.parse().ok()?))
        };
        parsed().ok_or_else(|| "a place is PARTITION:OFFSET, as list prints it".to_owned())
    }
}

/// A dead letter, copied.
struct Letter {
    place: Place,
    /// When it was put aside, by the broker's account, in milliseconds since 1970.
    time: Option<i64>,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

pub(super) async fn run(command: DeadLetterCommand) -> Result<(), Exit> {
    match command {
        DeadLetterCommand::List(args) => {
            let letters = read(connection::kafka(&args.kafka)?, args.filter).await?;
            letters.iter().try_for_each(|letter| say(letter.line()))
        }
        DeadLetterCommand::Show(args) => {
            let letters = read(connection::kafka(&args.kafka)?, args.filter).await?;
            letters.iter().try_for_each(Letter::show)
        }
        DeadLetterCommand::Replay(args) => replay(args).await,
    }
}

/// The letters that are wanted, the oldest first. All partitions are read to their ends, because each has its own order; no more
/// than the limit is held meanwhile.
async fn read(kafka: KafkaSettings, filter: Filter) -> Result<Vec<Letter>, Exit> {
    connection::blocking(move || {
        let from = filter.since.map_or(From::Beginning, |since| From::Time(since.as_micros() / 1_000));
        let mut oldest = BTreeMap::new();
        connection::scan(&kafka, &[DEAD_LETTER], from, |view| {
            let letter = Letter::of(view);
            if filter.wants(&letter) {
                oldest.insert((letter.time, letter.place), letter);
                if oldest.len() > filter.limit {
                    oldest.pop_last();
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(oldest.into_values().collect())
    })
    .await
}

async fn replay(args: ReplayArgs) -> Result<(), Exit> {
    let kafka = connection::kafka(&args.kafka)?;
    let keys = Keyring::load(&args.request_keys_file).map_err(Exit::settings)?;
    let database = args.database.open("parley-dead-letter").map_err(Exit::settings)?;
    let producer = connection::producer(&kafka)?;
    // Deadlines are PostgreSQL's time, whatever this machine's clock says.
    let clock = Clock::default();
    if !args.dry_run {
        clock.measure(&database).await.map_err(Exit::failure)?;
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1) / args.rate);
    // At most so many in any second, not on average.
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut sent, mut left) = (0_usize, 0_usize);
    for letter in read(kafka, args.filter).await? {
        let (opened, request) = match letter.open(&keys) {
            Ok(opened) => opened,
            Err(why) => {
                left += 1;
                say(format!("{}  left: {why}", letter.line()))?;
                continue;
            }
        };
        if args.dry_run {
            say(format!("{}  would be sent", letter.line()))?;
            continue;
        }
        // First the stored refusal learns that it may give way, then the record comes that it gives way to.
        let mut connection = database.connection().await.map_err(Exit::failure)?;
        let id = opened.headers.request_id;
        inbox::give_way(&mut connection, id, request.fingerprint()).await.map_err(Exit::failure)?;
        // Right before the sending, or what comes before it would shorten the time between two.
        pace.tick().await;
        let mut headers = opened.headers;
        // Later than the refused one in any case: only to a later one the refusal gives way.
        let later = headers.deadline.after(Duration::from_millis(1));
        headers.deadline = clock.now().after(Duration::from_secs(args.deadline_seconds)).max(later);
        match producer.send(&request_record(&keys, &headers, &request)).await {
            Delivery::Persisted => say(format!("{}  sent", letter.line()))?,
            Delivery::Unknown => {
                say(format!("{}  perhaps sent: no broker has said so", letter.line()))?;
                continue;
            }
            Delivery::NotPersisted(why) => {
                return Err(Exit::failure(format!("{id} was not sent: {why}; {sent} were sent before it")));
            }
        }
        sent += 1;
    }
    tracing::info!(sent, left, "replayed");
    Ok(())
}

impl Filter {
    fn wants(&self, letter: &Letter) -> bool {
        let text = |name| letter.text(name);
        (self.places.is_empty() || self.places.contains(&letter.place))
            && self.kind.is_none_or(|kind| text(HeaderName::OriginTopic) == kind.request_topic())
            && self.code.as_ref().is_none_or(|code| text(HeaderName::ErrorCode) == *code)
            && self.request_id.is_none_or(|id| text(HeaderName::RequestId) == id.to_string())
    }
}

impl Letter {
    fn of(view: &RecordView<'_>) -> Self {
        Self {
            place: Place(view.partition, view.offset),
            time: view.timestamp,
            key: view.record.key.to_vec(),
            value: view.record.value.to_vec(),
            headers: view.record.headers.iter().map(|(n, v)| ((*n).to_owned(), v.to_vec())).collect(),
        }
    }

    /// The last header of this name: ours stand behind those that the record came with.
    fn text(&self, name: HeaderName) -> String {
        let found = self.headers.iter().rev().find(|(n, _)| n == name.as_str());
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    fn line(&self) -> String {
        let text = |name| self.text(name);
        let request = text(HeaderName::RequestId);
        format!(
            "{}:{}  {}  {}[{}]@{}  {}  {}  attempts {}  {}",
            self.place.0,
            self.place.1,
            connection::time(self.time),
            text(HeaderName::OriginTopic),
            text(HeaderName::OriginPartition),
            text(HeaderName::OriginOffset),
            if request.is_empty() { "no request id" } else { &request },
            text(HeaderName::ErrorCode),
            text(HeaderName::Attempts),
            text(HeaderName::ErrorMessage),
        )
    }

    fn show(&self) -> Result<(), Exit> {
        say(self.line())?;
        for (name, value) in &self.headers {
            say(format!("  {name}: {}", String::from_utf8_lossy(value)))?;
        }
        say(format!("  key: {}", String::from_utf8_lossy(&self.key)))?;
        say(format!("  {}", String::from_utf8_lossy(&self.value)))
    }

    /// The request as it was sent, when its sender is believed and this release can read it.
    fn open(&self, keys: &Keyring) -> Result<(Opened, Request), String> {
        let topic = self.text(HeaderName::OriginTopic);
        let record = Incoming {
            topic: &topic,
            key: &self.key,
            value: &self.value,
            headers: self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect(),
        };
        let opened = open_request(keys, &record).map_err(|reason| reason.to_string())?;
        match &opened.request {
            Ok(request) => {
                let request = request.clone();
                Ok((opened, request))
            }
            Err(failure) => Err(failure.to_string()),
        }
    }
}
