use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use futures::future::join_all;

use super::{Ask, Context, Handler};
use crate::{
    ids::{RequestId, Timestamp, UserId},
    store::{
        Conn, Database, SILENCE, StoreError, answered, inbox, sessions,
        throttles::{self, Failures, Rule},
        users::{self, UserRow},
    },
    wire::{self, Body, ErrorCode, Failure, OpeningKeys, Request},
    worker::{
        hashing::{Hashing, Verdict},
        job::{Effect, Job, late},
    },
};

/// Checks the password, opens a session.
pub(in crate::worker) struct Login;

/// What came of one password before the transaction.
#[derive(Debug, Clone)]
pub(in crate::worker) enum Checked {
    /// It is the right one. With the stored hash and a fresh one when that is to be replaced.
    Right(Option<(String, String)>),
    /// It is not, or there is no such user.
    Wrong,
    /// Its box cannot be opened, or belongs to another request.
    Unopened,
    /// The deadline passed before it was looked at.
    Late,
    /// Its account or its address failed too often: not looked at before this time.
    Throttled(Timestamp),
    /// It could not be hashed now.
    Unavailable,
}

/// Five wrong passwords are free; from then on an account waits, up to a minute: enough against guessing, too little to lock
/// its owner out.
const ACCOUNT: Rule = Rule { free: 5, most: Duration::from_secs(60), forget: Duration::from_secs(24 * 3600) };
/// An address may be that of many people; and it has no owner to be locked out.
const ADDRESS: Rule =
    Rule { free: 20, most: Duration::from_secs(15 * 60), forget: Duration::from_secs(24 * 3600) };

fn account(ask: &Ask<'_, wire::Login>) -> String {
    format!("user:{}", ask.request.user_id)
}

fn address(ask: &Ask<'_, wire::Login>) -> Option<String> {
    ask.headers.client_address.as_ref().map(|address| format!("address:{address}"))
}

/// Opens and verifies the passwords of a batch, side by side. Requests whose outcome is stored already are left out.
pub(super) async fn check(
    database: &Database,
    hashing: &Hashing,
    keys: &OpeningKeys,
    now: impl Fn() -> Timestamp + Sync,
    jobs: &[Job],
) -> Result<HashMap<RequestId, Checked>, StoreError> {
    let asks: Vec<Ask<'_, wire::Login>> = jobs.iter().filter_map(Ask::of::<Login>).collect();
    let ids: Vec<RequestId> = asks.iter().map(|ask| ask.headers.request_id).collect();
    let names: Vec<&UserId> = asks.iter().map(|ask| &ask.request.user_id).collect();
    let subjects: Vec<String> =
        asks.iter().flat_map(|ask| [Some(account(ask)), address(ask)]).flatten().collect();
    let looking_up = async {
        // The connection goes back before the hashing, which takes longer than all of PostgreSQL's part.
        let mut conn = database.connection().await?;
        Ok((
            inbox::look_up(&mut conn, &ids).await?,
            users::password_hashes(&mut conn, &names).await?,
            throttles::blocked(&mut conn, &subjects).await?,
        ))
    };
    let (known, hashes, blocked) = answered(SILENCE, looking_up).await?;
    let check = async |ask: &Ask<'_, wire::Login>| {
        let (id, user) = (ask.headers.request_id, &ask.request.user_id);
        if ask.headers.deadline <= now() {
            return (id, Checked::Late);
        }
        let until = blocked.get(&account(ask)).max(address(ask).and_then(|address| blocked.get(&address)));
        if let Some(until) = until {
            return (id, Checked::Throttled(*until));
        }
        let Ok(password) = keys.open(&ask.request.sealed_password, user, id) else {
            return (id, Checked::Unopened);
        };
        let stored = hashes.get(user).cloned();
        let checked = match hashing.verify(password, stored.clone()).await {
            Ok(Verdict::Right(fresh)) => Checked::Right(stored.zip(fresh)),
            Ok(Verdict::Wrong) => Checked::Wrong,
            Err(_) => Checked::Unavailable,
        };
        (id, checked)
    };
    let answered = |ask: &&Ask<'_, wire::Login>| {
        known.stored.get(&ask.headers.request_id).is_none_or(|stored| stored.gives_way)
    };
    Ok(join_all(asks.iter().filter(answered).map(check)).await.into_iter().collect())
}

/// One answer for a wrong password and for an unknown user.
fn wrong() -> Failure {
    Failure::new(ErrorCode::WrongCredentials, "user id or password is wrong")
}

impl Handler for Login {
    type Request = wire::Login;
    /// The users' rows: a logout everywhere comes before or after, never in between.
    type Locks = HashMap<UserId, UserRow>;

