use std::{collections::BTreeMap, fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_box::{PublicKey, SecretKey, aead::rand_core::CryptoRngCore};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{KeyFile, KeyFileError};
use crate::ids::{InvalidId, RequestId, UserId};

/// A password on its way to a worker: an X25519 sealed box (libsodium's `crypto_box_seal`), base64, with the id of the key
/// that opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedPassword {
    /// Which of the workers' keys opens it.
    pub key_id: String,
    /// The box.
    #[serde(rename = "box")]
    pub sealed: String,
}

impl fmt::Debug for SealedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedPassword").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A password in the clear, between a request's body and its box, or between the box and its hash. Wiped when dropped,
/// never printed.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The text. Never log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Password {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let text = Zeroizing::new(text);
        if !(8..=128).contains(&text.chars().count()) {
            return Err(InvalidId { what: "password", rule: "must be 8 to 128 characters" });
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// What lies in the box. It binds the password to one request of one user.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    password: String,
    user_id: UserId,
    request_id: RequestId,
}

impl Drop for Content {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

/// Why a box was not sealed or not opened. Tells nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The operating system gave no random bytes.
    #[error("the password could not be sealed")]
    Seal,
    /// No key of that id.
    #[error("the password is sealed to a key that this worker does not have")]
    UnknownKey,
    /// Not a box, or one for another key.
    #[error("the sealed password cannot be opened")]
    Open,
    /// The box was made for another record.
    #[error("the sealed password belongs to another request")]
    Mismatch,
}

/// The gateway's side: public keys only.
#[derive(Debug, Clone)]
pub struct SealingKeys {
    active_id: String,
    active: PublicKey,
}

impl SealingKeys {
    /// Reads `seal-public.json`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let (active_id, keys) = KeyFile::load(path)?;
        let key = keys.get(&active_id).copied().unwrap_or_default();
        Ok(Self { active_id, active: PublicKey::from(key) })
    }

    /// Seals a password to one request of one user.
    ///
    /// # Errors
    /// When no random bytes are to be had.
    pub fn seal(
        &self,
        password: &Password,
        user_id: &UserId,
        request_id: RequestId,
    ) -> Result<SealedPassword, SealError> {
        self.seal_with(password, user_id, request_id, &mut crypto_box::aead::OsRng)
    }

    /// The same with random bytes from elsewhere.
    pub(super) fn seal_with(
        &self,
        password: &Password,
        user_id: &UserId,
        request_id: RequestId,
        random: &mut impl CryptoRngCore,
    ) -> Result<SealedPassword, SealError> {
        let content =
            Content { password: password.reveal().to_owned(), user_id: user_id.clone(), request_id };
        let plain = Zeroizing::new(serde_json::to_vec(&content).map_err(|_| SealError::Seal)?);
        self.seal_bytes(&plain, random)
    }

    /// Seals anything.
    pub(super) fn seal_bytes(
        &self,
        plain: &[u8],
        random: &mut impl CryptoRngCore,
    ) -> Result<SealedPassword, SealError> {
        let sealed = self.active.seal(random, plain).map_err(|_| SealError::Seal)?;
        Ok(SealedPassword { key_id: self.active_id.clone(), sealed: STANDARD.encode(sealed) })
    }
}

/// The worker's side: secret keys, all of which open. None by default: a worker of kinds without passwords opens nothing.
#[derive(Clone, Default)]
pub struct OpeningKeys(BTreeMap<String, SecretKey>);

impl OpeningKeys {
    /// Reads `seal-private.json`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let (_, keys) = KeyFile::load(path)?;
        Ok(Self(keys.into_iter().map(|(id, key)| (id, SecretKey::from(key))).collect()))
    }

    /// Opens a box and checks that it was made for this record.
    ///
    /// # Errors
    /// When the key is unknown, the box is none, or it was made for another user or request.
    pub fn open(
        &self,
        sealed: &SealedPassword,
        user_id: &UserId,
        request_id: RequestId,
    ) -> Result<Password, SealError> {
        let key = self.0.get(&sealed.key_id).ok_or(SealError::UnknownKey)?;
        let sealed = STANDARD.decode(&sealed.sealed).map_err(|_| SealError::Open)?;
        let plain = Zeroizing::new(key.unseal(&sealed).map_err(|_| SealError::Open)?);
        let mut content: Content = serde_json::from_slice(&plain).map_err(|_| SealError::Open)?;
        if content.user_id != *user_id || content.request_id != request_id {
            return Err(SealError::Mismatch);
        }
        Password::try_from(std::mem::take(&mut content.password)).map_err(|_| SealError::Open)
    }
}

impl fmt::Debug for OpeningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A fresh X25519 pair: (public, secret), 32 bytes each.
pub fn generate_seal_pair() -> ([u8; 32], Zeroizing<[u8; 32]>) {
    let secret = SecretKey::generate(&mut crypto_box::aead::OsRng);
    (secret.public_key().to_bytes(), Zeroizing::new(secret.to_bytes()))
}

/// Both sides of one key.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn sides(secret: [u8; 32]) -> (SealingKeys, OpeningKeys) {
    let secret = SecretKey::from(secret);
    let sealing = SealingKeys { active_id: "s1".to_owned(), active: secret.public_key() };
    (sealing, OpeningKeys(BTreeMap::from([("s1".to_owned(), secret)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (SealingKeys, OpeningKeys) {
        sides(*generate_seal_pair().1)
    }

    #[test]
    fn opens_only_for_its_own_record() {
        let (sealing, opening) = pair();
        let (bob, amy): (UserId, UserId) = ("bob".parse().unwrap(), "amy".parse().unwrap());
        let (id, other) = (RequestId::fresh(), RequestId::fresh());
        let password = Password::try_from("correct horse".to_owned()).unwrap();
        let sealed = sealing.seal(&password, &bob, id).unwrap();
        assert_eq!(opening.open(&sealed, &bob, id).unwrap().reveal(), "correct horse");
        assert_eq!(opening.open(&sealed, &amy, id).unwrap_err(), SealError::Mismatch);
        assert_eq!(opening.open(&sealed, &bob, other).unwrap_err(), SealError::Mismatch);
        assert_eq!(pair().1.open(&sealed, &bob, id).unwrap_err(), SealError::Open);
        let unknown = SealedPassword { key_id: "s2".into(), ..sealed.clone() };
        assert_eq!(opening.open(&unknown, &bob, id).unwrap_err(), SealError::UnknownKey);
        assert_ne!(sealed, sealing.seal(&password, &bob, id).unwrap(), "each box has its own ephemeral key");
    }

    #[test]
    fn passwords_are_bounded_and_never_printed() {
        assert!(Password::try_from("1234567".to_owned()).is_err());
        assert!(Password::try_from("x".repeat(129)).is_err());
        let password = Password::try_from("비밀번호비밀번호".to_owned()).unwrap();
        assert_eq!(format!("{password:?}"), "Password(hidden)");
    }
}
