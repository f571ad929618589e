//! Who joins, leaves and comes back, in logs that are not in order: cases that once went wrong.

use super::{
    tests::{at, interests, live, messages, names, open, put, read, seqs, session, shard, stored},
    *,
};
use crate::{
    gateway::{
        hub::{
            lookup::{ATTEMPTS, Missing},
            record::tests::{message, room, user},
        },
        sse::{self, Outbox},
    },
    ids::Seq,
    store::reads::{Interests, RoomMembers, Span},
};

/// A change of a room's members as a record of partition 0.
fn change(offset: i64, room_no: u128, joined: &[&str], left: &[&str], seq: i64, version: i64) -> Record {
    let users = |names: &[&str]| names.iter().map(|name| user(name)).collect();
    Record {
        partition: 0,
        offset,
        stamped: 1_000 + offset,
        route: Route::Room {
            room: room(room_no),
            joined: users(joined),
            left: users(left),
            seq: Seq(seq),
            version,
        },
        head: sse::event("room", b"{}"),
    }
}

/// What PostgreSQL says of a room's members: with the number after which each joined.
fn members(last: i64, version: i64, joined: &[(&str, i64)]) -> Result<Option<RoomMembers>, Missing> {
    let span = |(name, joined): &(&str, i64)| (user(name), Span { joined: Seq(*joined), left: None });
    let members = joined.iter().map(span).collect();
    Ok(Some(RoomMembers { last_seq: Seq(last), version, members }))
}

fn of_version(version: i64, rooms: &[(u128, i64, i64)]) -> Interests {
    let mut interests = interests(rooms);
    interests.rooms.iter_mut().for_each(|room| room.version = version);
    interests
}

/// A live stream of eve.
fn live_eve(shard: &mut Shard, id: ConnId, interests: Interests) -> Outbox {
    let outbox = open(shard, id, Wanted::Nothing);
    shard.identify(id, Some(session("eve")));
    shard.take_lookups();
    shard.interests_found(id, Ok(interests));
    assert!(shard.is_live(id));
    read(&outbox);
    outbox
}

/// The only question that is open: its ticket and attempt.
fn asked(shard: &mut Shard) -> (u64, u32) {
    let lookups = shard.take_lookups();
    match lookups.as_slice() {
        [Lookup::Gap { ticket, attempt, .. } | Lookup::Members { ticket, attempt, .. }] => {
            (*ticket, *attempt)
        }
        other => panic!("{other:?}"),
    }
}

fn asked_between(shard: &mut Shard, after: i64, before: i64) -> u64 {
    let lookups = shard.take_lookups();
    match lookups.as_slice() {
        [Lookup::Gap { ticket, after: from, before: to, .. }] if (from.0, to.0) == (after, before) => *ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_leaves_and_comes_back_during_a_resume_hears_nothing_from_between() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 1));
    put(&mut shard, message(0, 11, 1, 3));
    let outbox = open(&mut shard, 1, at(&[10, 0]));
    shard.identify(1, Some(session("bob")));
    shard.take_lookups();
    shard.interests_found(1, Ok(interests(&[(1, 0, 3)])));
    assert_eq!(shard.take_lookups(), [Lookup::Holes { conn: 1, holes: vec![(room(1), Seq(1), Seq(3))] }]);
    put(&mut shard, change(12, 1, &[], &["bob"], 3, 2));
    put(&mut shard, change(13, 1, &["bob"], &[], 5, 3));
    put(&mut shard, message(0, 14, 1, 6));
    put(&mut shard, message(0, 15, 1, 8));
    shard.holes_found(1, Ok(vec![stored(1, 2)]));
    assert_eq!(shard.take_lookups(), [Lookup::Interests { conn: 1, user: user("bob") }]);
    shard.interests_found(1, Ok(of_version(3, &[(1, 5, 8)])));
    assert_eq!(shard.take_lookups(), [Lookup::Holes { conn: 1, holes: vec![(room(1), Seq(6), Seq(8))] }]);
    shard.holes_found(1, Ok(vec![stored(1, 7)]));
    assert_eq!(seqs(&outbox), [6, 7, 8]);
}

