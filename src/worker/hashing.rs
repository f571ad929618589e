use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Instant,
};

use argon2::{
    Argon2, Params,
    password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::{Semaphore, oneshot};

use super::metrics::WorkerMetrics;
use crate::wire::Password;

/// Passwords that may wait per thread, beside the one on it. More would only wait longer: a batch is twice the threads.
const WAITING_PER_THREAD: usize = 4;
/// How much nicer than everybody else the threads are (`nice(2)`): chat goes first.
const NICE: i32 = 10;

/// argon2id with OWASP's parameters (19 MiB, t=2, p=1) on threads of its own, at a lower priority, so that logins never
/// starve chat. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Hashing {
    work: mpsc::Sender<Work>,
    room: Arc<Semaphore>,
    width: usize,
    metrics: WorkerMetrics,
    /// The hash of a password that nobody knows: an unknown user costs the same time as a known one.
    nobody: Arc<str>,
}

/// What came of holding a password against a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the right one. With a fresh hash when the stored one was made with other parameters than today's.
    Right(Option<String>),
    /// It is not, or there is no such user.
    Wrong,
}

type Work = Box<dyn FnOnce() + Send>;

/// The threads are gone, or the machine has no memory for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("passwords cannot be hashed now")]
pub(super) struct NoHash;

impl Hashing {
    /// Starts the threads.
    pub(super) fn start(width: usize, metrics: WorkerMetrics) -> Result<Self, std::io::Error> {
        let (work, queue) = mpsc::channel::<Work>();
        let queue = Arc::new(Mutex::new(queue));
        for n in 0..width {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("hash-{n}")).spawn(move || serve(&queue))?;
        }
        let secret: [u8; 32] = rand::random();
        let nobody = hash(&secret).map_err(std::io::Error::other)?;
        let room = Arc::new(Semaphore::new(width * (1 + WAITING_PER_THREAD)));
        Ok(Self { work, room, width, metrics, nobody: nobody.into() })
    }

    /// How many passwords are hashed side by side.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Hashes a password into a PHC string.
    pub(super) async fn hash(&self, password: Password) -> Result<String, NoHash> {
        self.run(move || hash(password.reveal().as_bytes())).await?
    }

    /// Holds a password against a stored PHC string; `None` (an unknown user) takes as long and is wrong.
    pub(super) async fn verify(&self, password: Password, stored: Option<String>) -> Result<Verdict, NoHash> {
        let nobody = Arc::clone(&self.nobody);
        self.run(move || {
            let password = password.reveal().as_bytes();
            let Some(stored) = stored else {
                // Nobody knows that one; where it cannot be hashed, a known user's could not be either.
                verify(password, &nobody)?;
                return Ok(Verdict::Wrong);
            };
            if !verify(password, &stored)? {
                return Ok(Verdict::Wrong);
            }
            Ok(Verdict::Right(if outdated(&stored) { Some(hash(password)?) } else { None }))
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NoHash> {
        self.metrics.password_hash_queue.inc();
        let queue = self.metrics.password_hash_queue.clone();
        let counted = Counted(queue);
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| NoHash)?;
        let (done, result) = oneshot::channel();
        let duration = self.metrics.password_hash_duration_seconds.clone();
        let timed = move || {
            if done.is_closed() {
                return;
            }
            let start = Instant::now();
            let value = work();
            duration.observe(start.elapsed().as_secs_f64());
            // Held until here, whether somebody still waits or not.
            drop((counted, room));
            // Nobody waits any more when the partition went meanwhile.
            let _ = done.send(value);
        };
        self.work.send(Box::new(timed)).map_err(|_| NoHash)?;
        result.await.map_err(|_| NoHash)
    }
}

/// Leaves the queue's gauge when the wait ends, however it ends.
struct Counted(prometheus::IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn serve(queue: &Mutex<mpsc::Receiver<Work>>) {
    // Linux keeps the value per thread. Where it may not be changed, hashing is merely not nicer.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::warn!(%error, "password hashing runs at normal priority");
    }
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(work) => work(),
            Err(mpsc::RecvError) => return,
        }
    }
}

fn hash(password: &[u8]) -> Result<String, NoHash> {
    Argon2::default().hash_password(password).map(|hash| hash.to_string()).map_err(|_| NoHash)
}

/// Whether it is the password of this hash. It is none of a hash that cannot be read.
fn verify(password: &[u8], stored: &str) -> Result<bool, NoHash> {
    let Ok(parsed) = PasswordHash::new(stored) else { return Ok(false) };
    match Argon2::default().verify_password(password, &parsed) {
        Ok(()) => Ok(true),
        // The machine's fault, and no wrong password.
        Err(password_hash::Error::OutOfMemory) => Err(NoHash),
        Err(_) => Ok(false),
    }
}

/// Whether a hash was made with other parameters than those of today.
fn outdated(stored: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(stored) else { return false };
    let today = Params::default();
    let same = Params::try_from(&parsed).is_ok_and(|params| {
        (params.m_cost(), params.t_cost(), params.p_cost())
            == (today.m_cost(), today.t_cost(), today.p_cost())
    });
    !same || parsed.algorithm.as_str() != argon2::Algorithm::Argon2id.as_str()
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Version};

    use super::*;

    fn hashing() -> Hashing {
        Hashing::start(2, WorkerMetrics::register(&crate::process::metrics::Registry::new()).unwrap())
            .unwrap()
    }

    fn password(text: &str) -> Password {
        Password::try_from(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn right_wrong_and_nobody() {
        let hashing = hashing();
        let stored = hashing.hash(password("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let verdict = |text, stored: Option<&str>| hashing.verify(password(text), stored.map(str::to_owned));
        assert_eq!(verdict("correct horse", Some(&stored)).await, Ok(Verdict::Right(None)));
        assert_eq!(verdict("wrong horse", Some(&stored)).await, Ok(Verdict::Wrong));
        assert_eq!(verdict("correct horse", None).await, Ok(Verdict::Wrong));
        assert_eq!(verdict("correct horse", Some("not a hash")).await, Ok(Verdict::Wrong));
        assert_eq!(hashing.metrics.password_hash_queue.get(), 0);
    }

    #[tokio::test]
    async fn a_hash_with_older_parameters_is_made_anew() {
        let older = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1024, 1, 1, None).unwrap());
        let stored = older.hash_password(b"correct horse").unwrap().to_string();
        let verdict = hashing().verify(password("correct horse"), Some(stored)).await.unwrap();
        let Verdict::Right(Some(fresh)) = verdict else { panic!("{verdict:?}") };
        assert!(verify(b"correct horse", &fresh) == Ok(true) && !outdated(&fresh));
    }
}
