use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many seconds' worth may be taken at once.
const BURST: f64 = 4.0;
/// Keys that one stripe remembers before it drops those whose bucket is full again.
const REMEMBERED: usize = 4_096;
const STRIPES: usize = 16;

/// A token bucket per key: `rate` a second, four seconds' worth at once. A rate of 0 means no limit.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: f64,
    hasher: RandomState,
    stripes: Vec<Mutex<HashMap<K, Bucket>>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Hash + Eq> Buckets<K> {
    pub(super) fn new(rate: u32) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { rate: f64::from(rate), hasher: RandomState::new(), stripes }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(&self, key: K) -> Result<(), Duration> {
        if self.rate == 0.0 {
            return Ok(());
        }
        let now = Instant::now();
        let full = self.rate * BURST;
        let mut buckets = self.stripe(&key);
        let level = |bucket: &Bucket| {
            (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * self.rate).min(full)
        };
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| level(bucket) < full);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: full, at: now });
        let tokens = level(bucket);
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / self.rate));
        }
        *bucket = Bucket { tokens: tokens - 1.0, at: now };
        Ok(())
    }

    /// Puts back a token that was taken and not needed.
    pub(super) fn give_back(&self, key: &K) {
        if let Some(bucket) = self.stripe(key).get_mut(key) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.rate * BURST);
        }
    }

    fn stripe(&self, key: &K) -> MutexGuard<'_, HashMap<K, Bucket>> {
        let stripe = usize::try_from(self.hasher.hash_one(key) % STRIPES as u64).unwrap_or(0);
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
