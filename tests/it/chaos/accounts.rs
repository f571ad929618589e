//! What the errands left behind, held against what their authors were told: statuses, friendships, rooms, sessions, replies.

use std::collections::{BTreeMap, BTreeSet};

use parley::wire::Kind;

use super::{
    errands::{Errand, Wish},
    evidence::{Replies, agree},
    stage::Stage,
};

/// The kinds that errands are of.
pub(super) const KINDS: [Kind; 6] =
    [Kind::ChangeStatus, Kind::AddFriend, Kind::AddRoom, Kind::LeaveRoom, Kind::Login, Kind::Logout];

/// Everything about accounts.
#[derive(Debug, Clone, Default)]
pub(super) struct Accounts {
    /// In the order in which each person did them.
    pub(super) errands: Vec<Errand>,
    pub(super) replies: Replies,
    /// PostgreSQL's: statuses by user, pairs of friends, present members of rooms that were opened on an errand by their name, and sessions
    /// by key, whether they are open.
    pub(super) statuses: BTreeMap<String, String>,
    pub(super) friends: BTreeSet<(String, String)>,
    pub(super) rooms: Vec<(String, usize)>,
    pub(super) sessions: BTreeMap<String, bool>,
}

impl Stage {
    pub(super) fn accounts(&self, errands: Vec<Errand>) -> Accounts {
        let postgres = self.postgres();
        let rows = |sql: &str| -> Vec<(String, String)> {
            let text = postgres.query(sql);
            let rows = text.lines().filter_map(|line| line.split_once('|'));
            rows.map(|(one, other)| (one.to_owned(), other.to_owned())).collect()
        };
        let rooms = rows(
            "SELECT r.room_name, count(m.user_id) FILTER (WHERE m.left_seq IS NULL) FROM rooms r LEFT JOIN members m USING (room_id) WHERE r.room_name LIKE 'errand %' GROUP BY r.room_id, r.room_name",
        );
        let sessions =
            rows("SELECT encode(session_key, 'hex'), user_id IS NOT NULL AND ended_at IS NULL FROM sessions");
        Accounts {
            errands,
            replies: self.replies(&KINDS),
            statuses: rows("SELECT user_id, user_status FROM users").into_iter().collect(),
            friends: rows("SELECT user_id, friend_id FROM friendships").into_iter().collect(),
            rooms: rooms
                .into_iter()
                .map(|(name, members)| (name, members.parse().expect("a count")))
                .collect(),
            sessions: sessions.into_iter().map(|(key, open)| (key, open == "t")).collect(),
        }
    }
}

