//! What holds for every cursor and every HTTP request, whoever made it. Tried by [`crate::fuzzing`].

pub(crate) use super::http::fuzzing::body;
use super::sse::{Cursor, Epoch};

/// The most bytes of a cursor: docs/protocol.md section 3.
const MOST: usize = 128;

/// Every property of cursors. The input is a text that a client brings, and, eight bytes each, offsets that a client is sent. Gives
/// whether the text reads as a cursor.
pub(crate) fn cursor(data: &[u8]) -> bool {
    an_offset_vector_is_told_in_full_or_as_a_time(data);
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Some(cursor) = Cursor::parse(text) else { return false };
    assert!(text.len() <= MOST, "an over-long cursor reads");
    assert_eq!(cursor.encode(), text, "what reads as a cursor is not what we send for it");
    true
}

fn an_offset_vector_is_told_in_full_or_as_a_time(data: &[u8]) {
    let number = |bytes: &[u8]| {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        // Never negative, and of any size.
        i64::from_le_bytes(eight) >> (bytes[7] & 63) & i64::MAX
    };
    let offsets: Vec<i64> = data.chunks_exact(8).map(number).collect();
    let Some((newest, offsets)) = offsets.split_first() else { return };
    let epoch = Epoch::new("cluster", "topic");
    let text = Cursor::text(epoch, offsets, *newest);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    assert!(text.len() <= MOST && text.bytes().all(legal), "{text}");
    match Cursor::parse(&text) {
        Some(Cursor::Offsets { epoch: same, next }) => assert_eq!((same, next), (epoch, offsets.to_vec())),
        Some(Cursor::Time { epoch: same, millis }) => {
            assert!(same == epoch && millis <= *newest, "{text} lies after {newest}");
            // Only when the offsets do not fit: each takes at least a byte of the 112 characters that are left.
            let shortest = Cursor::Offsets { epoch, next: offsets.to_vec() }.encode();
            assert!(shortest.len() > MOST, "{shortest} would have fitted");
        }
        None => unreachable!("what we send does not read: {text}"),
    }
}
