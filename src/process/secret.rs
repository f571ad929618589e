use std::{fmt, path::Path};

use zeroize::Zeroizing;

/// The environment variables that hold secrets themselves. They are no flags: a flag shows in the process list.
pub(super) const ENVIRONMENT: &[&str] = &["PARLEY_DATABASE_URL", "PARLEY_KAFKA_PASSWORD"];

/// A secret setting: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Why a secret could not be read. Names the place, never the content.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {path}, which should hold a secret: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Two places name it.
    #[error("both {env} and a file are given for one secret; give one of them")]
    Both {
        /// The variable.
        env: &'static str,
    },
}

impl Secret {
    /// Takes a secret from memory.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// From the file when one is named, else from the environment variable; `None` when there is neither.
    ///
    /// # Errors
    /// When the file cannot be read, or both are given.
    pub fn read(env: &'static str, file: Option<&Path>) -> Result<Option<Self>, SecretError> {
        debug_assert!(ENVIRONMENT.contains(&env), "{env} must be known as a secret");
        let from_env = std::env::var(env).ok().filter(|text| !text.is_empty()).map(Self::new);
        let Some(path) = file else { return Ok(from_env) };
        if from_env.is_some() {
            return Err(SecretError::Both { env });
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::Read { path: path.display().to_string(), source })?;
        Ok(Some(Self::new(text.trim_end_matches(['\r', '\n']).to_owned())))
    }

    /// The text. Never log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}
