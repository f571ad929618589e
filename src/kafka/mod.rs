//! Kafka: admin, consumers, producer. The only place that names librdkafka.

pub mod admin;
mod admin_connection;
mod admin_types;
mod coordinated;
mod ffi;
mod gathered;
mod group;
mod log;
mod partition;
mod producer;
pub mod reader;
mod record;
pub mod scan;
mod settings;
pub mod simple;

pub use admin_connection::{Connection, Sasl, Tls};
pub use group::{Group, GroupEvent, GroupSettings, KafkaFailure};
pub use partition::{Held, Partition};
pub use producer::{Delivery, ProduceError, Producer, ProducerSettings, Queued};
pub use record::RecordView;
pub use settings::{KafkaArgs, KafkaSettings, SettingsError};
