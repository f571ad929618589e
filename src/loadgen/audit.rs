//! What was sent held against what was heard. Knows nothing of the system under test but its promises: every accepted message
//! is heard by every member, under one `seq`, and the numbers of a room are dense.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ids::{RequestId, RoomId, Seq, UserId};

/// One `message` event as a listener heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The room.
    pub room_id: RoomId,
    /// Its number there.
    pub seq: Seq,
    /// The request that it came of.
    pub request_id: RequestId,
}

/// Everything that one run sent and heard.
#[derive(Debug, Default)]
pub struct Audit {
    accepted: HashMap<RequestId, RoomId>,
    members: HashMap<RoomId, Vec<UserId>>,
    heard: HashMap<UserId, Vec<Heard>>,
}

/// What is wrong; all zero when nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Findings {
    /// Accepted messages that some member never heard, counted per member.
    pub lost: usize,
    /// Messages heard under two numbers: one effect that happened twice.
    pub doubled: usize,
    /// The same number told again to one listener: harmless, and to be dropped by room and seq.
    pub repeated: usize,
    /// Numbers missing between 1 and a room's last, as one listener heard it.
    pub gaps: usize,
    /// Messages heard after a later one of the same room.
    pub reordered: usize,
    /// One number with two different requests: two histories of one room.
    pub conflicting: usize,
}

impl Findings {
    /// Whether nothing was lost or doubled. Repeats are allowed: delivery is at least once, with a key to drop doubles by.
    pub fn clean(&self) -> bool {
        self.lost + self.doubled + self.gaps + self.conflicting == 0
    }
}

impl Audit {
    /// A room that this run opened for itself, with its members.
    pub fn room(&mut self, room: RoomId, members: Vec<UserId>) {
        self.members.insert(room, members);
    }

    /// A message that the system took on.
    pub fn accepted(&mut self, request: RequestId, room: RoomId) {
        self.accepted.insert(request, room);
    }

    /// A message that a listener heard.
    pub fn heard(&mut self, by: &UserId, heard: Heard) {
        self.heard.entry(by.clone()).or_default().push(heard);
    }

    /// Messages taken on so far.
    pub fn accepted_count(&self) -> usize {
        self.accepted.len()
    }

    /// Whether every member has heard every accepted message: nothing more is to come.
    pub fn complete(&self) -> bool {
        self.missing() == 0
    }

    fn missing(&self) -> usize {
        let heard: HashMap<&UserId, BTreeSet<RequestId>> = self
            .heard
            .iter()
            .map(|(user, list)| (user, list.iter().map(|h| h.request_id).collect()))
            .collect();
        let expects = |(request, room): (&RequestId, &RoomId)| {
            let members = self.members.get(room).map(Vec::as_slice).unwrap_or_default();
            members.iter().filter(|user| !heard.get(user).is_some_and(|set| set.contains(request))).count()
        };
        self.accepted.iter().map(expects).sum()
    }

    /// The verdict.
    pub fn findings(&self) -> Findings {
        let mut findings = Findings { lost: self.missing(), ..Findings::default() };
        let mut owner: BTreeMap<(RoomId, Seq), RequestId> = BTreeMap::new();
        let mut number: HashMap<RequestId, Seq> = HashMap::new();
        for list in self.heard.values() {
            let mut seen: HashMap<RoomId, BTreeSet<Seq>> = HashMap::new();
            for heard in list {
                if *owner.entry((heard.room_id, heard.seq)).or_insert(heard.request_id) != heard.request_id {
                    findings.conflicting += 1;
                }
                if *number.entry(heard.request_id).or_insert(heard.seq) != heard.seq {
                    findings.doubled += 1;
                }
                let seqs = seen.entry(heard.room_id).or_default();
                if !seqs.insert(heard.seq) {
                    findings.repeated += 1;
                } else if seqs.last().is_some_and(|last| *last > heard.seq) {
                    findings.reordered += 1;
                }
            }
            for seqs in seen.values() {
                let last = seqs.last().map_or(0, |seq| seq.0);
                findings.gaps += usize::try_from(last).unwrap_or_default().saturating_sub(seqs.len());
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(heard: &[(usize, i64)]) -> Findings {
        let (room, bob) = (RoomId(uuid::Uuid::nil()), "bob".parse::<UserId>().unwrap());
        let ids: Vec<RequestId> = (0..3).map(|_| RequestId::fresh()).collect();
        let mut audit = Audit::default();
        audit.room(room, vec![bob.clone()]);
        ids.iter().for_each(|id| audit.accepted(*id, room));
        for (request, seq) in heard {
            audit.heard(&bob, Heard { room_id: room, seq: Seq(*seq), request_id: ids[*request] });
        }
        audit.findings()
    }

    #[test]
    fn verdicts() {
        let none = Findings::default();
        assert_eq!(audit(&[(0, 1), (1, 2), (2, 3)]), none);
        assert_eq!(audit(&[(0, 1), (1, 2), (1, 2), (2, 3)]), Findings { repeated: 1, ..none.clone() });
        assert_eq!(audit(&[(0, 1), (2, 3), (1, 2)]), Findings { reordered: 1, ..none.clone() });
        assert_eq!(audit(&[(0, 1), (1, 2)]), Findings { lost: 1, ..none.clone() });
        assert_eq!(audit(&[(0, 1), (1, 2), (2, 4)]), Findings { gaps: 1, ..none.clone() });
        assert_eq!(audit(&[(0, 1), (1, 2), (1, 3), (2, 4)]), Findings { doubled: 1, ..none.clone() });
        let two = audit(&[(0, 1), (1, 1), (2, 2)]);
        assert!(two.conflicting == 1 && !two.clean(), "{two:?}");
    }
}
