use std::time::Duration;

use sqlx::error::{DatabaseError, Error};

/// What went wrong in PostgreSQL, by what helps against it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, too slow, shutting down, or its schema is not there yet: the same thing may work later.
    #[error("PostgreSQL: {}", one_line(.0))]
    Transient(#[source] Error),
    /// No answer for so long. Nobody tells a client when what it says is swallowed on the way.
    #[error("PostgreSQL: no answer within {0:?}: not reachable, a standby, or all connections are busy")]
    Silent(Duration),
    /// Somebody else wrote the same row at the same time, or two transactions waited for each other: run it again, and
    /// what they wrote will be seen.
    #[error("PostgreSQL: a concurrent change: {0}")]
    Conflict(String),
    /// What was to be stored can never be: no retry mends it.
    #[error("PostgreSQL refused the data: {0}")]
    Refused(String),
    /// The address of the database is none.
    #[error("{0}")]
    Settings(String),
}

impl StoreError {
    /// Whether waiting helps.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::Silent(_))
    }

    /// A change by somebody else that only the statement's result shows.
    pub(super) fn conflict(what: &str) -> Self {
        Self::Conflict(what.to_owned())
    }

    /// A stored value that cannot be read back.
    pub(super) fn unreadable(what: &str, error: &impl std::fmt::Display) -> Self {
        Self::Refused(format!("{what} cannot be read back: {error}"))
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let Some(code) = error.as_database_error().and_then(DatabaseError::code) else {
            return match error {
                Error::Encode(cause) => Self::Refused(cause.to_string()),
                Error::ColumnDecode { index, source } => {
                    Self::Refused(format!("column {index} cannot be read: {source}"))
                }
                Error::Configuration(cause) => Self::Settings(cause.to_string()),
                other => Self::Transient(other),
            };
        };
        // Classes as in appendix A of PostgreSQL's manual. Everything that is not known to be the data's fault may pass.
        let conflict = matches!(code.as_ref(), "23505" | "40001" | "40P01");
        let refused = ["22", "23", "54"].iter().any(|class| code.starts_with(class));
        match error.as_database_error() {
            Some(cause) if conflict => Self::Conflict(cause.message().to_owned()),
            Some(cause) if refused => Self::Refused(cause.message().to_owned()),
            _ => Self::Transient(error),
        }
    }
}

/// sqlx's text without line breaks: it goes to `/readyz` and the log.
fn one_line(error: &Error) -> String {
    if matches!(error, Error::PoolTimedOut) {
        // sqlx keeps the reason to itself: it tried to connect all the while, or all connections were in use.
        return "not reachable, a standby, or all connections are busy".to_owned();
    }
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
