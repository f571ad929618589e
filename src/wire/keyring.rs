use std::{collections::BTreeMap, fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

pub(super) type HmacSha256 = Hmac<Sha256>;

/// A file of keys: `{"active": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}`. Several keys stand in it while they rotate:
/// all of them verify or open, the active one signs or seals.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyFile {
    /// The key that new records use.
    pub active: String,
    /// All keys by id.
    pub keys: BTreeMap<String, String>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("active", &self.active).finish_non_exhaustive()
    }
}

/// Why a key file cannot be used. Says nothing of its content but key ids.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no key file.
    #[error(
        "{path} is not a key file: it must hold {{\"active\": ID, \"keys\": {{ID: base64 of 32 bytes}}}}"
    )]
    Shape {
        /// Which file.
        path: String,
    },
    /// A key is not 32 bytes of base64.
    #[error("key {id:?} in {path} is not 32 bytes in base64")]
    Key {
        /// Which file.
        path: String,
        /// Which key.
        id: String,
    },
    /// The active key is not among the keys.
    #[error("the active key {id:?} of {path} is not among its keys")]
    Active {
        /// Which file.
        path: String,
        /// Which key.
        id: String,
    },
}

impl KeyFile {
    /// Reads a file into its active id and the raw keys.
    ///
    /// # Errors
    /// When it cannot be read or is not such a file.
    pub(super) fn load(path: &Path) -> Result<(String, BTreeMap<String, [u8; 32]>), KeyFileError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => Self::parse(&text, &name),
            Err(source) => Err(KeyFileError::Read { path: name, source }),
        }
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// When it is not that of a key file.
    pub(super) fn parse(
        text: &str,
        path: &str,
    ) -> Result<(String, BTreeMap<String, [u8; 32]>), KeyFileError> {
        let name = || path.to_owned();
        let file = serde_json::from_str::<Self>(text).map_err(|_| KeyFileError::Shape { path: name() })?;
        let mut keys = BTreeMap::new();
        for (id, mut encoded) in file.keys {
            let decoded =
                STANDARD.decode(encoded.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            encoded.zeroize();
            let Some(key) = decoded else { return Err(KeyFileError::Key { path: name(), id }) };
            keys.insert(id, key);
        }
        if !keys.contains_key(&file.active) {
            return Err(KeyFileError::Active { path: name(), id: file.active });
        }
        Ok((file.active, keys))
    }

    /// A file with one key, for its first making.
    pub fn single(id: &str, key: &[u8; 32]) -> Self {
        Self { active: id.to_owned(), keys: BTreeMap::from([(id.to_owned(), STANDARD.encode(key))]) }
    }
}

/// Keys that sign and verify records. Each holds its HMAC state ready, so that a record costs no key schedule.
#[derive(Clone)]
pub struct Keyring {
    active_id: String,
    active: HmacSha256,
    all: BTreeMap<String, HmacSha256>,
}

impl Keyring {
    /// Reads `request-keys.json` or `reply-keys.json`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let (active_id, keys) = KeyFile::load(path)?;
        Self::build(active_id, keys).ok_or_else(|| KeyFileError::Shape { path: path.display().to_string() })
    }

    pub(super) fn build(active_id: String, keys: BTreeMap<String, [u8; 32]>) -> Option<Self> {
        let mut all = BTreeMap::new();
        for (id, mut key) in keys {
            all.insert(id, HmacSha256::new_from_slice(&key).ok()?);
            key.zeroize();
        }
        Some(Self { active: all.get(&active_id)?.clone(), active_id, all })
    }

    /// The id of the key that signs.
    pub fn active_id(&self) -> &str {
        &self.active_id
    }

    pub(super) fn active(&self) -> &HmacSha256 {
        &self.active
    }

    pub(super) fn get(&self, id: &str) -> Option<&HmacSha256> {
        self.all.get(id)
    }

    /// A keyed hash of a peer's address under the active key: 32 hex digits. It tells addresses apart for the throttle
    /// without writing them down.
    pub fn address_hash(&self, address: std::net::IpAddr) -> String {
        use hmac::Mac as _;
        let mut mac = self.active.clone();
        mac.update(b"parley-v1-address");
        mac.update(address.to_canonical().to_string().as_bytes());
        mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A ring of one key.
    #[cfg(test)]
    pub(crate) fn for_tests(id: &str, key: [u8; 32]) -> Self {
        Self::build(id.to_owned(), BTreeMap::from([(id.to_owned(), key)])).unwrap()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("active", &self.active_id).finish_non_exhaustive()
    }
}
