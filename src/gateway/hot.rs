//! The gateway's part of [`crate::hot`].

use std::hint::black_box;

pub(crate) use super::hub::hot::{event_in, fan_out};
use super::sse::{Cursor, Epoch};
use crate::wire::hot::good;

/// Writes and reads a cursor of twelve partitions.
pub(crate) fn cursor(rounds: u32) -> u32 {
    let epoch = Epoch::new("cluster", "topic");
    let same = |n: u32| {
        let next = [300_000_000_000 + i64::from(n); 12];
        let text = Cursor::text(epoch, black_box(&next), 0);
        matches!(Cursor::parse(black_box(&text)), Some(Cursor::Offsets { next: read, .. }) if read == next)
    };
    good(rounds, same)
}
