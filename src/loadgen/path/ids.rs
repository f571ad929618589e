use uuid::Uuid;

use crate::ids::{RequestId, Timestamp};

/// Request ids that say which message of a run they name, and look to an index like the gateway's (`UUIDv7`, RFC 9562 section
/// 5.7): first the time, then what is as good as random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids(u32);

/// Bits of the mark that tells runs apart.
const MARK: u32 = 30;

impl Ids {
    /// Ids of a new run.
    pub(super) fn fresh() -> Self {
        Self(rand::random::<u32>() >> (u32::BITS - MARK))
    }

    /// The id of message `n`, made at this time.
    pub(super) fn of(self, n: u32, at: Timestamp) -> RequestId {
        let millis = u128::try_from(at.as_micros() / 1_000).unwrap_or(0) & 0xffff_ffff_ffff;
        // Spreads the ids of one millisecond.
        let spread = u128::from(n.wrapping_mul(0x9e37_79b1) >> 20);
        let tail = u128::from(self.0) << 32 | u128::from(n);
        RequestId(Uuid::from_u128(millis << 80 | 7 << 76 | spread << 64 | 0b10 << 62 | tail))
    }

    /// Which message of this run an id names.
    pub(super) fn number(self, id: RequestId) -> Option<u32> {
        let bits = id.0.as_u128();
        let mark = (bits >> 32) as u32 & ((1 << MARK) - 1);
        let ours = mark == self.0 && bits >> 62 & 0b11 == 0b10 && bits >> 76 & 0xf == 7;
        ours.then_some(bits as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_their_message_and_are_version_7() {
        let ids = Ids(0x3abc_def0);
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        for n in [0, 1, 77_777, u32::MAX] {
            let id = ids.of(n, at);
            assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122), "{id:?}");
            let (seconds, nanos) = id.0.get_timestamp().unwrap().to_unix();
            assert_eq!((seconds, nanos), (1_700_000_000, 123_000_000));
            assert_eq!((ids.number(id), Ids(1).number(id)), (Some(n), None));
        }
        assert_eq!(ids.number(RequestId(Uuid::nil())), None);
    }
}