#[test]
fn a_departure_that_comes_after_the_return_does_not_undo_it_nor_go_unheard() {
    let mut shard = shard();
    let bob = live(&mut shard, 1, Wanted::Nothing);
    // The room is known to be of version 3, but not what that means for bob.
    let eve = live_eve(&mut shard, 2, of_version(3, &[(1, 0, 8)]));
    put(&mut shard, change(10, 1, &["bob"], &[], 8, 3));
    let (ticket, _) = asked(&mut shard);
    shard.members_found(room(1), ticket, 0, members(8, 3, &[("bob", 8), ("eve", 0)]));
    put(&mut shard, change(11, 1, &[], &["bob"], 5, 2));
    for (offset, seq) in [(12, 7), (13, 9)] {
        put(&mut shard, message(0, offset, 1, seq));
        let ticket = asked_between(&mut shard, seq - 2, seq);
        shard.gap_found(room(1), ticket, 0, Ok(vec![stored(1, seq - 1)]));
    }
    assert_eq!((seqs(&bob), seqs(&eve)), (vec![9], vec![6, 7, 8, 9]));
}

#[test]
fn who_joins_is_heard_of_when_the_record_comes_after_its_successor() {
    let mut shard = shard();
    let bob = live(&mut shard, 1, Wanted::Nothing);
    live_eve(&mut shard, 2, interests(&[(9, 0, 3)]));
    put(&mut shard, change(10, 9, &["amy"], &[], 3, 3));
    let (ticket, _) = asked(&mut shard);
    shard.members_found(room(9), ticket, 0, members(3, 3, &[("eve", 0)]));
    read(&bob);
    put(&mut shard, change(11, 9, &["bob"], &[], 3, 2));
    let (ticket, _) = asked(&mut shard);
    shard.members_found(room(9), ticket, 0, members(3, 3, &[("bob", 3), ("eve", 0)]));
    put(&mut shard, message(0, 12, 9, 4));
    assert_eq!(names(&bob), ["room", "message"]);
}

#[test]
fn a_newcomer_gets_all_pages_and_the_cursor_stays_before_the_join_until_then() {
    let mut shard = shard();
    let bob = live(&mut shard, 1, Wanted::Nothing);
    let eve = live_eve(&mut shard, 2, interests(&[(9, 0, 6)]));
    put(&mut shard, change(10, 9, &["bob"], &[], 3, 2));
    let (ticket, _) = asked(&mut shard);
    shard.members_found(room(9), ticket, 0, members(6, 2, &[("bob", 3), ("eve", 0)]));
    let ticket = asked_between(&mut shard, 3, 7);
    shard.gap_found(room(9), ticket, 0, Ok(vec![stored(9, 4), stored(9, 5)]));
    let ticket = asked_between(&mut shard, 5, 7);
    shard.gap_found(room(9), ticket, 0, Ok(vec![stored(9, 6)]));
    put(&mut shard, message(0, 11, 9, 7));
    let cursors: Vec<Vec<i64>> = messages(&bob).into_iter().map(|(_, cursor)| cursor).collect();
    assert_eq!(cursors, [[10, 0], [10, 0], [10, 0], [12, 0]]);
    assert_eq!(seqs(&eve), [7]);
}

#[test]
fn who_lacks_more_than_a_page_when_they_join_is_told_to_read_their_state() {
    let mut shard = shard();
    let bob = live(&mut shard, 1, Wanted::Nothing);
    read(&bob);
    put(&mut shard, change(10, 9, &["bob"], &[], 3, 2));
    let (ticket, _) = asked(&mut shard);
    shard.members_found(room(9), ticket, 0, members(3 + MOST_LACKING, 2, &[("bob", 3)]));
    assert_eq!(names(&bob), ["room", "resync"]);
}

#[test]
fn who_waits_to_join_a_room_that_is_given_up_comes_back_for_it() {
    let mut shard = shard();
    live(&mut shard, 1, Wanted::Nothing);
    live_eve(&mut shard, 2, Interests::default());
    put(&mut shard, message(0, 10, 1, 8));
    put(&mut shard, change(11, 1, &["eve"], &[], 8, 2));
    for n in 0..ATTEMPTS {
        let (ticket, attempt) = asked(&mut shard);
        assert_eq!((attempt, shard.streams()), (n, 2));
        shard.gap_found(room(1), ticket, attempt, Err(Missing::Unavailable));
    }
    assert_eq!(shard.streams(), 0);
}

