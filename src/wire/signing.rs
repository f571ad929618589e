//! HMAC-SHA256 (RFC 2104) over a domain and length-prefixed fields: docs/protocol.md section 1, "Signed input".

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;
use sha2::{Digest as _, Sha256};

use super::{Keyring, keyring::HmacSha256};

/// What kind of record is signed; a signature of one is never one of another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Domain {
    Request,
    Reply,
    Event,
}

impl Domain {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Request => b"parley-v1-request",
            Self::Reply => b"parley-v1-reply",
            Self::Event => b"parley-v1-event",
        }
    }
}

/// Signs with the active key: base64url without padding.
pub(super) fn sign(keys: &Keyring, domain: Domain, fields: &[Option<&[u8]>], value: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(mac(keys.active(), domain, fields, value).finalize().into_bytes())
}

/// Whether the signature is right under the key that the record names. Takes the same time for right and wrong.
pub(super) fn verify(
    keys: &Keyring,
    key_id: &str,
    signature: &[u8],
    domain: Domain,
    fields: &[Option<&[u8]>],
    value: &[u8],
) -> bool {
    let Some(key) = keys.get(key_id) else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    mac(key, domain, fields, value).verify_slice(&signature).is_ok()
}

fn mac(key: &HmacSha256, domain: Domain, fields: &[Option<&[u8]>], value: &[u8]) -> HmacSha256 {
    let mut mac = key.clone();
    let mut put = |field: Option<&[u8]>| {
        // Absent is 2^32−1, which no field is long enough to be.
        let length = field.map_or(u32::MAX, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1));
        mac.update(&length.to_be_bytes());
        mac.update(field.unwrap_or_default());
    };
    put(Some(domain.as_bytes()));
    for field in fields {
        put(*field);
    }
    put(Some(&Sha256::digest(value)));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes spelled out once, so that an independent implementation can be held against them.
    #[test]
    fn the_signed_input_is_what_the_contract_says() {
        let keys = Keyring::for_tests("k1", [7; 32]);
        let signature = sign(&keys, Domain::Request, &[Some(b"topic"), None, Some(b"")], b"{}");
        let mut input = Vec::new();
        input.extend(17_u32.to_be_bytes());
        input.extend(b"parley-v1-request");
        input.extend(5_u32.to_be_bytes());
        input.extend(b"topic");
        input.extend([0xff; 4]);
        input.extend([0; 4]);
        input.extend(32_u32.to_be_bytes());
        input.extend(Sha256::digest(b"{}"));
        let mut by_hand = keys.active().clone();
        by_hand.update(&input);
        assert_eq!(signature, URL_SAFE_NO_PAD.encode(by_hand.finalize().into_bytes()));
    }

    #[test]
    fn any_change_breaks_it() {
        let keys = Keyring::for_tests("k1", [7; 32]);
        let fields: [Option<&[u8]>; 2] = [Some(b"ab"), Some(b"c")];
        let signature = sign(&keys, Domain::Reply, &fields, b"{}");
        let ok = |id, sig: &str, domain, fields: &[Option<&[u8]>], value| {
            verify(&keys, id, sig.as_bytes(), domain, fields, value)
        };
        assert!(ok("k1", &signature, Domain::Reply, &fields, b"{}"));
        assert!(!ok("k2", &signature, Domain::Reply, &fields, b"{}"));
        assert!(!ok("k1", &signature, Domain::Event, &fields, b"{}"));
        assert!(!ok("k1", &signature, Domain::Reply, &[Some(b"a"), Some(b"bc")], b"{}"));
        assert!(!ok("k1", &signature, Domain::Reply, &fields, b"{ }"));
        assert!(!ok("k1", &signature[1..], Domain::Reply, &fields, b"{}"));
        assert!(!ok("k1", "", Domain::Reply, &fields, b"{}"));
    }
}
