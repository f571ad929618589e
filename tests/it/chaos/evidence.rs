//! What was promised, held against what there is, without asking anybody: whoever gathered it, this is where it is judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parley::ids::RequestId;

/// A message of a room: as PostgreSQL holds it, as an event record tells it, or as a stream told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) room: String,
    pub(super) seq: i64,
    pub(super) request: RequestId,
    pub(super) text: String,
}

/// A reply record.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) success: bool,
    pub(super) code: Option<String>,
    pub(super) value: Vec<u8>,
    pub(super) replayed: bool,
}

/// All replies of some kinds, by request.
pub(super) type Replies = HashMap<RequestId, Vec<Answer>>;

/// What was counted, when nothing is wrong.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) said: usize,
    pub(super) accepted: usize,
    pub(super) stored: usize,
    pub(super) expired: usize,
    pub(super) given_up: usize,
    pub(super) replays: usize,
}

/// Everything about messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// How many people meant to send. The n-th says `chaos n`.
    pub(super) said: usize,
    pub(super) given_up: usize,
    /// The requests that the system said it took on, with the number of the message.
    pub(super) accepted: Vec<(usize, RequestId)>,
    /// Promises whose breach people saw themselves.
    pub(super) broken: Vec<String>,
    /// What streams and pages told of a room's numbers.
    pub(super) heard: Vec<Entry>,
    /// Texts that not every member of their room has heard.
    pub(super) unheard: BTreeSet<String>,
    /// PostgreSQL's rows, by room and number.
    pub(super) rows: Vec<Entry>,
    pub(super) replies: Replies,
    /// Event records, in whatever order.
    pub(super) events: Vec<Entry>,
}

/// The text of the n-th message.
pub(super) fn text(n: usize) -> String {
    format!("chaos {n}")
}

impl Evidence {
    /// Whether nothing is on its way any more.
    pub(super) fn complete(&self) -> bool {
        self.accepted.iter().all(|(_, id)| self.replies.contains_key(id))
            && !self.rows.iter().any(|row| self.unheard.contains(&row.text))
    }

    pub(super) fn judge(&self) -> Result<Counts, Vec<String>> {
        let mut wrong = self.broken.clone();
        let mut counts = Counts {
            said: self.said,
            accepted: self.accepted.len(),
            stored: self.rows.len(),
            given_up: self.given_up,
            ..Counts::default()
        };
        self.dense(&mut wrong);
        self.answered(&mut counts, &mut wrong);
        self.told(&mut wrong);
        let unheard = self.rows.iter().filter(|row| self.unheard.contains(&row.text));
        wrong.extend(unheard.map(|row| format!("not everybody has heard {}", row.text)));
        if wrong.is_empty() { Ok(counts) } else { Err(wrong) }
    }

    /// A room's numbers are 1, 2, 3, and no message is there twice, or there under a request that nobody made.
    fn dense(&self, wrong: &mut Vec<String>) {
        let mut texts = BTreeSet::new();
        let mut last: HashMap<&str, i64> = HashMap::new();
        let taken_on: HashMap<RequestId, usize> = self.accepted.iter().map(|(n, id)| (*id, *n)).collect();
        for row in &self.rows {
            if !texts.insert(&row.text) {
                wrong.push(format!("{} is stored twice", row.text));
            }
            let last = last.entry(&row.room).or_default();
            if row.seq != *last + 1 {
                wrong.push(format!("room {}: {} follows {last}", row.room, row.seq));
            }
            *last = row.seq;
            if taken_on.get(&row.request).map(|n| text(*n)).as_ref() != Some(&row.text) {
                wrong.push(format!("{} is stored under {}, of which nobody was told", row.text, row.request));
            }
        }
    }