#[test]
fn a_room_that_postgres_does_not_know_is_not_asked_for_without_end() {
    let mut shard = shard();
    live(&mut shard, 1, Wanted::Nothing);
    put(&mut shard, change(10, 9, &["bob"], &[], 3, 2));
    for n in 0..ATTEMPTS {
        let (ticket, attempt) = asked(&mut shard);
        assert_eq!(attempt, n);
        shard.members_found(room(9), ticket, attempt, Ok(None));
    }
    assert_eq!((shard.take_lookups(), shard.streams()), (vec![], 0));
}

#[test]
fn who_joined_while_away_hears_what_the_log_has_before_that() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 9, 4));
    put(&mut shard, message(0, 11, 9, 5));
    put(&mut shard, change(12, 9, &["bob"], &[], 3, 2));
    put(&mut shard, message(0, 13, 9, 6));
    let outbox = open(&mut shard, 1, at(&[12, 0]));
    shard.identify(1, Some(session("bob")));
    shard.take_lookups();
    shard.interests_found(1, Ok(of_version(2, &[(9, 3, 6)])));
    assert_eq!(shard.take_lookups(), [Lookup::Holes { conn: 1, holes: vec![(room(9), Seq(3), Seq(6))] }]);
    shard.holes_found(1, Ok(vec![stored(9, 4), stored(9, 5)]));
    let cursors: Vec<Vec<i64>> = messages(&outbox).into_iter().map(|(_, cursor)| cursor).collect();
    assert_eq!(cursors, [[12, 0], [13, 0], [14, 0]]);
}

#[test]
fn a_departure_that_memory_has_lost_before_it_was_looked_at_is_not_missed() {
    let mut shard = shard();
    shard.ring = Ring::new(600);
    shard.ring.begin(0, 10);
    shard.ring.begin(1, 0);
    open(&mut shard, 1, Wanted::Nothing);
    shard.identify(1, Some(session("bob")));
    shard.take_lookups();
    put(&mut shard, change(10, 1, &[], &["bob"], 5, 2));
    for n in 0..3 {
        put(&mut shard, message(0, 11 + n, 1, 6 + n));
    }
    shard.interests_found(1, Ok(interests(&[(1, 0, 5)])));
    let lookups = shard.take_lookups();
    let [Lookup::Replay { ranges, .. }] = lookups.as_slice() else { panic!("{lookups:?}") };
    shard.replay_found(1, ranges, Ok(vec![]));
    assert_eq!(shard.take_lookups(), [Lookup::Interests { conn: 1, user: user("bob") }]);
}

#[test]
fn what_is_read_from_postgres_does_not_run_ahead_of_a_departure_that_waits() {
    let mut shard = shard();
    let bob = live(&mut shard, 1, Wanted::Nothing);
    let eve = live_eve(&mut shard, 2, Interests::default());
    put(&mut shard, change(10, 1, &["eve"], &[], 5, 2));
    let (ticket, _) = asked(&mut shard);
    shard.members_found(room(1), ticket, 0, members(6, 2, &[("bob", 0), ("eve", 5)]));
    let ticket = asked_between(&mut shard, 5, 7);
    put(&mut shard, change(11, 1, &[], &["bob"], 6, 3));
    put(&mut shard, message(0, 12, 1, 8));
    shard.gap_found(room(1), ticket, 0, Ok(vec![stored(1, 6)]));
    let ticket = asked_between(&mut shard, 5, 8);
    shard.gap_found(room(1), ticket, 0, Ok(vec![stored(1, 6), stored(1, 7)]));
    assert_eq!((seqs(&bob), seqs(&eve)), (vec![6], vec![6, 6, 7, 8]));
}

#[test]
fn a_client_is_not_sent_back_to_what_waits_here_and_not_where_it_was() {
    let mut shard = shard();
    let here = live(&mut shard, 1, Wanted::Nothing);
    put(&mut shard, message(0, 10, 1, 7));
    put(&mut shard, message(0, 11, 2, 1));
    let ticket = asked_between(&mut shard, 5, 7);
    let came = live(&mut shard, 2, at(&[12, 0]));
    let cursors: Vec<Option<Vec<i64>>> = read(&came).into_iter().skip(1).map(|(.., id)| id).collect();
    assert_eq!(cursors, [Some(vec![12, 0]), Some(vec![12, 0])]);
    shard.gap_found(room(1), ticket, 0, Ok(vec![stored(1, 6)]));
    let cursors: Vec<Vec<i64>> = messages(&came).into_iter().map(|(_, cursor)| cursor).collect();
    assert_eq!(cursors, [[12, 0]], "6 came from PostgreSQL for all; 7 it has had");
    assert_eq!(seqs(&here), [6, 7]);
}