impl Accounts {
    /// How many errands were done and how many refused; or all that is wrong.
    pub(super) fn judge(&self) -> Result<(usize, usize), Vec<String>> {
        let mut wrong = Vec::new();
        let mut statuses: BTreeMap<&str, &str> = BTreeMap::new();
        let mut friends: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        // How many are to be in each; none: it was not opened.
        let mut rooms: BTreeMap<&str, Option<usize>> = BTreeMap::new();
        let mut logins: BTreeMap<&str, bool> = BTreeMap::new();
        let mut logouts: BTreeMap<&str, bool> = BTreeMap::new();
        let mut done = 0;
        for errand in &self.errands {
            let who = errand.who.as_str();
            let yes = self.outcome(errand, &mut wrong);
            done += usize::from(yes);
            match &errand.wish {
                Wish::Status(status) if yes => {
                    statuses.insert(who, status);
                }
                Wish::Status(_) => {}
                Wish::Friend(friend) => {
                    let added = yes && self.says(errand, "\"added\"");
                    *friends.entry((who, friend.as_str())).or_default() += usize::from(added);
                }
                Wish::Room(name) => {
                    rooms.insert(name, yes.then_some(2));
                }
                Wish::Guest(name) if yes => {
                    rooms.entry(name).and_modify(|members| *members = members.map(|count| count + 1));
                }
                Wish::Leave(name) if yes => {
                    rooms.entry(name).and_modify(|members| *members = members.map(|count| count - 1));
                }
                Wish::Guest(_) | Wish::Leave(_) => {}
                Wish::Login(session) => {
                    logins.insert(session, yes);
                }
                Wish::Logout(session) => {
                    logouts.insert(session, yes);
                }
            }
        }
        for (user, status) in statuses {
            if self.statuses.get(user).map(String::as_str) != Some(status) {
                wrong.push(format!("{user} is {:?}, and last said {status:?}", self.statuses.get(user)));
            }
        }
        for ((one, other), added) in friends {
            let there = [(one, other), (other, one)]
                .map(|(a, b)| self.friends.contains(&(a.to_owned(), b.to_owned())));
            if there != [added > 0; 2] || added > 1 {
                wrong.push(format!("{one} and {other} became friends {added} times, and are {there:?}"));
            }
        }
        self.judge_rooms(&rooms, &mut wrong);
        for (session, yes) in logins {
            let open = self.sessions.get(session);
            let left = logouts.get(session).copied();
            // A logout of which nobody heard what became may have ended it.
            let right = match (yes, left) {
                (true, Some(true)) => open == Some(&false),
                (true, Some(false)) => open == Some(&true),
                (true, None) => open.is_some(),
                (false, _) => open != Some(&true),
            };
            if !right {
                wrong.push(format!("session {session}: login {yes}, logout {left:?}, open {open:?}"));
            }
        }
        if wrong.is_empty() { Ok((done, self.errands.len() - done)) } else { Err(wrong) }
    }

    fn judge_rooms(&self, rooms: &BTreeMap<&str, Option<usize>>, wrong: &mut Vec<String>) {
        for (name, expected) in rooms {
            let there: Vec<usize> =
                self.rooms.iter().filter(|(of, _)| of == name).map(|(_, members)| *members).collect();
            if there != expected.as_slice() {
                wrong.push(format!("room {name:?}: members {expected:?}, of what is there {there:?}"));
            }
        }
    }

    fn says(&self, errand: &Errand, what: &str) -> bool {
        let answers = self.replies.get(&errand.request).map_or(&[][..], Vec::as_slice);
        answers.iter().any(|answer| answer.success && String::from_utf8_lossy(&answer.value).contains(what))
    }

    /// Whether it was done, by its reply records; they must agree with each other and with what its author was told.
    fn outcome(&self, errand: &Errand, wrong: &mut Vec<String>) -> bool {
        let answers = self.replies.get(&errand.request).map_or(&[][..], Vec::as_slice);
        if answers.is_empty() && errand.certain {
            wrong.push(format!("{errand:?} was never answered"));
        }
        wrong.extend(agree(answers).err().map(|what| format!("{errand:?} {what}")));
        let yes = answers.iter().any(|answer| answer.success);
        let codes: BTreeSet<&str> = answers.iter().filter_map(|answer| answer.code.as_deref()).collect();
        if !yes && codes.iter().any(|code| *code != "deadline_exceeded") {
            wrong.push(format!("{errand:?} was not done because of {codes:?}"));
        }
        if errand.reply.is_none() && !answers.is_empty() {
            wrong.push(format!("{errand:?} was answered, and nobody tells its author"));
        }
        if let Some(told) = &errand.reply
            && (told["isSuccess"] == true) != yes
        {
            wrong.push(format!("{errand:?} was told otherwise than its records say: done {yes}"));
        }
        yes
    }
}

#[cfg(test)]
mod tests {
    use parley::ids::RequestId;
    use serde_json::json;

    use super::*;
    use crate::chaos::evidence::Answer;

