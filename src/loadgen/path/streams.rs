use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tokio_util::task::AbortOnDropHandle;

use super::{PathError, make::Maker};
use crate::loadgen::bench::{Crowd, Quantiles};

/// A stream for the first member of each room, at a gateway.
pub(super) struct Streams(Crowd);

impl Streams {
    pub(super) async fn open(maker: &Maker, gateway: SocketAddr) -> Result<Self, PathError> {
        let stage = maker.stage();
        let first = (0..stage.rooms()).map(|room| stage.member(room, 0));
        Ok(Self(Crowd::gather(stage, first, &[gateway]).await?))
    }

    /// Notes how late events are from this moment on, until what it gives is dropped.
    pub(super) fn measure_from(&self, moment: Instant) -> AbortOnDropHandle<()> {
        let tally = Arc::clone(&self.0.tally);
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep_until(moment.into()).await;
            tally.measuring.store(true, Ordering::Relaxed);
        }))
    }

    /// How late events were, counted from the moment their message was due, and how many of all messages were not heard.
    pub(super) async fn heard(&self, messages: u64) -> (Quantiles, u64) {
        self.0.hears(messages).await;
        (self.0.tally.take_latency().0, messages.saturating_sub(self.0.deliveries()))
    }
}
