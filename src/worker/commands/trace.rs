use std::ops::ControlFlow;

use super::{connection, say::say};
use crate::{
    ids::RequestId,
    kafka::{KafkaArgs, RecordView, scan::From},
    process::Exit,
    store::{DatabaseArgs, inbox},
    wire::{CHAT_EVENT, DEAD_LETTER, HeaderName, Kind},
};

/// Find everything that is known of a request: its record, the stored outcome, replies, events, dead letters, with times
#[derive(Debug, clap::Args)]
pub(super) struct TraceArgs {
    /// The request
    request_id: RequestId,
    /// How far back to look when the id carries no time (those made from an Idempotency-Key)
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(i64).range(1..=1000))]
    hours: i64,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// A line of the story and the time, in milliseconds, by which it is sorted.
type Line = (i64, String);

pub(super) async fn run(args: TraceArgs) -> Result<(), Exit> {
    let kafka = connection::kafka(&args.kafka)?;
    let database = args.database.open("parley-trace").map_err(Exit::settings)?;
    let id = args.request_id;
    let now = crate::ids::Timestamp::now().as_micros() / 1_000;
    let made = id.made_at().map(|at| at.as_micros() / 1_000);
    // Clocks differ by a little; the record cannot be much older than its id.
    let since = made.map_or(now - args.hours * 3_600_000, |made| made - 60_000);
    let mut lines = connection::blocking(move || {
        let mut topics: Vec<&str> =
            Kind::ALL.iter().flat_map(|kind| [kind.request_topic(), kind.response_topic()]).collect();
        topics.extend([CHAT_EVENT, DEAD_LETTER]);
        let wanted = id.to_string();
        let mut lines: Vec<Line> = Vec::new();
        connection::scan(&kafka, &topics, From::Time(since), |view| {
            if connection::header(view, HeaderName::RequestId) == wanted {
                lines.push((view.timestamp.unwrap_or_default(), describe(view)));
            }
            ControlFlow::Continue(())
        })?;
        Ok(lines)
    })
    .await?;
    let mut connection = database.connection().await.map_err(Exit::failure)?;
    for row in inbox::trace(&mut connection, id).await.map_err(Exit::failure)? {
        let who = row.user_id.map_or_else(|| "nobody".to_owned(), |user| user.to_string());
        let line = format!("{}  stored     {}  {} by {who}: {}", row.at, row.place, row.kind, row.outcome);
        lines.push((row.at.as_micros() / 1_000, line));
    }
    if lines.is_empty() {
        return Err(Exit::failure(format!(
            "nothing is known of {id} since then; --hours looks further back"
        )));
    }
    lines.sort();
    lines.iter().try_for_each(|(_, line)| say(line))
}

fn describe(view: &RecordView<'_>) -> String {
    let topic = view.record.topic;
    let header = |name| connection::header(view, name);
    let (what, detail) = if Kind::of_request_topic(topic).is_some() {
        ("request", format!("deadline {}", header(HeaderName::Deadline)))
    } else if Kind::of_response_topic(topic).is_some() {
        let replayed = if header(HeaderName::Replayed) == "true" { "replayed " } else { "" };
        ("reply", format!("{replayed}{}", String::from_utf8_lossy(view.record.value)))
    } else if topic == DEAD_LETTER {
        ("dead", format!("{}: {}", header(HeaderName::ErrorCode), header(HeaderName::ErrorMessage)))
    } else {
        ("event", header(HeaderName::Event))
    };
    let at = connection::time(view.timestamp);
    format!("{at}  {what:<9}  {topic}[{}]@{}  {detail}", view.partition, view.offset)
}
