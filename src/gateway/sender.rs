//! The way of requests to Kafka: a producer, and another one when that has failed for good.

use std::{
    mem,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use crate::{
    kafka::{Delivery, KafkaSettings, ProduceError, Producer, ProducerSettings},
    wire::Outgoing,
};

/// A producer lives for so long at least: one that may not write at all fails as soon as it has asked, and so does the next.
const REST: Duration = Duration::from_secs(1);

/// See the module.
///
/// An idempotent producer numbers its records, and gives up for good when the broker says that a number does not fit (a topic that was
/// made anew, data that was lost). A fresh one begins to count anew. What was under way is told as it is: not persisted, or unknown. So
/// nothing is lost or doubled by the exchange, and the streams of this gateway need not leave for it.
#[derive(Debug)]
pub(crate) struct Sender {
    kafka: KafkaSettings,
    settings: ProducerSettings,
    producer: RwLock<Producer>,
    /// When the last one was put in place of another. Held while one is made.
    renewed: Mutex<Option<Instant>>,
}

impl Sender {
    /// Connects in the background.
    pub(crate) fn start(kafka: &KafkaSettings, settings: ProducerSettings) -> Result<Self, ProduceError> {
        let producer = RwLock::new(producer(kafka, settings)?);
        Ok(Self { kafka: kafka.clone(), settings, producer, renewed: Mutex::default() })
    }

    /// Sends one record and waits for its fate.
    pub(crate) async fn send(&self, record: &Outgoing) -> Delivery {
        let producer = self.producer();
        let delivery = producer.send(record).await;
        if delivery != Delivery::Persisted
            && let Some(why) = producer.fatal()
        {
            self.renew(&producer, &why).await;
            end(producer);
        }
        delivery
    }

    /// Waits until nothing is queued or in flight, at most this long. Blocks the thread.
    pub(crate) fn flush(&self, at_most: Duration) -> bool {
        self.producer().flush(at_most)
    }

    fn producer(&self) -> Producer {
        self.producer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another in the place of this one, unless somebody has or is about to.
    async fn renew(&self, broken: &Producer, why: &str) {
        let Ok(mut renewed) = self.renewed.try_lock() else { return };
        if renewed.is_some_and(|at| at.elapsed() < REST) || !self.producer().is(broken) {
            return;
        }
        *renewed = Some(Instant::now());
        tracing::error!(why, "the producer failed for good: another one takes its place");
        let (kafka, settings) = (self.kafka.clone(), self.settings);
        // It reads files and starts threads.
        let made = tokio::task::spawn_blocking(move || producer(&kafka, settings)).await;
        match made.map_err(|error| error.to_string()).and_then(|made| made.map_err(|error| error.to_string()))
        {
            Ok(fresh) => {
                let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
                end(mem::replace(&mut *producer, fresh));
            }
            // A later request tries again.
            Err(error) => tracing::error!(%error, "there is no other producer"),
        }
    }
}

fn producer(kafka: &KafkaSettings, settings: ProducerSettings) -> Result<Producer, ProduceError> {
    Producer::start(kafka, "parley-gateway", settings)
}

/// Its end waits for its thread, for half a second at worst.
fn end(producer: Producer) {
    tokio::task::spawn_blocking(move || drop(producer));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Event, Keyring, event_record};

    #[tokio::test]
    async fn a_producer_that_failed_for_good_is_replaced_once_and_not_all_the_time() {
        let settings =
            ProducerSettings { message_timeout: Duration::from_millis(300), linger: Duration::ZERO };
        // Port 9 is discard: nobody listens there.
        let sender = Sender::start(&KafkaSettings::plaintext("127.0.0.1:9"), settings).unwrap();
        let event = Event::Status { user_id: "bob".parse().unwrap(), status: "away".into(), version: 2 };
        let record = event_record(&Keyring::for_tests("k", [1; 32]), &event, None, None, None);

        assert!(matches!(sender.send(&record).await, Delivery::NotPersisted(_)));
        let first = sender.producer();
        assert_eq!(first.fatal(), None, "a broker that is away is nothing to give up for");

        first.break_for_good();
        let told = futures::future::join_all((0..3).map(|_| sender.send(&record))).await;
        assert!(told.iter().all(|delivery| matches!(delivery, Delivery::NotPersisted(_))), "{told:?}");
        let second = sender.producer();
        assert!(!second.is(&first) && second.fatal().is_none());

        assert!(matches!(sender.send(&record).await, Delivery::NotPersisted(_)));
        assert!(sender.producer().is(&second), "it stays");

        second.break_for_good();
        *sender.renewed.lock().await = Some(Instant::now() + REST);
        assert!(matches!(sender.send(&record).await, Delivery::NotPersisted(_)));
        assert!(sender.producer().is(&second), "it has only just come");
        *sender.renewed.lock().await = Instant::now().checked_sub(REST);
        assert!(matches!(sender.send(&record).await, Delivery::NotPersisted(_)));
        assert!(!sender.producer().is(&second));
    }
}
