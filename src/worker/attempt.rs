use std::time::{Duration, Instant};

use super::{
    fault,
    handlers::{self, Context, Passwords},
    job::{Answer, Job},
    parts::Parts,
};
use crate::{
    process::trace::Span,
    store::{StoreError, answered},
    wire::Kind,
};

/// Why an attempt at a batch came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// In PostgreSQL.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks at the passwords of a batch, which has no effect. Empty for kinds that have none.
pub(super) async fn ready(
    parts: &Parts,
    span: &Span,
    kind: Kind,
    jobs: &[Job],
) -> Result<Passwords, StoreError> {
    let hashing = Instant::now();
    let now = || parts.clock.now();
    let passwords =
        handlers::prepare(kind, &parts.database, &parts.hashing, &parts.keys.seals, now, jobs).await?;
    if !passwords.is_empty() {
        parts.stage(span, "hash", hashing);
    }
    Ok(passwords)
}

/// Runs a batch once: passwords first, unless they are ready, then one transaction with everything that has an effect, for which
/// PostgreSQL may take so long.
pub(super) async fn attempt(
    parts: &Parts,
    span: &Span,
    kind: Kind,
    jobs: &[Job],
    passwords: Option<Passwords>,
    patience: Duration,
) -> Result<Vec<Answer>, Failed> {
    let passwords = match passwords {
        Some(passwords) => passwords,
        None => ready(parts, span, kind, jobs).await?,
    };
    fault::point("hash", kind);
    let start = Instant::now();
    let transaction = async {
        let mut tx = parts.database.begin().await?;
        fault::point("begin", kind);
        let context =
            Context { now: parts.clock.now(), sign_ups: parts.settings.sign_ups, passwords: &passwords };
        let answers = handlers::run(kind, &mut tx, &context, jobs).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(answers)
    };
    let answers = answered(patience, transaction).await?;
    parts.stage(span, "transaction", start);
    fault::point("committed", kind);
    Ok(answers)
}