#[test]
fn a_partition_that_only_the_cursor_knows_stays_in_it() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 6));
    put(&mut shard, message(0, 11, 1, 7));
    let outbox = live(&mut shard, 1, at(&[10, 0, 4]));
    assert_eq!(shard.take_lookups(), [Lookup::Ends { conn: 1, partitions: 3 }]);
    shard.ends_found(1, Ok(vec![12, 0, 4]));
    let cursors: Vec<Vec<i64>> = messages(&outbox).into_iter().map(|(_, cursor)| cursor).collect();
    assert_eq!(cursors, [[11, 0, 4], [12, 0, 4]]);
}

#[test]
fn a_message_whose_record_is_late_is_not_lost_to_who_comes_back_twice_before_it() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 7));
    // 6 is not in the log yet: this client has 5, and is sent 7.
    let first = live(&mut shard, 1, at(&[10, 0]));
    assert_eq!(seqs(&first), [7]);
    let again = live(&mut shard, 2, at(&[11, 0]));
    put(&mut shard, message(0, 11, 1, 6));
    assert_eq!((seqs(&first), seqs(&again)), (vec![6], vec![6]));
}

#[test]
fn what_is_read_for_who_joins_is_not_sent_to_who_may_have_left_by_then() {
    let mut shard = shard();
    let bob = live(&mut shard, 1, Wanted::Nothing);
    put(&mut shard, change(10, 9, &["bob"], &[], 3, 2));
    let (ticket, _) = asked(&mut shard);
    // Eve's rooms were read before the members that bob's joining asks for, in between she leaves at 4.
    let eve = live_eve(&mut shard, 2, of_version(2, &[(9, 0, 4)]));
    shard.members_found(room(9), ticket, 0, members(5, 3, &[("bob", 3)]));
    let ticket = asked_between(&mut shard, 3, 6);
    shard.gap_found(room(9), ticket, 0, Ok(vec![stored(9, 4), stored(9, 5)]));
    assert_eq!((seqs(&bob), seqs(&eve)), (vec![4, 5], vec![]));
}

#[test]
fn a_departure_before_which_others_may_be_missing_is_asked_about() {
    let mut shard = shard();
    let bob = live(&mut shard, 1, Wanted::Nothing);
    // Bob left at 6 (version 2), came back at 7 (3), left at 8 (4); the log has the last of it first.
    put(&mut shard, change(10, 1, &[], &["bob"], 8, 4));
    let (ticket, _) = asked(&mut shard);
    let mut found = members(8, 4, &[("bob", 7)]).unwrap().unwrap();
    found.members[0].1.left = Some(Seq(8));
    shard.members_found(room(1), ticket, 0, Ok(Some(found)));
    put(&mut shard, change(11, 1, &[], &["bob"], 6, 2));
    put(&mut shard, message(0, 12, 1, 6));
    put(&mut shard, message(0, 13, 1, 7));
    put(&mut shard, message(0, 14, 1, 8));
    assert_eq!(seqs(&bob), [8]);
}

#[test]
fn records_that_are_lost_while_a_stream_loads_bring_no_older_ones_back() {
    let mut shard = shard();
    put(&mut shard, message(0, 10, 1, 5));
    let outbox = open(&mut shard, 1, Wanted::Nothing);
    shard.identify(1, Some(session("bob")));
    shard.lost(1, 7);
    shard.take_lookups();
    shard.interests_found(1, Ok(interests(&[(1, 0, 5)])));
    assert_eq!(shard.take_lookups(), [Lookup::Interests { conn: 1, user: user("bob") }], "they may be stale");
    shard.interests_found(1, Ok(interests(&[(1, 0, 5)])));
    assert!(shard.is_live(1));
    assert!(seqs(&outbox).is_empty());
}