    /// Every request has its reply, one and the same however often, and it says what is stored.
    fn answered(&self, counts: &mut Counts, wrong: &mut Vec<String>) {
        let stored: HashMap<RequestId, &Entry> = self.rows.iter().map(|row| (row.request, row)).collect();
        for (n, id) in &self.accepted {
            let row = stored.get(id).filter(|row| row.text == text(*n));
            let Some(answers) = self.replies.get(id).filter(|answers| !answers.is_empty()) else {
                wrong.push(format!("message {n} ({id}) was never answered, stored: {}", row.is_some()));
                continue;
            };
            wrong.extend(agree(answers).err().map(|what| format!("message {n} ({id}) {what}")));
            let good = answers.iter().filter(|answer| answer.success).count();
            if (good == 0) == row.is_some() {
                wrong.push(format!("message {n} ({id}): {good} good answers, stored: {}", row.is_some()));
            }
            counts.replays += answers.iter().filter(|answer| answer.replayed).count();
            if row.is_none() {
                counts.expired += 1;
                let codes: BTreeSet<&str> =
                    answers.iter().filter_map(|answer| answer.code.as_deref()).collect();
                if codes != BTreeSet::from(["deadline_exceeded"]) {
                    wrong.push(format!("message {n} ({id}) was not done because of {codes:?}"));
                }
            }
        }
    }

    /// Every stored message was told, as it is, and nothing else was. Not always in order: two workers may have a room while
    /// partitions are added, and gateways read from PostgreSQL what is late. The order that people hear is judged where they hear it.
    fn told(&self, wrong: &mut Vec<String>) {
        let mut told: BTreeMap<(&str, i64), &Entry> = BTreeMap::new();
        for event in &self.events {
            if *told.entry((event.room.as_str(), event.seq)).or_insert(event) != event {
                wrong.push(format!("two events tell of {} of room {}, and differ", event.seq, event.room));
            }
        }
        let stored: BTreeMap<(&str, i64), &Entry> =
            self.rows.iter().map(|row| ((row.room.as_str(), row.seq), row)).collect();
        for (place, row) in &stored {
            if told.get(place) != Some(row) {
                wrong.push(format!("no event tells of {} of room {}: {}", row.seq, row.room, row.text));
            }
        }
        if told.len() != self.rows.len() {
            wrong.push(format!("{} messages were told, {} are stored", told.len(), self.rows.len()));
        }
        for heard in &self.heard {
            if stored.get(&(heard.room.as_str(), heard.seq)) != Some(&heard) {
                wrong.push(format!("people heard {heard:?}, which is not what is stored"));
            }
        }
    }
}

