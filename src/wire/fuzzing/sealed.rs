use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_box::aead::rand_core::{CryptoRng, Error, RngCore};
use serde_json::value::RawValue;

use crate::{
    ids::{RequestId, UserId},
    wire::{
        Password, SealedPassword,
        sealing::{OpeningKeys, SealingKeys, sides},
    },
};

/// Every property of sealed passwords. The input: a user, a request id, what the rest is (`password`, `content` or `box`), a line
/// each, and the rest. Gives whether a password came out.
pub(crate) fn sealed(data: &[u8]) -> bool {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (Some(user), Some(id), Some(what)) = (line(), line(), line()) else { return false };
    let (Ok(user), Ok(id)) = (user.parse::<UserId>(), id.parse::<RequestId>()) else { return false };
    let rest = parts.next().unwrap_or_default();
    let (sealing, opening) = sides([7; 32]);
    let seed = data.iter().fold(1_u64, |n, byte| n * 31 % 0xffff_fffb + u64::from(*byte));
    let random = &mut Repeated(seed | 1);
    match what {
        "password" => a_password_comes_out_for_its_request_only(&sealing, &opening, &user, id, rest, random),
        "content" => {
            let Ok(sealed) = sealing.seal_bytes(rest, random) else { return false };
            opens_only_what_is_of_this_request(&opening, &sealed, &user, id, rest)
        }
        _ => {
            for text in [STANDARD.encode(rest), String::from_utf8_lossy(rest).into_owned()] {
                let sealed = SealedPassword { key_id: "s1".to_owned(), sealed: text };
                assert!(opening.open(&sealed, &user, id).is_err(), "a box that nobody sealed opens");
            }
            false
        }
    }
}

fn a_password_comes_out_for_its_request_only(
    sealing: &SealingKeys,
    opening: &OpeningKeys,
    user: &UserId,
    id: RequestId,
    rest: &[u8],
    random: &mut Repeated,
) -> bool {
    let Some(password) = String::from_utf8(rest.to_vec()).ok().and_then(|text| Password::try_from(text).ok())
    else {
        return false;
    };
    let Ok(sealed) = sealing.seal_with(&password, user, id, random) else { return false };
    let opened = opening.open(&sealed, user, id);
    assert!(opened.is_ok_and(|opened| opened.reveal() == password.reveal()), "another password came out");
    let other_id = RequestId(uuid::Uuid::from_u128(id.0.as_u128() ^ 1));
    assert!(opening.open(&sealed, user, other_id).is_err(), "a password opens for another request");
    if let Ok(other) = format!("{}x", &user.as_str()[1..]).parse::<UserId>()
        && other != *user
    {
        assert!(opening.open(&sealed, &other, id).is_err(), "a password opens for another user");
    }
    // Every byte of the text matters, and every bit of the box; one of each is tried at a time.
    let at = usize::try_from(random.next_u32()).unwrap_or(0);
    let mut text = sealed.sealed.clone().into_bytes();
    let place = at % text.len();
    text[place] ^= 1 << (at % 7);
    let mut changed = vec![String::from_utf8_lossy(&text).into_owned()];
    if let Ok(mut bytes) = STANDARD.decode(&sealed.sealed) {
        let place = at % bytes.len();
        bytes[place] ^= 1 << (at / bytes.len() % 8);
        changed.push(STANDARD.encode(&bytes));
        changed.push(STANDARD.encode(&bytes[..place]));
        changed.push(STANDARD.encode([&bytes[..], &[0]].concat()));
    }
    for sealed in changed {
        let sealed = SealedPassword { key_id: "s1".to_owned(), sealed };
        assert!(opening.open(&sealed, user, id).is_err(), "a changed box opens: {}", sealed.sealed);
    }
    true
}

/// Whatever was sealed: what opens says itself, to somebody who reads it in another way, that it is of this request.
fn opens_only_what_is_of_this_request(
    opening: &OpeningKeys,
    sealed: &SealedPassword,
    user: &UserId,
    id: RequestId,
    content: &[u8],
) -> bool {
    let Ok(password) = opening.open(sealed, user, id) else { return false };
    // Fields that nobody asks for may be no UTF-8, and no Unicode either.
    let fields: HashMap<String, Box<RawValue>> =
        serde_json::from_str(&String::from_utf8_lossy(content)).unwrap_or_default();
    let text = |name: &str| {
        let raw = fields.get(name).map_or("", |raw| raw.get());
        serde_json::from_str::<String>(raw).unwrap_or_default()
    };
    assert_eq!(text("userId").to_ascii_lowercase(), user.as_str());
    assert_eq!(uuid::Uuid::parse_str(&text("requestId")).ok(), Some(id.0));
    assert_eq!(text("password"), password.reveal());
    assert!((8..=128).contains(&password.reveal().chars().count()), "a password of no legal length");
    true
}

/// The same random bytes for the same input, so that what was found is found again.
struct Repeated(u64);

impl RngCore for Repeated {
    fn next_u32(&mut self) -> u32 {
        u32::try_from(self.next_u64() >> 32).unwrap_or(0)
    }

    /// Marsaglia's xorshift64*.
    fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Repeated {}
