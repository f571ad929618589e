//! The order of a replay and the cursor of each of its events. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::record::{Record, Route};
use crate::{
    ids::{RoomId, Seq, UserId},
    store::reads::{Interests, Message},
};

/// One step of a replay.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A record of `chat-event`.
    Record(Arc<Record>),
    /// A message that no record of the stretch brought, read from PostgreSQL.
    Message(Box<Message>),
}

/// What a replay has of one room: all messages from the lowest number to the highest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) lowest: Seq,
    pub(crate) highest: Seq,
    /// The highest number that a record brought.
    pub(crate) logged: Option<Seq>,
    /// What came from PostgreSQL.
    pub(crate) unlogged: BTreeSet<Seq>,
}

/// A replay in order, with the next offset of each partition after each step.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<(Step, Vec<i64>)>,
}

/// Where in a replay its user joined a room. What was said there since may stand in the log before that record, even before the
/// cursor, so it is completed from PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Join {
    /// Of the record that says so.
    partition: usize,
    offset: i64,
    /// The room's newest message then, and the newest one now that the user may see.
    joined: Seq,
    mark: Seq,
}

impl Join {
    /// How many messages lie between.
    pub(crate) fn count(&self) -> i64 {
        self.mark.0 - self.joined.0
    }
}

/// The rooms that this user joined within the replay, as they belong to them now.
pub(crate) fn joins(records: &[Arc<Record>], user: &UserId, interests: &Interests) -> BTreeMap<RoomId, Join> {
    let mut joins = BTreeMap::new();
    for record in records {
        let Route::Room { room, joined, seq, .. } = &record.route else { continue };
        if !joined.contains(user) {
            continue;
        }
        let now = interests.rooms.iter().find(|now| now.room_id == *room && now.span.joined == *seq);
        if let Some(now) = now {
            let (partition, offset) = (record.partition, record.offset);
            let mark = now.span.left.unwrap_or(now.last_seq);
            joins.entry(*room).or_insert(Join { partition, offset, joined: *seq, mark });
        }
    }
    joins
}

/// The numbers that neither a record nor PostgreSQL brought, between the last message that the client is known to have had (`had`) or
/// else the oldest, and the newest message of each room, and where its user joined within the replay between then and now:
/// exclusive bounds.
pub(crate) fn holes(
    records: &[Arc<Record>],
    filled: &[Message],
    joins: &BTreeMap<RoomId, Join>,
    had: impl Fn(RoomId) -> Option<Seq>,
) -> Vec<(RoomId, Seq, Seq)> {
    let mut rooms: BTreeMap<RoomId, BTreeSet<i64>> = BTreeMap::new();
    for record in records {
        if let Route::Message { room, seq, .. } = record.route {
            rooms.entry(room).or_default().insert(seq.0);
        }
    }
    for message in filled {
        rooms.entry(message.room_id).or_default().insert(message.seq.0);
    }
    for (room, numbers) in &mut rooms {
        numbers.extend(had(*room).map(|seq| seq.0));
    }
    for (room, join) in joins {
        let numbers = rooms.entry(*room).or_default();
        numbers.insert(join.joined.0);
        if numbers.last().is_none_or(|newest| *newest < join.mark.0) {
            numbers.insert(join.mark.0 + 1);
        }
    }
    let mut holes = Vec::new();
    for (room, numbers) in rooms {
        let after = numbers.iter().skip(1);
        let gaps = numbers.iter().zip(after).filter(|(low, high)| **high - **low > 1);
        holes.extend(gaps.map(|(low, high)| (room, Seq(*low), Seq(*high))));
    }
    holes
}

