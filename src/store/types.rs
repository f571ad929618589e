//! How the shared newtypes stand in columns and parameters.

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef},
};
use uuid::Uuid;

use crate::ids::{RequestId, RoomId, Seq, SessionKey, Timestamp, UserId};

/// Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01T00:00:00Z.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// `$id` travels as `$sql`, the Rust type of its column.
macro_rules! column {
    ($id:ty, $sql:ty, $array:ty, |$value:ident| $to:expr, |$raw:ident| $from:expr) => {
        impl Type<Postgres> for $id {
            fn type_info() -> PgTypeInfo {
                <$sql as Type<Postgres>>::type_info()
            }

            fn compatible(ty: &PgTypeInfo) -> bool {
                <$sql as Type<Postgres>>::compatible(ty)
            }
        }

        impl PgHasArrayType for $id {
            fn array_type_info() -> PgTypeInfo {
                <$array as PgHasArrayType>::array_type_info()
            }
        }

        impl Encode<'_, Postgres> for $id {
            fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let $value = self;
                <$sql as Encode<'_, Postgres>>::encode_by_ref(&$to, buf)
            }
        }

        impl<'r> Decode<'r, Postgres> for $id {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                let $raw = <$sql as Decode<'r, Postgres>>::decode(value)?;
                $from
            }
        }
    };
}

column!(RoomId, Uuid, Uuid, |id| id.0, |raw| Ok(Self(raw)));
column!(RequestId, Uuid, Uuid, |id| id.0, |raw| Ok(Self(raw)));
column!(Seq, i64, i64, |seq| seq.0, |raw| Ok(Self(raw)));
column!(UserId, &str, String, |id| id.as_str(), |raw| Ok(raw.parse()?));
column!(SessionKey, &[u8], Vec<u8>, |key| key.0.as_slice(), |raw| Ok(Self(raw.try_into()?)));

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("TIMESTAMPTZ")
    }
}

impl PgHasArrayType for Timestamp {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_TIMESTAMPTZ")
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<'_, Postgres>>::encode_by_ref(&self.as_micros().saturating_sub(POSTGRES_EPOCH), buf)
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let bytes: [u8; 8] = value.as_bytes()?.try_into()?;
                Ok(Self::from_micros(i64::from_be_bytes(bytes).saturating_add(POSTGRES_EPOCH)))
            }
            PgValueFormat::Text => Err("a time in PostgreSQL's text format".into()),
        }
    }
}