    fn pick(request: &Request) -> Option<&wire::Login> {
        if let Request::Login(login) = request { Some(login) } else { None }
    }

    async fn lock(conn: &mut Conn, asks: &[Ask<'_, wire::Login>]) -> Result<Self::Locks, StoreError> {
        let names: Vec<&UserId> = asks.iter().map(|ask| &ask.request.user_id).collect();
        users::lock(conn, &names).await
    }

    async fn apply(
        conn: &mut Conn,
        context: &Context<'_>,
        now: Timestamp,
        asks: &[Ask<'_, wire::Login>],
        mut locks: Self::Locks,
    ) -> Result<Vec<Effect>, StoreError> {
        let mut used = HashSet::new();
        let mut opening = Vec::new();
        let mut rehash = Vec::new();
        for ask in asks {
            let user = &ask.request.user_id;
            match context.passwords.logins.get(&ask.headers.request_id) {
                Some(Checked::Right(fresh)) if locks.contains_key(user) => {
                    if used.insert(ask.headers.session_key) {
                        opening.push((ask.headers.session_key, user));
                    }
                    rehash.extend(fresh.iter().map(|(old, new)| (user, old.as_str(), new.as_str())));
                }
                Some(_) => {}
                // Its outcome stood in the inbox when the passwords were checked, and does not any more.
                None => return Err(StoreError::Conflict("a login has not been checked".to_owned())),
            }
        }
        let mut opened = sessions::open(conn, &opening, now).await?;
        users::rehash(conn, &rehash).await?;
        count(conn, context, asks, now).await?;
        let mut effects = Vec::with_capacity(asks.len());
        for ask in asks {
            let checked = context.passwords.logins.get(&ask.headers.request_id);
            let row = locks.get_mut(&ask.request.user_id);
            effects.push(match (checked, row) {
                (Some(Checked::Right(_)), Some(row)) if opened.remove(&ask.headers.session_key) => {
                    row.login_date = Some(now);
                    Effect::done(Body::User { user: row.to_wire() })
                }
                (Some(Checked::Right(_)), Some(_)) => Effect::refused(Failure::new(
                    ErrorCode::Unauthenticated,
                    "this session has ended already; log in again",
                )),
                (Some(Checked::Unopened), _) => Effect::refused(Failure::new(
                    ErrorCode::InvalidRequest,
                    "the sealed password cannot be opened",
                )),
                (Some(Checked::Late), _) => Effect::refused(late()),
                (Some(Checked::Throttled(until)), _) => Effect::refused(too_often(*until, now)),
                (Some(Checked::Unavailable), _) => Effect::refused(unavailable()),
                _ => Effect::refused(wrong()),
            });
        }
        let changed: Vec<&UserRow> = locks.values().filter(|row| row.login_date == Some(now)).collect();
        users::set(conn, &changed).await?;
        Ok(effects)
    }
}

/// Counts the wrong passwords of a batch, and forgets those of accounts that were opened with the right one.
async fn count(
    conn: &mut Conn,
    context: &Context<'_>,
    asks: &[Ask<'_, wire::Login>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let checked = |ask: &Ask<'_, wire::Login>| context.passwords.logins.get(&ask.headers.request_id);
    let mut counts: BTreeMap<String, (i32, Rule)> = BTreeMap::new();
    let mut right = Vec::new();
    for ask in asks {
        match checked(ask) {
            Some(Checked::Wrong) => {
                counts.entry(account(ask)).or_insert((0, ACCOUNT)).0 += 1;
                if let Some(address) = address(ask) {
                    counts.entry(address).or_insert((0, ADDRESS)).0 += 1;
                }
            }
            Some(Checked::Right(_)) => right.push(account(ask)),
            _ => {}
        }
    }
    throttles::clear(conn, &right).await?;
    let failures: Vec<Failures> =
        counts.into_iter().map(|(subject, (count, rule))| Failures { subject, count, rule }).collect();
    throttles::fail(conn, &failures, now).await
}

/// Answered at once, never delayed inside the partition: others wait behind it.
pub(super) fn too_often(until: Timestamp, now: Timestamp) -> Failure {
    let seconds = (until.as_micros() - now.as_micros()).max(0) / 1_000_000 + 1;
    let mut failure = Failure::new(ErrorCode::RateLimited, "too many tries; wait a while");
    failure.retry_after = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
    failure
}

/// No thread or no memory for a hash.
pub(super) fn unavailable() -> Failure {
    Failure::new(ErrorCode::Unavailable, "passwords cannot be checked now; try again")
}