    /// Amy changes her status twice, befriends Ben and opens a room; one errand came too late; she logs in and out.
    fn sound() -> Accounts {
        let wishes = [
            (Wish::Status("one".to_owned()), true),
            (Wish::Status("two".to_owned()), true),
            (Wish::Status("late".to_owned()), false),
            (Wish::Friend("ben".parse().expect("an id")), true),
            (Wish::Room("errand 1".to_owned()), true),
            (Wish::Room("errand 2".to_owned()), false),
            (Wish::Guest("errand 1".to_owned()), true),
            (Wish::Leave("errand 1".to_owned()), true),
            (Wish::Login("aa".to_owned()), true),
            (Wish::Logout("aa".to_owned()), true),
            (Wish::Login("bb".to_owned()), true),
        ];
        let mut sound = Accounts::default();
        for (n, (wish, yes)) in (1_u128..).zip(wishes) {
            let request = RequestId(uuid::Uuid::from_u128(n));
            let code = (!yes).then(|| "deadline_exceeded".to_owned());
            let value = json!({"isSuccess": yes, "friendId": [{"result": "added"}]}).to_string().into_bytes();
            sound.replies.insert(request, vec![Answer { success: yes, code, value, replayed: false }]);
            let reply = Some(json!({"isSuccess": yes}));
            let who = "amy".parse().expect("an id");
            sound.errands.push(Errand { who, wish, request, certain: true, reply });
        }
        let text = str::to_owned;
        sound.statuses.insert(text("amy"), text("two"));
        sound.friends.extend([(text("amy"), text("ben")), (text("ben"), text("amy"))]);
        sound.rooms.push((text("errand 1"), 2));
        sound.sessions.extend([(text("aa"), false), (text("bb"), true)]);
        sound
    }

    #[test]
    fn what_is_sound_is_passed() {
        assert_eq!(sound().judge(), Ok((9, 2)));
    }

    #[test]
    fn every_planted_fault_is_found() {
        type Plant = fn(&mut Accounts);
        let planted: [(&str, &str, Plant); 15] = [
            ("a status lost", "last said \"two\"", |a| {
                a.statuses.insert("amy".to_owned(), "one".to_owned());
            }),
            ("a status that was refused, and came", "last said \"two\"", |a| {
                a.statuses.insert("amy".to_owned(), "late".to_owned());
            }),
            ("half a friendship", "are [true, false]", |a| {
                a.friends.remove(&("ben".to_owned(), "amy".to_owned()));
            }),
            ("a friendship made twice", "became friends 2 times", |a| {
                let (mut again, answers) = (a.errands[3].clone(), a.replies[&a.errands[3].request].clone());
                again.request = RequestId(uuid::Uuid::from_u128(99));
                a.replies.insert(again.request, answers);
                a.errands.push(again);
            }),
            ("a room lost", "members Some(2), of what is there []", |a| a.rooms.clear()),
            ("a room opened twice", "is there [2, 2]", |a| a.rooms.push(("errand 1".to_owned(), 2))),
            ("a guest lost", "of what is there [1]", |a| a.rooms[0].1 = 1),
            ("one who left and is there", "of what is there [3]", |a| a.rooms[0].1 = 3),
            ("a room that was refused, and came", "members None", |a| {
                a.rooms.push(("errand 2".to_owned(), 3));
            }),
            ("a session that outlives its logout", "logout Some(true), open Some(true)", |a| {
                a.sessions.insert("aa".to_owned(), true);
            }),
            ("a session lost", "session bb", |a| {
                a.sessions.remove("bb");
            }),
            ("a request without a reply", "was never answered", |a| {
                a.replies.remove(&a.errands[0].request);
            }),
            ("an answer that its author cannot have", "nobody tells its author", |a| {
                (a.errands[0].reply, a.errands[0].certain) = (None, false);
            }),
            ("an author told otherwise", "told otherwise", |a| {
                a.errands[2].reply = Some(json!({"isSuccess": true}));
            }),
            ("a refusal for no good reason", "because of {\"internal\"}", |a| {
                let answers = a.replies.get_mut(&a.errands[2].request).expect("replies");
                answers[0].code = Some("internal".to_owned());
            }),
        ];
        for (what, told, plant) in planted {
            let mut accounts = sound();
            plant(&mut accounts);
            let wrong = accounts.judge().expect_err(what);
            assert!(wrong.iter().any(|line| line.contains(told)), "{what}: {wrong:?}");
        }
    }
}