impl Plan {
    /// Orders records by the broker's time, and the messages of each room by their number; doubles are left out; messages from
    /// PostgreSQL come in their places. `to` is where the stretch ends: the cursor after the last step.
    ///
    /// The cursor after a step never passes a record that is still to come, nor one of `joins` of which a message is, so a client
    /// that is cut off in the middle gets the rest again: it may repeat, and never skips.
    pub(crate) fn new(
        mut records: Vec<Arc<Record>>,
        filled: &[Message],
        joins: &BTreeMap<RoomId, Join>,
        to: &[i64],
    ) -> Self {
        records.sort_by_key(|record| (record.stamped, record.partition, record.offset));
        // The places that a room's messages take, refilled in the order of their numbers.
        let mut numbers: BTreeMap<RoomId, BTreeMap<i64, Arc<Record>>> = BTreeMap::new();
        for record in &records {
            if let Route::Message { room, seq, .. } = record.route {
                numbers.entry(room).or_default().entry(seq.0).or_insert_with(|| Arc::clone(record));
            }
        }
        let mut waiting: BTreeMap<RoomId, BTreeMap<i64, Message>> = BTreeMap::new();
        for message in filled {
            waiting.entry(message.room_id).or_default().insert(message.seq.0, message.clone());
        }
        let mut ordered = Vec::with_capacity(records.len() + filled.len());
        for record in records {
            let Route::Message { room, .. } = record.route else {
                ordered.push(Step::Record(record));
                continue;
            };
            // A double took a place as well: there is nothing left for it.
            let Some((seq, next)) = numbers.get_mut(&room).and_then(BTreeMap::pop_first) else { continue };
            if let Some(missing) = waiting.get_mut(&room) {
                let later = missing.split_off(&seq);
                let earlier = std::mem::replace(missing, later);
                ordered.extend(earlier.into_values().map(|message| Step::Message(Box::new(message))));
            }
            ordered.push(Step::Record(next));
        }
        // Newer than every record of their room: its records are still to come, and are doubles then.
        let rest = waiting.into_values().flat_map(BTreeMap::into_values);
        ordered.extend(rest.map(|message| Step::Message(Box::new(message))));
        let mut cursor = to.to_vec();
        let mut steps = Vec::with_capacity(ordered.len());
        for step in ordered.into_iter().rev() {
            let after = cursor.clone();
            let stays_before = match &step {
                Step::Record(record) => Some((record.partition, record.offset)),
                Step::Message(message) => {
                    joins.get(&message.room_id).map(|join| (join.partition, join.offset))
                }
            };
            if let Some((partition, offset)) = stays_before
                && let Some(next) = cursor.get_mut(partition)
            {
                *next = (*next).min(offset);
            }
            steps.push((step, after));
        }
        steps.reverse();
        Self { steps }
    }

    /// What it has of each room's messages.
    pub(crate) fn stretches(&self) -> BTreeMap<RoomId, Stretch> {
        let mut stretches: BTreeMap<RoomId, Stretch> = BTreeMap::new();
        for (step, _) in &self.steps {
            let (room, seq, logged) = match step {
                Step::Record(record) => match record.route {
                    Route::Message { room, seq, .. } => (room, seq, true),
                    _ => continue,
                },
                Step::Message(message) => (message.room_id, message.seq, false),
            };
            let new = || Stretch { lowest: seq, highest: seq, logged: None, unlogged: BTreeSet::new() };
            let stretch = stretches.entry(room).or_insert_with(new);
            stretch.lowest = stretch.lowest.min(seq);
            stretch.highest = stretch.highest.max(seq);
            if logged {
                stretch.logged = stretch.logged.max(Some(seq));
            } else {
                stretch.unlogged.insert(seq);
            }
        }
        stretches
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::record::tests::{message, room, user},
        *,
    };
    use crate::{
        ids::{RequestId, Timestamp},
        store::reads::{Room, Span},
    };

    fn stored(room_no: u128, seq: i64) -> Message {
        Message {
            room_id: room(room_no),
            seq: Seq(seq),
            writer_id: user("bob"),
            message: String::new(),
            created_at: Timestamp::from_micros(0),
            request_id: RequestId::fresh(),
        }
    }

    fn shown(plan: &Plan) -> Vec<(i64, Vec<i64>)> {
        let seq = |step: &Step| match step {
            Step::Record(record) => match record.route {
                Route::Message { seq, .. } => seq.0,
                _ => -1,
            },
            Step::Message(message) => message.seq.0,
        };
        plan.steps.iter().map(|(step, cursor)| (seq(step), cursor.clone())).collect()
    }

