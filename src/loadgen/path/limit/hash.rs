use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::task;

use super::super::{PathError, round};

/// How long passwords are verified.
#[derive(Debug, Clone, clap::Args)]
pub struct HashArgs {
    /// Threads side by side: as many as the worker has for it, which is half of the cores
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
}

/// argon2 alone.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashReport {
    /// Threads.
    pub threads: u32,
    /// Passwords that were verified.
    pub hashes: u64,
    /// Passwords a second.
    pub per_second: f64,
}

/// A stored hash of this password with the worker's parameters: the library's defaults, which are OWASP's (19 MiB, t=2, p=1).
pub(in crate::loadgen::path) fn stored(password: &str) -> Result<String, PathError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| PathError::Shape("passwords cannot be hashed here"))
}

/// Verifies passwords and does nothing else.
///
/// # Errors
/// When there is no memory for a hash.
pub async fn run_hash(args: &HashArgs) -> Result<HashReport, PathError> {
    let stored = stored("a generated password")?;
    let (threads, span) = (args.threads, Duration::from_secs(u64::from(args.seconds)));
    let (hashes, seconds) = task::spawn_blocking(move || {
        let (count, start) = (AtomicU64::new(0), Instant::now());
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while start.elapsed() < span && verify("a generated password", &stored) {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        (count.into_inner(), start.elapsed().as_secs_f64())
    })
    .await?;
    if hashes == 0 {
        return Err(PathError::Shape("no password was verified"));
    }
    Ok(HashReport { threads, hashes, per_second: round(hashes as f64 / seconds) })
}

fn verify(password: &str, stored: &str) -> bool {
    PasswordHash::new(stored)
        .is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
}
