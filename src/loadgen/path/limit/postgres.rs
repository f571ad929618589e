use std::time::Instant;

use tokio::task::JoinSet;

use super::super::{Cost, PathError, Place, make::Maker, round};
use crate::{
    ids::{RequestId, RoomId, Seq, Timestamp, UserId},
    loadgen::bench::Stage,
    store::{Database, bare, messages::Append},
};

/// How much is inserted.
#[derive(Debug, Clone, clap::Args)]
pub struct PostgresArgs {
    /// Rows
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rows: u32,
    /// Connections side by side: as many as the worker has partitions
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub connections: u32,
    /// Rows of a statement: as many as a batch of the worker
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub batch: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(40..=16_000))]
    pub message_bytes: u32,
}

/// PostgreSQL alone.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostgresReport {
    /// Rows that went in.
    pub rows: u64,
    /// How long that took.
    pub seconds: f64,
    /// Rows a second.
    pub per_second: f64,
    /// Processor time for each row; the client's stands under `loadgen`.
    pub cost: Cost,
}

/// A row, numbered.
#[derive(Debug)]
struct Row {
    request_id: RequestId,
    room_id: RoomId,
    writer: UserId,
    message: String,
    seq: Seq,
}

/// The rows that a backlog of messages would become, by bare set-based inserts into the same table: the same columns, indexes and
/// removal of doubles, but no locks, no look-ups and no numbering. Each connection has rooms of its own.
///
/// # Errors
/// When PostgreSQL cannot be reached.
pub async fn run_postgres(
    place: &Place,
    stage: &Stage,
    args: &PostgresArgs,
) -> Result<PostgresReport, PathError> {
    if stage.rooms() < args.connections {
        return Err(PathError::Shape("there must be a room for each connection: lower --connections"));
    }
    let maker = Maker::new(place, stage, args.message_bytes)?;
    let shares = deal(&maker, stage, args);
    let total: usize = shares.iter().map(Vec::len).sum();
    // Each connection opened before the clock runs.
    let mut opened = Vec::new();
    for _ in &shares {
        opened.push(place.database.connection().await?);
    }
    drop(opened);
    let before = place.processes.sample()?;
    let start = Instant::now();
    let mut inserting = JoinSet::new();
    for share in shares {
        inserting.spawn(insert(place.database.clone(), share, args.batch as usize));
    }
    let mut rows = 0;
    while let Some(inserted) = inserting.join_next().await {
        rows += inserted??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cost = place.processes.sample()?.cost_since(&before, rows as u64);
    if rows != total {
        return Err(PathError::Shape("rows were there already: take a fresh --seed"));
    }
    Ok(PostgresReport {
        rows: rows as u64,
        seconds: round(seconds),
        per_second: (rows as f64 / seconds.max(1e-6)).round(),
        cost,
    })
}

/// All rows, dealt to connections by their rooms.
fn deal(maker: &Maker, stage: &Stage, args: &PostgresArgs) -> Vec<Vec<Row>> {
    let mut shares: Vec<Vec<Row>> = (0..args.connections).map(|_| Vec::new()).collect();
    let now = Timestamp::now();
    for n in 0..args.rows {
        let room = maker.room_of(n);
        shares[(room % args.connections) as usize].push(Row {
            request_id: maker.ids.of(n, now),
            room_id: maker.rooms[room as usize],
            writer: maker.writer_of(n).0.clone(),
            message: maker.text(n, now),
            seq: Seq(i64::from(n / stage.rooms()) + 1),
        });
    }
    shares
}

async fn insert(database: Database, rows: Vec<Row>, batch: usize) -> Result<usize, PathError> {
    let mut connection = database.connection().await?;
    let mut inserted = 0;
    for batch in rows.chunks(batch) {
        let rows: Vec<(Append<'_>, Seq)> = batch
            .iter()
            .map(|row| {
                let ask = Append {
                    request_id: row.request_id,
                    room_id: row.room_id,
                    writer_id: &row.writer,
                    message: &row.message,
                    client_message_id: None,
                };
                (ask, row.seq)
            })
            .collect();
        inserted += bare::append(&mut connection, &rows, Timestamp::now()).await?;
    }
    Ok(inserted)
}