/// Answers to one request: those that say yes are alike, and at most one of them says that it is the first.
pub(super) fn agree(answers: &[Answer]) -> Result<(), &'static str> {
    let good: Vec<&Answer> = answers.iter().filter(|answer| answer.success).collect();
    if good.iter().any(|answer| answer.value != good[0].value) {
        return Err("has answers that differ");
    }
    if good.iter().filter(|answer| !answer.replayed).count() > 1 {
        return Err("was answered twice as if for the first time");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> RequestId {
        RequestId(uuid::Uuid::from_u128(n as u128 + 1))
    }

    fn yes(seq: i64) -> Answer {
        Answer { success: true, code: None, value: seq.to_string().into_bytes(), replayed: false }
    }

    fn no(code: &str) -> Answer {
        Answer { success: false, code: Some(code.to_owned()), value: Vec::new(), replayed: false }
    }

    /// Six messages in two rooms, of which the last came too late, and one reply came twice: all as it should be.
    fn sound() -> Evidence {
        let mut sound = Evidence { said: 6, ..Evidence::default() };
        for n in 0..6 {
            sound.accepted.push((n, id(n)));
            let seq = n as i64 / 2 + 1;
            if n == 5 {
                sound.replies.insert(id(n), vec![no("deadline_exceeded")]);
                continue;
            }
            sound.replies.insert(id(n), vec![yes(seq)]);
            sound.rows.push(Entry { room: (n % 2).to_string(), seq, request: id(n), text: text(n) });
        }
        sound.rows.sort_by(|one, other| (&one.room, one.seq).cmp(&(&other.room, other.seq)));
        sound.replies.get_mut(&id(1)).expect("a reply").push(Answer { replayed: true, ..yes(1) });
        sound.events = sound.rows.iter().rev().chain(&sound.rows[..2]).cloned().collect();
        sound.heard = sound.rows.clone();
        sound
    }

    #[test]
    fn what_is_sound_is_passed() {
        let counts = sound().judge().expect("nothing is wrong");
        assert_eq!((counts.said, counts.accepted, counts.stored), (6, 6, 5));
        assert_eq!((counts.expired, counts.replays, counts.given_up), (1, 1, 0));
        assert!(sound().complete());
    }

    /// Each of these is what the platform must never do; the judge finds each, and says what it is.
    #[test]
    fn every_planted_fault_is_found() {
        let at = |evidence: &Evidence, n: usize| {
            evidence.rows.iter().position(|row| row.text == text(n)).expect("it is stored")
        };
        type Plant = fn(&mut Evidence, &dyn Fn(&Evidence, usize) -> usize);
        let planted: [(&str, &str, Plant); 16] = [
            ("the newest message of a room lost", "1 good answers, stored: false", |e, at| {
                let lost = at(e, 4);
                e.rows.remove(lost);
            }),
            ("a message lost from the middle", "follows", |e, at| {
                let lost = at(e, 2);
                e.rows.remove(lost);
            }),
            ("a message stored twice", "is stored twice", |e, at| {
                let again = Entry { seq: 4, ..e.rows[at(e, 4)].clone() };
                e.rows.insert(at(e, 4) + 1, again);
            }),
            ("a message stored that was refused", "0 good answers, stored: true", |e, _| {
                e.rows.push(Entry { room: "1".to_owned(), seq: 3, request: id(5), text: text(5) });
            }),
            ("a message that nobody sent", "of which nobody was told", |e, _| {
                e.rows.push(Entry {
                    room: "1".to_owned(),
                    seq: 3,
                    request: id(77),
                    text: "chaos 77".to_owned(),
                });
            }),
            ("numbers out of order", "follows", |e, at| {
                let (one, other) = (at(e, 0), at(e, 2));
                e.rows.swap(one, other);
            }),
            ("a hole in the numbers", "follows", |e, at| {
                let last = at(e, 4);
                e.rows[last].seq = 9;
            }),
            ("a request without a reply", "was never answered", |e, _| {
                e.replies.remove(&id(3));
            }),
            ("two answers that differ", "answers that differ", |e, _| {
                let other = Answer { replayed: true, ..yes(8) };
                e.replies.get_mut(&id(3)).expect("a reply").push(other);
            }),
            ("two first answers", "twice as if for the first time", |e, _| {
                e.replies.get_mut(&id(3)).expect("a reply").push(yes(2));
            }),
            ("a refusal for no good reason", "because of {\"internal\"}", |e, _| {
                e.replies.insert(id(5), vec![no("internal")]);
            }),
            ("an event that never came", "no event tells of", |e, _| {
                e.events.retain(|event| event.text != text(3));
            }),
            ("two events that differ", "and differ", |e, _| {
                let other = Entry { text: "chaos 5".to_owned(), ..e.events[0].clone() };
                e.events.push(other);
            }),
            ("a stream that told what is not so", "people heard", |e, _| {
                e.heard[1].text = "chaos 5".to_owned();
            }),
            ("a message that somebody has not heard", "not everybody has heard chaos 3", |e, _| {
                e.unheard.insert(text(3));
            }),
            ("a stream that went on behind a gap", "without a resync", |e, _| {
                e.broken.push("3 came after 1 without a resync".to_owned());
            }),
        ];
        for (what, told, plant) in planted {
            let mut evidence = sound();
            plant(&mut evidence, &at);
            let wrong = evidence.judge().expect_err(what);
            assert!(wrong.iter().any(|line| line.contains(told)), "{what}: {wrong:?}");
        }
    }

    #[test]
    fn what_is_under_way_is_waited_for() {
        let mut waiting = sound();
        waiting.replies.remove(&id(3));
        assert!(!waiting.complete());
        let mut waiting = sound();
        waiting.unheard.insert(text(3));
        assert!(!waiting.complete());
    }
}
