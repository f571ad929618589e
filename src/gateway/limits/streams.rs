use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;

use super::buckets::Buckets;
use crate::{
    gateway::settings::LimitArgs,
    ids::{SessionKey, UserId},
};

/// How long a refused stream waits at least, and at most however often it was refused.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);
/// New streams a second that are counted on where no limit is set.
const UNLIMITED: u32 = 2_000;

/// The streams that are open, by whom they count against. Touched when a stream opens, is identified and ends; never on the way of
/// an event.
#[derive(Debug)]
pub(super) struct Streams {
    counts: Arc<Mutex<Counts>>,
    connects: Buckets<()>,
    /// New streams that a gateway takes in a second.
    per_second: u32,
    most: Most,
    /// How often each session was refused of late: it waits longer each time.
    refused: Refusals,
}

#[derive(Debug, Clone)]
struct Refusals(Cache<SessionKey, u32>);

#[derive(Debug, Clone, Copy)]
struct Most {
    all: usize,
    per_address: usize,
    unknown_per_address: usize,
    per_user: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    unknown_by_address: HashMap<IpAddr, usize>,
    by_user: HashMap<UserId, usize>,
}

/// A stream's right to be. Given back when dropped. Cheap to clone; the last one counts.
#[derive(Debug, Clone)]
pub(crate) struct Permit(Arc<Held>);

#[derive(Debug)]
struct Held {
    counts: Arc<Mutex<Counts>>,
    refused: Refusals,
    session: SessionKey,
    address: IpAddr,
    /// `None` while the session is unknown.
    user: Mutex<Option<UserId>>,
    most: Most,
}

fn add<K: Hash + Eq>(map: &mut HashMap<K, usize>, key: K, most: usize) -> bool {
    let count = map.entry(key).or_default();
    let room = *count < most;
    *count += usize::from(room);
    room
}

fn sub<K: Hash + Eq>(map: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = map.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            map.remove(key);
        }
    }
}

impl Streams {
    pub(super) fn new(args: &LimitArgs) -> Self {
        let most = Most {
            all: args.max_streams,
            per_address: args.max_streams_per_address,
            unknown_per_address: args.max_unknown_streams_per_address,
            per_user: args.max_streams_per_user,
        };
        let refused = Refusals(Cache::builder().max_capacity(50_000).time_to_live(LONGEST * 2).build());
        let per_second = args.max_connects_per_second;
        Self { counts: Arc::default(), connects: Buckets::new(per_second), per_second, most, refused }
    }

    /// How long a browser waits before it comes back when its stream breaks: grows with the streams that are here, so that all
    /// of them, when this gateway breaks, come to the others no faster than one of those takes them.
    pub(super) fn retry(&self) -> Duration {
        let all = self.counts.lock().unwrap_or_else(PoisonError::into_inner).all;
        let per_second = if self.per_second == 0 { UNLIMITED } else { self.per_second };
        let spread = Duration::from_secs(u64::try_from(all).unwrap_or(u64::MAX)) / per_second;
        (SHORTEST + spread).min(LONGEST).mul_f64(rand::random_range(0.5..1.5))
    }

    /// Lets a stream in, as one of an unknown session; or says which limit it hit and how long it should stay away.
    pub(super) fn admit(
        &self,
        address: IpAddr,
        session: SessionKey,
    ) -> Result<Permit, (&'static str, Duration)> {
        if self.connects.take(()).is_err() {
            return Err(("connects_per_second", self.refused.wait(session)));
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.most.all {
            return Err(("streams", self.refused.wait(session)));
        }
        if !add(&mut counts.by_address, address, self.most.per_address) {
            return Err(("streams_per_address", self.refused.wait(session)));
        }
        if !add(&mut counts.unknown_by_address, address, self.most.unknown_per_address) {
            sub(&mut counts.by_address, &address);
            return Err(("unknown_streams_per_address", self.refused.wait(session)));
        }
        counts.all += 1;
        let counts = Arc::clone(&self.counts);
        let (refused, user) = (self.refused.clone(), Mutex::default());
        Ok(Permit(Arc::new(Held { counts, refused, session, address, user, most: self.most })))
    }
}

impl Refusals {
    /// Doubles with each refusal, and differs between clients, who would else come back together.
    fn wait(&self, session: SessionKey) -> Duration {
        let times = self.0.get(&session).unwrap_or(0);
        self.0.insert(session, times + 1);
        let wait = SHORTEST * 2_u32.saturating_pow(times.min(8));
        wait.min(LONGEST).mul_f64(rand::random_range(0.5..1.5))
    }
}

impl Permit {
    /// How long the browser should stay away, when it turns out that the stream may not be.
    pub(crate) fn wait(&self) -> Duration {
        self.0.refused.wait(self.0.session)
    }

    /// The stream's session is this user's: it counts against them from now on, and no longer as unknown. `false` when they have
    /// too many.
    pub(crate) fn belongs_to(&self, user: &UserId) -> bool {
        let held = &self.0;
        let mut known = held.user.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return true;
        }
        let mut counts = held.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if !add(&mut counts.by_user, user.clone(), held.most.per_user) {
            return false;
        }
        sub(&mut counts.unknown_by_address, &held.address);
        *known = Some(user.clone());
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let known = self.user.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        sub(&mut counts.by_address, &self.address);
        match &*known {
            Some(user) => sub(&mut counts.by_user, user),
            None => sub(&mut counts.unknown_by_address, &self.address),
        }
    }
}
