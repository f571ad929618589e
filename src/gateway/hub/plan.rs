//! The order of a replay and the cursor of each of its events. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::record::{Record, Route};
use crate::{
    ids::{RoomId, Seq},
    store::reads::Message,
};

/// One step of a replay.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A record of `chat-event`.
    Record(Arc<Record>),
    /// A message that no record of the stretch brought, read from PostgreSQL.
    Message(Box<Message>),
}

/// A replay in order, with the next offset of each partition after each step.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<(Step, Vec<i64>)>,
}

/// The numbers between the oldest and the newest message of each room that no record brought: exclusive bounds.
pub(crate) fn holes(records: &[Arc<Record>], filled: &[Message]) -> Vec<(RoomId, Seq, Seq)> {
    let mut rooms: BTreeMap<RoomId, BTreeSet<i64>> = BTreeMap::new();
    for record in records {
        if let Route::Message { room, seq, .. } = record.route {
            rooms.entry(room).or_default().insert(seq.0);
        }
    }
    for message in filled {
        rooms.entry(message.room_id).or_default().insert(message.seq.0);
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
    /// The cursor after a step never passes a record that is still to come, so a client that is cut off in the middle gets the
    /// rest again: it may repeat, and never skips.
    pub(crate) fn new(mut records: Vec<Arc<Record>>, filled: &[Message], to: &[i64]) -> Self {
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
        let mut cursor = to.to_vec();
        let mut steps = Vec::with_capacity(ordered.len());
        for step in ordered.into_iter().rev() {
            let after = cursor.clone();
            if let Step::Record(record) = &step
                && let Some(next) = cursor.get_mut(record.partition)
            {
                *next = (*next).min(record.offset);
            }
            steps.push((step, after));
        }
        steps.reverse();
        Self { steps }
    }

    /// The lowest and the highest number of each room's messages in it.
    pub(crate) fn extents(&self) -> BTreeMap<RoomId, (Seq, Seq)> {
        let mut extents: BTreeMap<RoomId, (Seq, Seq)> = BTreeMap::new();
        for (step, _) in &self.steps {
            let (room, seq) = match step {
                Step::Record(record) => match record.route {
                    Route::Message { room, seq, .. } => (room, seq),
                    _ => continue,
                },
                Step::Message(message) => (message.room_id, message.seq),
            };
            let extent = extents.entry(room).or_insert((seq, seq));
            *extent = (extent.0.min(seq), extent.1.max(seq));
        }
        extents
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::record::tests::{message, room, user},
        *,
    };
    use crate::ids::{RequestId, Timestamp};

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
        assert_eq!(holes(&records, &[]), [(room(1), Seq(8), Seq(10))]);
        let filled = [stored(1, 9)];
        assert_eq!(holes(&records, &filled), []);
        let plan = Plan::new(records, &filled, &[12, 3]);
        assert_eq!(
            shown(&plan),
            [(7, vec![5, 3]), (8, vec![9, 3]), (9, vec![9, 3]), (10, vec![12, 3])],
            "7 stands at offset 6, but 8 at offset 5 is still to come"
        );
        assert_eq!(plan.extents()[&room(1)], (Seq(7), Seq(10)));
    }

    #[test]
    fn rooms_keep_the_order_of_the_log_between_them() {
        let records = vec![Arc::new(message(1, 0, 2, 1)), Arc::new(message(0, 3, 1, 4))];
        let plan = Plan::new(records, &[], &[4, 1]);
        assert_eq!(shown(&plan), [(1, vec![3, 1]), (4, vec![4, 1])]);
    }
}