    #[test]
    fn a_room_is_sorted_by_number_and_the_cursor_passes_nothing_that_is_to_come() {
        // The log order is 8, 7, 8 again (a retried produce), then 10; partition 1 holds nothing.
        let records = [(5, 8), (6, 7), (7, 8), (9, 10)]
            .map(|(offset, seq)| Arc::new(message(0, offset, 1, seq)))
            .to_vec();
        assert_eq!(holes(&records, &[], &BTreeMap::new(), |_| None), [(room(1), Seq(8), Seq(10))]);
        let from_five = holes(&records, &[], &BTreeMap::new(), |_| Some(Seq(5)));
        assert_eq!(from_five, [(room(1), Seq(5), Seq(7)), (room(1), Seq(8), Seq(10))], "6 is not logged yet");
        let filled = [stored(1, 9)];
        assert_eq!(holes(&records, &filled, &BTreeMap::new(), |_| None), []);
        let plan = Plan::new(records, &filled, &BTreeMap::new(), &[12, 3]);
        assert_eq!(
            shown(&plan),
            [(7, vec![5, 3]), (8, vec![9, 3]), (9, vec![9, 3]), (10, vec![12, 3])],
            "7 stands at offset 6, but 8 at offset 5 is still to come"
        );
        let unlogged = BTreeSet::from([Seq(9)]);
        let stretch = Stretch { lowest: Seq(7), highest: Seq(10), logged: Some(Seq(10)), unlogged };
        assert_eq!(plan.stretches()[&room(1)], stretch);
    }

    #[test]
    fn rooms_keep_the_order_of_the_log_between_them() {
        let records = vec![Arc::new(message(1, 0, 2, 1)), Arc::new(message(0, 3, 1, 4))];
        let plan = Plan::new(records, &[], &BTreeMap::new(), &[4, 1]);
        assert_eq!(shown(&plan), [(1, vec![3, 1]), (4, vec![4, 1])]);
    }

    #[test]
    fn who_joined_is_read_what_the_log_has_before_that_record() {
        let change = |offset, joined: &str, seq| Record {
            partition: 0,
            offset,
            stamped: 1_000 + offset,
            route: Route::Room {
                room: room(1),
                joined: vec![user(joined)],
                left: vec![],
                seq: Seq(seq),
                version: offset,
            },
            head: bytes::Bytes::new(),
        };
        let span = Span { joined: Seq(8), left: None };
        let now = Room { room_id: room(1), span, last_seq: Seq(12), version: 9 };
        let interests = Interests { rooms: vec![now], friends: vec![] };
        let records =
            [change(20, "bob", 3), change(22, "bob", 8), change(23, "eve", 8), message(0, 25, 1, 11)]
                .map(Arc::new)
                .to_vec();
        let joins = joins(&records, &user("bob"), &interests);
        assert_eq!(joins[&room(1)], Join { partition: 0, offset: 22, joined: Seq(8), mark: Seq(12) });
        assert_eq!(
            holes(&records, &[], &joins, |_| None),
            [(room(1), Seq(8), Seq(11)), (room(1), Seq(11), Seq(13))],
            "of the span that counts"
        );
        let filled = [9, 10, 12].map(|seq| stored(1, seq));
        assert_eq!(holes(&records, &filled, &joins, |_| None), []);
        let plan = Plan::new(records, &filled, &joins, &[26]);
        let after = |offset: i64| vec![offset];
        assert_eq!(
            shown(&plan),
            [
                (-1, after(22)),
                (-1, after(22)),
                (-1, after(22)),
                (9, after(22)),
                (10, after(22)),
                (11, after(22)),
                (12, after(26))
            ],
            "the cursor passes the record of the join with the last message that it brings"
        );
        assert_eq!(plan.stretches()[&room(1)].logged, Some(Seq(11)));
    }
}
