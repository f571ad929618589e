use std::{collections::HashMap, ops::ControlFlow};

use serde::Deserialize;
use tokio::task;

use super::{
    PathError, Place,
    ear::number,
    make::{Maker, number_in},
};
use crate::{
    ids::{RoomId, Seq, Timestamp},
    kafka::{
        RecordView,
        scan::{From, Scan},
    },
    store::bare,
    wire::{CHAT_EVENT, Event, Kind, open_event, open_reply},
};

/// What is wrong; all zero when nothing is, but for repeats, which are allowed: delivery is at least once.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    /// Messages that were never answered.
    pub unanswered: usize,
    /// Messages without an event.
    pub unheard: usize,
    /// Messages that are not in PostgreSQL.
    pub unstored: usize,
    /// Messages that stand in PostgreSQL more than once.
    pub doubled: usize,
    /// Numbers that are missing in a room.
    pub gaps: usize,
    /// Rows in the rooms of the run that it did not send.
    pub strangers: usize,
    /// Messages that stand in a room before one that was sent earlier.
    pub overtaken: usize,
    /// Replies that say no.
    pub refused: usize,
    /// Replies and events that tell another number, room or text than the row.
    pub disagreeing: usize,
    /// Records that are not signed by a worker, or not what they should be.
    pub unreadable: usize,
    /// Replies and events of a message that was told of before.
    pub repeated: usize,
    /// Events behind a later one of the same room.
    pub reordered: usize,
}

impl Findings {
    /// Whether nothing was lost, doubled, refused, changed or put out of order. Repeats in the topics are allowed.
    pub fn clean(&self) -> bool {
        Self { repeated: 0, reordered: 0, ..self.clone() } == Self::default()
    }
}

/// What was found, and when.
#[derive(Debug, Clone)]
pub(super) struct Audited {
    pub(super) findings: Findings,
    /// When the broker took the first and the last record of the run, milliseconds since 1970.
    pub(super) taken: Option<(i64, i64)>,
}

/// One record about message `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    n: u32,
    room: RoomId,
    seq: Seq,
}

/// Everything that the topics and PostgreSQL hold of a run.
#[derive(Debug, Default)]
struct Evidence {
    replies: Vec<Told>,
    events: Vec<Told>,
    rows: Vec<Row>,
    refused: usize,
    unreadable: usize,
}

/// One row.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Which message of this run; none for what stands there from an earlier one.
    n: Option<u32>,
    room: RoomId,
    seq: Seq,
}

/// The fields of a reply's value that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    is_success: bool,
    room_id: Option<RoomId>,
    seq: Option<Seq>,
}

/// Reads every reply, event and row of messages `0..count`, none of which was sent before `since`, and judges.
pub(super) async fn audit(
    place: &Place,
    maker: &Maker,
    count: u32,
    since: Timestamp,
) -> Result<Audited, PathError> {
    let (there, made) = (place.clone(), maker.clone());
    let (mut evidence, taken) = task::spawn_blocking(move || read(&there, &made, since)).await??;
    let mut connection = place.database.connection().await?;
    let mut strangers = 0;
    for row in bare::standing(&mut connection, &maker.rooms).await? {
        let n = maker.ids.number(row.request_id);
        strangers += usize::from(n.is_none() && !maker.is_earlier(row.request_id));
        evidence.rows.push(Row { n, room: row.room_id, seq: row.seq });
    }
    let room = |n: u32| maker.rooms[maker.room_of(n) as usize];
    Ok(Audited { findings: Findings { strangers, ..judge(count, room, &evidence) }, taken })
}

