use std::process::ExitCode;

/// Why a process ends before it was asked to. One line for people: what happened, to what, what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exit {
    /// The settings cannot be used as they are: exit code 2. Trying again will not help.
    #[error("{0}")]
    Settings(String),
    /// Something failed: exit code 1.
    #[error("{0}")]
    Failure(String),
    /// The command has printed its answer; the exit code is a part of it.
    #[error("exit code {0}")]
    Code(u8),
}

impl Exit {
    /// The settings are wrong.
    pub fn settings(message: impl ToString) -> Self {
        Self::Settings(message.to_string())
    }

    /// Something failed.
    pub fn failure(message: impl ToString) -> Self {
        Self::Failure(message.to_string())
    }

    /// Prints the one line and gives the code.
    pub(super) fn report(&self) -> ExitCode {
        if !matches!(self, Self::Code(_)) {
            tracing::error!("{self}");
        }
        ExitCode::from(match self {
            Self::Settings(_) => 2,
            Self::Failure(_) => 1,
            Self::Code(code) => *code,
        })
    }
}

impl From<prometheus::Error> for Exit {
    fn from(error: prometheus::Error) -> Self {
        Self::Failure(format!("cannot register the metrics: {error}"))
    }
}
