use super::*;

const MESSAGES: usize = 9;

fn ear(member: usize, book: &Arc<Mutex<Book>>) -> Ear {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    Ear {
        client: Client::new(nobody),
        gateways: vec![nobody],
        turn: 0,
        circle: 0,
        room: RoomId(uuid::Uuid::nil()),
        member,
        members: 2,
        newest: 0,
        live: true,
        book: Arc::clone(book),
    }
}

fn book() -> Arc<Mutex<Book>> {
    let due = Instant::now();
    let said = Said { room: 0, due, accepted: None, given_up: false, heard: 0, whole: None };
    Arc::new(Mutex::new(Book { said: vec![said; MESSAGES], ..Book::default() }))
}

/// The n-th message as the room's number `seq`.
fn told(seq: i64, n: usize) -> Value {
    let id = uuid::Uuid::from_u128(n as u128 + 1);
    json!({"seq": seq, "requestId": id.to_string(), "message": format!("chaos {n}")})
}

/// Told live, in this order; what the listener complains of.
fn complaints(of: &[(i64, usize)]) -> Vec<String> {
    let book = book();
    let mut ear = ear(0, &book);
    of.iter().for_each(|(seq, n)| ear.hear(&told(*seq, *n), true));
    locked(&book).broken.clone()
}

#[test]
fn a_stream_that_lies_is_found() {
    assert!(complaints(&[(1, 0), (2, 1), (2, 1), (1, 0), (3, 2)]).is_empty(), "repeats are no lies");
    for (what, lie, says) in [
        ("a hole", [(1, 0), (3, 2)], "3 came after 1 without a resync"),
        ("the second first", [(2, 1), (1, 0)], "2 came after 0 without a resync"),
        ("a number that is two messages", [(1, 0), (1, 4)], "number 1 of the room is two messages"),
    ] {
        let complaints = complaints(&lie);
        assert!(complaints.iter().any(|line| line.contains(says)), "{what}: {complaints:?}");
    }
}

#[test]
fn two_listeners_that_are_told_different_things_are_found() {
    let book = book();
    ear(0, &book).hear(&told(1, 0), true);
    ear(1, &book).hear(&told(1, 5), true);
    assert!(locked(&book).broken.iter().any(|line| line.contains("is two messages")));
}

#[test]
fn what_was_read_after_a_resync_is_no_hole_and_a_message_is_whole_when_all_have_it() {
    let book = book();
    let (mut one, mut other) = (ear(0, &book), ear(1, &book));
    [(1, 0), (2, 1)].iter().for_each(|(seq, n)| one.hear(&told(*seq, *n), false));
    one.hear(&told(3, 2), true);
    other.hear(&told(1, 0), true);
    let book = locked(&book);
    assert!(book.broken.is_empty(), "{:?}", book.broken);
    assert!(book.said[0].whole.is_some() && book.said[1].whole.is_none());
}
