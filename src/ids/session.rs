use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::InvalidId;

/// The secret in the browser's cookie: 256 random bits, base64url without padding. It never leaves the gateway;
/// everything else knows only its hash, the [`SessionKey`].
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; 32]);

impl SessionToken {
    /// A fresh token from the operating system's random source.
    ///
    /// # Errors
    /// When that source fails, which leaves no safe way on.
    pub fn fresh() -> Result<Self, rand::rngs::SysError> {
        let mut bytes = [0; 32];
        rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut bytes)?;
        Ok(Self(bytes))
    }

    /// The key that names this session everywhere but in the browser.
    pub fn key(&self) -> SessionKey {
        SessionKey(Sha256::digest(self.0).into())
    }

    /// The text for the cookie. Never log it.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl FromStr for SessionToken {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { what: "session token", rule: "must be 32 bytes in base64url" };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid.clone())?;
        bytes.try_into().map(Self).map_err(|_| invalid)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(hidden)")
    }
}

impl Drop for SessionToken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// SHA-256 of a [`SessionToken`], written as 64 hex digits: routes replies and names the session in the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionKey(pub [u8; 32]);

impl SessionKey {
    /// The first 8 hex digits: enough to tell sessions apart in a log, too few to be the key.
    pub fn prefix(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl FromStr for SessionKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { what: "session key", rule: "must be 64 lower-case hex digits" };
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(invalid);
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else { return Err(invalid) };
            *byte = high << 4 | low;
        }
        Ok(Self(key))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl TryFrom<String> for SessionKey {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<SessionKey> for String {
    fn from(key: SessionKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Written at once: this is done for every record.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_hash_of_the_token_and_both_parse_back() {
        let token = SessionToken::fresh().unwrap();
        let again: SessionToken = token.reveal().parse().unwrap();
        assert_eq!(token.key(), again.key());
        assert_eq!(token.key().to_string().parse::<SessionKey>().unwrap(), token.key());
        assert_eq!(format!("{token:?}"), "SessionToken(hidden)");
    }

    #[test]
    fn a_key_is_written_in_lower_case_digits() {
        let mut key = SessionKey([0; 32]);
        (key.0[0], key.0[1], key.0[31]) = (0x01, 0xaf, 0xf0);
        assert_eq!(key.to_string(), format!("01af{}f0", "0".repeat(58)));
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in ["", "00", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<SessionKey>().is_err(), "{text:?}");
        }
    }
}
