//! Messages that are in PostgreSQL and not yet in the log, for their worker died in between, while later ones are in it: another
//! worker had the room meanwhile, as while partitions are added. Nobody who comes back may be shown the later ones first.

use super::{
    tests::{at, interests, open, put, seqs, session, shard, stored},
    *,
};
use crate::{
    gateway::{
        hub::record::tests::{message, room, user},
        sse::Outbox,
    },
    ids::Seq,
};

/// Bob comes back with this cursor; PostgreSQL has room 1 up to message 7.
fn back(shard: &mut Shard, id: ConnId, next: &[i64]) -> Outbox {
    let outbox = open(shard, id, at(next));
    shard.identify(id, Some(session("bob")));
    assert_eq!(shard.take_lookups(), [Lookup::Interests { conn: id, user: user("bob") }]);
    shard.interests_found(id, Ok(interests(&[(1, 0, 7)])));
    outbox
}

#[test]
fn a_replay_begins_after_what_the_client_has_had() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 5));
    // 6 and 7 are committed, and 8 stands in the log.
    put(&mut shard, message(0, 11, 1, 8));
    let outbox = back(&mut shard, 1, &[11, 0]);
    assert_eq!(shard.take_lookups(), [Lookup::Holes { conn: 1, holes: vec![(room(1), Seq(5), Seq(8))] }]);
    shard.holes_found(1, Ok(vec![stored(1, 6), stored(1, 7)]));
    assert_eq!(seqs(&outbox), [6, 7, 8]);
    put(&mut shard, message(0, 12, 1, 9));
    assert_eq!(seqs(&outbox), [9]);
}

#[test]
fn a_room_is_taken_up_where_the_log_is_and_not_where_postgres_is() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 5));
    // Nothing came since; 6 and 7 are committed.
    let outbox = back(&mut shard, 1, &[11, 0]);
    assert!(seqs(&outbox).is_empty() && shard.take_lookups().is_empty());
    put(&mut shard, message(0, 11, 1, 8));
    assert!(seqs(&outbox).is_empty(), "not before 6 and 7");
    let lookups = shard.take_lookups();
    let [Lookup::Gap { ticket, after: Seq(5), before: Seq(8), .. }] = lookups.as_slice() else {
        panic!("{lookups:?}")
    };
    shard.gap_found(room(1), *ticket, 0, Ok(vec![stored(1, 6), stored(1, 7)]));
    assert_eq!(seqs(&outbox), [6, 7, 8]);
}

#[test]
fn who_joined_later_lacks_nothing_from_before() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 5));
    put(&mut shard, message(0, 11, 1, 8));
    let outbox = open(&mut shard, 1, at(&[11, 0]));
    shard.identify(1, Some(session("bob")));
    shard.take_lookups();
    shard.interests_found(1, Ok(interests(&[(1, 7, 8)])));
    assert_eq!(shard.take_lookups(), [], "6 and 7 are none of theirs");
    assert_eq!(seqs(&outbox), [8]);
}
