use std::collections::{BTreeMap, HashMap, HashSet};

use futures::future::join_all;

use super::{
    Ask, Context, Handler,
    login::{too_often, unavailable},
};
use crate::{
    ids::{RequestId, Timestamp, UserId},
    store::{
        Conn, Database, SILENCE, StoreError, answered, inbox,
        throttles::{self, Failures},
        users::{self, NewUser},
    },
    wire::{self, Body, ErrorCode, Failure, OpeningKeys, Request, User},
    worker::{
        hashing::Hashing,
        job::{Effect, Job, late},
    },
};

/// Sign-up.
pub(in crate::worker) struct AddUser;

/// What came of one password before the transaction.
#[derive(Debug, Clone)]
pub(in crate::worker) enum Hashed {
    /// Its PHC string.
    Hash(String),
    /// The user id is taken, so there is nothing to hash.
    Taken,
    /// Its box cannot be opened, or belongs to another request.
    Unopened,
    /// The deadline passed before it was looked at.
    Late,
    /// Too many signed up from its address: not looked at before this time.
    Throttled(Timestamp),
    /// It could not be hashed now.
    Unavailable,
}

fn address(ask: &Ask<'_, wire::AddUser>) -> Option<String> {
    ask.headers.client_address.as_ref().map(|address| format!("sign-up:{address}"))
}

/// Opens and hashes the passwords of a batch, side by side. Requests whose outcome is stored already are left out.
pub(super) async fn hash(
    database: &Database,
    hashing: &Hashing,
    keys: &OpeningKeys,
    now: impl Fn() -> Timestamp + Sync,
    jobs: &[Job],
) -> Result<HashMap<RequestId, Hashed>, StoreError> {
    let asks: Vec<Ask<'_, wire::AddUser>> = jobs.iter().filter_map(Ask::of::<AddUser>).collect();
    let ids: Vec<RequestId> = asks.iter().map(|ask| ask.headers.request_id).collect();
    let names: Vec<&UserId> = asks.iter().map(|ask| &ask.request.user_id).collect();
    let subjects: Vec<String> = asks.iter().filter_map(address).collect();
    let looking_up = async {
        let mut conn = database.connection().await?;
        Ok((
            inbox::look_up(&mut conn, &ids).await?,
            users::known(&mut conn, &names).await?,
            throttles::blocked(&mut conn, &subjects).await?,
        ))
    };
    let (known, taken, blocked) = answered(SILENCE, looking_up).await?;
    let hash = async |ask: &Ask<'_, wire::AddUser>| {
        let (id, user) = (ask.headers.request_id, &ask.request.user_id);
        if ask.headers.deadline <= now() {
            return (id, Hashed::Late);
        }
        if let Some(until) = address(ask).and_then(|address| blocked.get(&address)) {
            return (id, Hashed::Throttled(*until));
        }
        if taken.contains(user) {
            return (id, Hashed::Taken);
        }
        let Ok(password) = keys.open(&ask.request.sealed_password, user, id) else {
            return (id, Hashed::Unopened);
        };
        (id, hashing.hash(password).await.map_or(Hashed::Unavailable, Hashed::Hash))
    };
    let fresh = |ask: &&Ask<'_, wire::AddUser>| {
        known.stored.get(&ask.headers.request_id).is_none_or(|stored| stored.gives_way)
    };
    Ok(join_all(asks.iter().filter(fresh).map(hash)).await.into_iter().collect())
}

impl Handler for AddUser {
    type Request = wire::AddUser;
    /// The insertion itself waits for another sign-up of the same id.
    type Locks = ();

    fn pick(request: &Request) -> Option<&wire::AddUser> {
        if let Request::AddUser(add) = request { Some(add) } else { None }
    }

    async fn lock(_conn: &mut Conn, _asks: &[Ask<'_, wire::AddUser>]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn apply(
        conn: &mut Conn,
        context: &Context<'_>,
        now: Timestamp,
        asks: &[Ask<'_, wire::AddUser>],
        (): (),
    ) -> Result<Vec<Effect>, StoreError> {
        let hashed = &context.passwords.sign_ups;
        let mut named = HashSet::new();
        let mut adding = Vec::new();
        for ask in asks {
            let user_id = &ask.request.user_id;
            match hashed.get(&ask.headers.request_id) {
                // The first of a batch gets the id; its fellows find it taken.
                Some(Hashed::Hash(password_hash)) if named.insert(user_id) => adding.push(NewUser {
                    user_id,
                    email: ask.request.email.as_str(),
                    user_name: ask.request.user_name.as_str(),
                    password_hash,
                }),
                Some(_) => {}
                None => return Err(StoreError::Conflict("a sign-up has not been hashed".to_owned())),
            }
        }
        let mut added =
            if adding.is_empty() { HashSet::new() } else { users::add(conn, &adding, now).await? };
        count(conn, context, asks, now).await?;
        let effect = |ask: &Ask<'_, wire::AddUser>| match hashed.get(&ask.headers.request_id) {
            Some(Hashed::Hash(_)) if added.remove(&ask.request.user_id) => {
                Effect::done(Body::User { user: joined(ask.request, now) })
            }
            Some(Hashed::Unopened) => Effect::refused(Failure::new(
                ErrorCode::InvalidRequest,
                "the sealed password cannot be opened",
            )),
            Some(Hashed::Late) => Effect::refused(late()),
            Some(Hashed::Throttled(until)) => Effect::refused(too_often(*until, now)),
            Some(Hashed::Unavailable) => Effect::refused(unavailable()),
            _ => Effect::refused(Failure::new(ErrorCode::UserExists, "this user id is taken")),
        };
        Ok(asks.iter().map(effect).collect())
    }
}

/// Counts sign-ups by address: each costs a hash, and makes a user for ever.
async fn count(
    conn: &mut Conn,
    context: &Context<'_>,
    asks: &[Ask<'_, wire::AddUser>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(rule) = context.sign_ups else { return Ok(()) };
    let mut counts: BTreeMap<String, i32> = BTreeMap::new();
    for ask in asks {
        let hashed = context.passwords.sign_ups.get(&ask.headers.request_id);
        if let (Some(Hashed::Hash(_)), Some(address)) = (hashed, address(ask)) {
            *counts.entry(address).or_default() += 1;
        }
    }
    let counted: Vec<Failures> =
        counts.into_iter().map(|(subject, count)| Failures { subject, count, rule }).collect();
    throttles::fail(conn, &counted, now).await
}

fn joined(request: &wire::AddUser, now: Timestamp) -> User {
    User {
        user_id: request.user_id.clone(),
        email: request.email.as_str().to_owned(),
        user_name: request.user_name.as_str().to_owned(),
        user_status: String::new(),
        join_date: now,
        login_date: None,
        logout_date: None,
    }
}
