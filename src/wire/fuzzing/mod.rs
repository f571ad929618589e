//! What holds for every record, sealed box and key file, whoever made it. Tried by [`crate::fuzzing`].

mod record;
mod sealed;

pub(crate) use record::record;
pub(crate) use sealed::sealed;

use super::{KeyFile, KeyFileError, Keyring};

/// The ring that signs in here: one key, `k1`.
pub(crate) fn keys() -> Keyring {
    let Some(ring) = super::hot::keys() else { unreachable!("32 bytes are a key") };
    ring
}

/// The text of a key file: its active id and its ids.
pub(crate) fn key_file(text: &str) -> Result<(String, Vec<String>), KeyFileError> {
    let (active, keys) = KeyFile::parse(text, "keys.json")?;
    Ok((active, keys.into_keys().collect()))
}

/// A password that stands in the committed inputs. No error may repeat it.
pub(crate) const CANARY: &str = "hunter2-hunter2";
