//! Who is there and what they ask for.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac as _};
use parley::{
    ids::{RoomId, UserId},
    wire::{AddUser, Kind, Login, Outgoing, Request, RequestHeaders},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Person, World, session};
use crate::fixtures::{keys_dir, unique};

impl World {
    /// A record with any value, signed by an implementation of the contract (docs/protocol.md section 1) that is not ours.
    pub(in crate::worker) fn signed_bytes(
        &self,
        headers: &RequestHeaders,
        kind: Kind,
        key: &str,
        value: Value,
    ) -> Outgoing {
        let text = std::fs::read_to_string(keys_dir().join("request-keys.json")).expect("the file");
        let file: Value = serde_json::from_str(&text).expect("JSON");
        let id = file["active"].as_str().expect("an id");
        let secret = STANDARD.decode(file["keys"][id].as_str().expect("a key")).expect("base64");
        let value = value.to_string().into_bytes();
        let named: Vec<(&str, Option<String>)> = vec![
            ("request-id", Some(headers.request_id.to_string())),
            ("user-id", headers.user_id.as_ref().map(UserId::to_string)),
            ("session-key", Some(headers.session_key.to_string())),
            ("deadline", Some(headers.deadline.to_string())),
        ];
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&secret).expect("a key");
        let mut put = |field: Option<&[u8]>| {
            let length = field.map_or(u32::MAX, |bytes| bytes.len() as u32);
            mac.update(&length.to_be_bytes());
            mac.update(field.unwrap_or_default());
        };
        put(Some(b"parley-v1-request"));
        put(Some(kind.request_topic().as_bytes()));
        put(Some(key.as_bytes()));
        for (_, field) in &named {
            put(field.as_ref().map(String::as_bytes));
        }
        put(Some(&Sha256::digest(&value)));
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let mut all: Vec<(Cow<'static, str>, Vec<u8>)> = vec![("parley-version".into(), b"1".to_vec())];
        for (name, field) in named {
            all.extend(field.map(|field| (name.to_owned().into(), field.into_bytes())));
        }
        all.push(("key-id".into(), id.as_bytes().to_vec()));
        all.push(("signature".into(), signature.into_bytes()));
        Outgoing { topic: kind.request_topic(), key: key.as_bytes().to_vec(), value, headers: all }
    }

    /// A sign-up request with its headers: a name that nobody has.
    pub(in crate::worker) fn sign_up(&self, name: &str, password: &str) -> (RequestHeaders, Request) {
        let user_id: UserId = name.parse().expect("a user id");
        let mut headers = self.headers(&Person { id: user_id.clone(), session: session() });
        headers.user_id = None;
        let password = password.to_owned().try_into().expect("a password");
        let sealed_password = self.sealing.seal(&password, &user_id, headers.request_id).expect("sealed");
        let request = AddUser {
            email: format!("{name}@example.com").parse().expect("an email"),
            user_name: name.parse().expect("a name"),
            sealed_password,
            user_id,
        };
        (headers, Request::AddUser(request))
    }

    pub(in crate::worker) fn log_in(&self, user_id: &UserId, password: &str) -> (RequestHeaders, Request) {
        let mut headers = self.headers(&Person { id: user_id.clone(), session: session() });
        headers.user_id = None;
        let password = password.to_owned().try_into().expect("a password");
        let sealed_password = self.sealing.seal(&password, user_id, headers.request_id).expect("sealed");
        (headers, Request::Login(Login { user_id: user_id.clone(), sealed_password }))
    }

    /// Somebody who exists, without the cost of a sign-up.
    pub(in crate::worker) fn person(&self, prefix: &str) -> Person {
        let id = unique(prefix);
        self.database.sql(&format!(
            "INSERT INTO users (user_id, email, user_name, join_date) VALUES ('{id}', '{id}@example.com', '{id}', now())"
        ));
        Person { id: id.parse().expect("a user id"), session: session() }
    }

    pub(in crate::worker) fn befriend(&self, a: &Person, b: &Person) {
        let (a, b) = (&a.id, &b.id);
        self.database
            .sql(&format!("INSERT INTO friendships VALUES ('{a}', '{b}', now()), ('{b}', '{a}', now())"));
    }

    /// A room of these, straight into the tables.
    pub(in crate::worker) fn room(&self, people: &[&Person]) -> RoomId {
        let room = RoomId(uuid::Uuid::now_v7());
        let count = people.len();
        let maker = &people[0].id;
        self.database.sql(&format!(
            "INSERT INTO rooms (room_id, room_name, created_by, created_at, member_count) VALUES ('{room}', 'r', '{maker}', now(), {count})"
        ));
        for person in people {
            let user = &person.id;
            self.database.sql(&format!(
                "INSERT INTO members (room_id, user_id, joined_seq, joined_at) VALUES ('{room}', '{user}', 0, now());
                 INSERT INTO user_rooms (user_id, room_id, read_seq, joined_seq, joined_at) VALUES ('{user}', '{room}', 0, 0, now())"
            ));
        }
        room
    }
}