/// Replies and events, and when the broker took the first and the last of them.
fn read(place: &Place, maker: &Maker, since: Timestamp) -> Result<(Evidence, Option<(i64, i64)>), PathError> {
    let (mut evidence, mut taken) = (Evidence::default(), None);
    // The broker's clock is this machine's, but it counts whole milliseconds.
    let from = From::Time(since.as_micros() / 1_000 - 1);
    let scan = Scan::start(&place.kafka, &[Kind::AddChat.response_topic(), CHAT_EVENT], from)?;
    scan.to_end(|view| {
        if let Some(n) = number(maker.ids, view) {
            take(place, view, n, &mut evidence);
            if let Some(at) = view.timestamp {
                let (first, last) = taken.unwrap_or((at, at));
                taken = Some((at.min(first), at.max(last)));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok((evidence, taken))
}

fn take(place: &Place, view: &RecordView<'_>, n: u32, evidence: &mut Evidence) {
    let record = &view.record;
    if record.topic == CHAT_EVENT {
        match open_event(&place.replies, record).map(|opened| opened.event) {
            Ok(Event::Message { room_id: room, seq, message, .. }) if number_in(&message) == Some(n) => {
                evidence.events.push(Told { n, room, seq });
            }
            _ => evidence.unreadable += 1,
        }
        return;
    }
    let answer =
        open_reply(&place.replies, record).ok().and_then(|_| serde_json::from_slice(record.value).ok());
    match answer {
        Some(Answer { is_success: true, room_id: Some(room), seq: Some(seq) }) => {
            evidence.replies.push(Told { n, room, seq });
        }
        Some(Answer { is_success: false, .. }) => evidence.refused += 1,
        _ => evidence.unreadable += 1,
    }
}

/// The verdict on messages `0..count`, of which each belongs into the room that `room_of` gives. Rows come by room and number.
fn judge(count: u32, room_of: impl Fn(u32) -> RoomId, evidence: &Evidence) -> Findings {
    let mut findings =
        Findings { refused: evidence.refused, unreadable: evidence.unreadable, ..Findings::default() };
    let mut stored: HashMap<u32, Seq> = HashMap::with_capacity(evidence.rows.len());
    // For each room the last number, and the last message of this run, in the order of numbers.
    let mut last: HashMap<RoomId, (Seq, Option<u32>)> = HashMap::new();
    for row in &evidence.rows {
        let before = last.get(&row.room).copied().unwrap_or_default();
        findings.gaps += usize::from(row.seq != before.0.next());
        let mut newest = before.1;
        if let Some(n) = row.n {
            findings.doubled += usize::from(stored.insert(n, row.seq).is_some());
            findings.overtaken += usize::from(before.1.is_some_and(|before| before > n));
            findings.disagreeing += usize::from(row.room != room_of(n));
            newest = Some(n);
        }
        last.insert(row.room, (row.seq, newest));
    }
    let missing = |told: &HashMap<u32, Seq>| (0..count).filter(|n| !told.contains_key(n)).count();
    findings.unstored = missing(&stored);
    let mut side = |records: &[Told]| {
        let mut told: HashMap<u32, Seq> = HashMap::with_capacity(records.len());
        let mut newest: HashMap<RoomId, Seq> = HashMap::new();
        let mut reordered = 0;
        for record in records {
            let agrees = stored.get(&record.n) == Some(&record.seq) && record.room == room_of(record.n);
            findings.disagreeing += usize::from(!agrees);
            findings.repeated += usize::from(told.insert(record.n, record.seq).is_some());
            let newest = newest.entry(record.room).or_default();
            reordered += usize::from(record.seq < *newest);
            *newest = record.seq.max(*newest);
        }
        (missing(&told), reordered)
    };
    let (unanswered, _) = side(&evidence.replies);
    let (unheard, reordered) = side(&evidence.events);
    Findings { unanswered, unheard, reordered, ..findings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: u32) -> RoomId {
        RoomId(uuid::Uuid::from_u128(u128::from(n % 2)))
    }

    /// `(message, number)`, each in its own room.
    fn told(list: &[(u32, i64)]) -> Vec<Told> {
        list.iter().map(|(n, seq)| Told { n: *n, room: room(*n), seq: Seq(*seq) }).collect()
    }

    fn verdict(rows: &[(u32, i64)], replies: &[(u32, i64)], events: &[(u32, i64)]) -> Findings {
        let evidence = Evidence {
            rows: told(rows).iter().map(|t| Row { n: Some(t.n), room: t.room, seq: t.seq }).collect(),
            replies: told(replies),
            events: told(events),
            ..Evidence::default()
        };
        judge(4, room, &evidence)
    }

    const ALL: [(u32, i64); 4] = [(0, 1), (2, 2), (1, 1), (3, 2)];

    #[test]
    fn verdicts() {
        let none = Findings::default();
        assert_eq!(verdict(&ALL, &ALL, &ALL), none);
        assert_eq!(verdict(&ALL, &ALL[1..], &ALL), Findings { unanswered: 1, ..none.clone() });
        assert_eq!(verdict(&ALL, &ALL, &ALL[..3]), Findings { unheard: 1, ..none.clone() });
        let twice = [(0, 1), (2, 2), (2, 3), (1, 1), (3, 2)];
        let found = verdict(&twice, &ALL, &ALL);
        assert_eq!((found.doubled, found.gaps, found.clean()), (1, 0, false), "{found:?}");
        let hole = [(0, 1), (2, 3), (1, 1), (3, 2)];
        assert_eq!(verdict(&hole, &hole, &hole), Findings { gaps: 1, ..none.clone() });
        let swapped = [(2, 1), (0, 2), (1, 1), (3, 2)];
        assert_eq!(
            verdict(&swapped, &swapped, &swapped),
            Findings { overtaken: 1, reordered: 0, ..none.clone() }
        );
        let other = [(0, 1), (2, 1), (1, 1), (3, 2)];
        assert_eq!(verdict(&ALL, &other, &ALL), Findings { disagreeing: 1, ..none.clone() });
        let lost = verdict(&ALL[..3], &ALL[..3], &ALL[..3]);
        assert_eq!((lost.unstored, lost.unanswered, lost.unheard), (1, 1, 1));
        let again = [(2, 2), (0, 1), (1, 1), (3, 2), (3, 2)];
        let found = verdict(&ALL, &ALL, &again);
        assert_eq!(found, Findings { repeated: 1, reordered: 1, ..none });
        assert!(found.clean(), "at least once, in any order of the log");
    }

    #[test]
    fn what_stands_from_an_earlier_run_is_no_gap() {
        let earlier = Row { n: None, room: room(0), seq: Seq(1) };
        let own = Row { n: Some(0), room: room(0), seq: Seq(2) };
        let told = vec![Told { n: 0, room: room(0), seq: Seq(2) }];
        let evidence =
            Evidence { rows: vec![earlier, own], replies: told.clone(), events: told, ..Evidence::default() };
        assert_eq!(judge(1, room, &evidence), Findings::default());
        assert_eq!(judge(1, room, &Evidence { rows: vec![own], ..evidence }).gaps, 1);
    }
}
