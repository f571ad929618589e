//! A file per kind. Each says which rows its requests lock and what they do; the frame around it ([`stored`](super::stored))
//! sees to it that this happens once.

pub(super) mod add_chat;
mod add_friend;
mod add_room;
mod add_user;
mod change_status;
mod leave_room;
mod list_friends;
mod list_rooms;
mod login;
mod logout;

use std::{collections::HashMap, future::Future};

pub(crate) use add_chat::hot::batches;

use super::{
    hashing::Hashing,
    job::{Answer, Effect, Job},
    stored,
};
use crate::{
    ids::{RequestId, Timestamp},
    store::{Conn, Database, StoreError, throttles::Rule},
    wire::{Kind, OpeningKeys, Request, RequestHeaders},
};

/// A request of one kind with who asks.
#[derive(Debug)]
pub(super) struct Ask<'a, R> {
    pub(super) headers: &'a RequestHeaders,
    pub(super) request: &'a R,
}

impl<'a, R> Ask<'a, R> {
    /// The job's request, when it is of the handler's kind.
    pub(super) fn of<H: Handler<Request = R>>(job: &'a Job) -> Option<Self> {
        let request = H::pick(job.request.as_ref().ok()?)?;
        Some(Self { headers: &job.headers, request })
    }
}

/// What the work before the transaction found out.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// PostgreSQL's time as this process knows it; what changes state judges by the transaction's own.
    pub(super) now: Timestamp,
    /// How many may sign up from one address; `None`: as many as want to.
    pub(super) sign_ups: Option<Rule>,
    /// Login: what came of the password. AddUser: its hash.
    pub(super) passwords: &'a Passwords,
}

/// What became of the passwords of a batch, before its transaction.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    pub(super) logins: HashMap<RequestId, login::Checked>,
    pub(super) sign_ups: HashMap<RequestId, add_user::Hashed>,
}

impl Passwords {
    /// Whether the batch had none.
    pub(super) fn is_empty(&self) -> bool {
        self.logins.is_empty() && self.sign_ups.is_empty()
    }
}

/// A kind whose outcomes stand in the inbox.
pub(super) trait Handler {
    /// The value of its requests.
    type Request: 'static;
    /// The rows that it locked, as they were under the lock.
    type Locks: Send;

    /// The request, when it is of this kind.
    fn pick(request: &Request) -> Option<&Self::Request>;

    /// Takes the locks that the effects need: rooms before users, each in the order of keys.
    fn lock(
        conn: &mut Conn,
        asks: &[Ask<'_, Self::Request>],
    ) -> impl Future<Output = Result<Self::Locks, StoreError>> + Send;

    /// Does what is asked, each request seeing what the ones before it did, and gives an effect for each.
    fn apply(
        conn: &mut Conn,
        context: &Context<'_>,
        now: Timestamp,
        asks: &[Ask<'_, Self::Request>],
        locks: Self::Locks,
    ) -> impl Future<Output = Result<Vec<Effect>, StoreError>> + Send;
}

/// Runs a batch of one kind in the transaction of `conn`.
///
/// # Errors
/// When nothing of it may be committed.
pub(super) async fn run(
    kind: Kind,
    conn: &mut Conn,
    context: &Context<'_>,
    jobs: &[Job],
) -> Result<Vec<Answer>, StoreError> {
    match kind {
        Kind::Login => stored::run::<login::Login>(kind, conn, context, jobs).await,
        Kind::Logout => stored::run::<logout::Logout>(kind, conn, context, jobs).await,
        Kind::ListRooms => list_rooms::run(conn, context, jobs).await,
        Kind::ListFriends => list_friends::run(conn, context, jobs).await,
        Kind::AddUser => stored::run::<add_user::AddUser>(kind, conn, context, jobs).await,
        Kind::ChangeStatus => stored::run::<change_status::ChangeStatus>(kind, conn, context, jobs).await,
        Kind::AddRoom => stored::run::<add_room::AddRoom>(kind, conn, context, jobs).await,
        Kind::LeaveRoom => stored::run::<leave_room::LeaveRoom>(kind, conn, context, jobs).await,
        Kind::AddChat => add_chat::run(conn, jobs).await,
        Kind::AddFriend => stored::run::<add_friend::AddFriend>(kind, conn, context, jobs).await,
    }
}

/// What must be done with passwords before the transaction of a batch begins. Has no effect.
///
/// # Errors
/// When PostgreSQL fails.
pub(super) async fn prepare(
    kind: Kind,
    database: &Database,
    hashing: &Hashing,
    keys: &OpeningKeys,
    now: impl Fn() -> Timestamp + Sync,
    jobs: &[Job],
) -> Result<Passwords, StoreError> {
    let mut passwords = Passwords::default();
    match kind {
        Kind::Login => passwords.logins = login::check(database, hashing, keys, now, jobs).await?,
        Kind::AddUser => passwords.sign_ups = add_user::hash(database, hashing, keys, now, jobs).await?,
        _ => {}
    }
    Ok(passwords)
}
