//! The lag of a pool, looked at no oftener than it is needed.

use std::time::Duration;

use tokio::time::Instant;

use super::Worker;
use crate::{
    api::ScalingMode,
    controller::{
        lag::{self, Decided, Look},
        plan::Live,
        scaling::{Pool, lag::LagDecision},
    },
};

impl Worker<'_> {
    /// How often the lag of this pool is looked at.
    pub(super) fn look_every(&self) -> Option<Duration> {
        self.spec.consumer_group.as_ref()?;
        Some(if self.spec.scaling.mode == ScalingMode::Lag { lag::LOOK_EVERY } else { lag::EXPORT_EVERY })
    }

    /// The lag of the pool, looked at now or a moment ago, and what it means for the count.
    pub(super) async fn lag(&self, pool: &Pool) -> Option<LagDecision> {
        let group = self.spec.consumer_group.as_ref()?;
        let mut memory = self.ctx.take_pool(&self.entry.key, &self.spec.name);
        memory.under(&self.spec.scaling);
        let decides = self.spec.scaling.mode == ScalingMode::Lag;
        let fresh = if decides {
            memory.recent(lag::FRESH, pool).is_some()
        } else {
            // For the metric alone, whatever the pool is by now.
            memory.last.as_ref().is_some_and(|last| last.at.elapsed() < lag::EXPORT_EVERY / 2)
        };
        if !fresh {
            let look = self.look(group).await;
            let decision = memory.lag.decide(&self.spec.scaling, pool, &look, Instant::now());
            let labels =
                [self.entry.key.namespace.as_str(), self.entry.key.name.as_str(), self.spec.name.as_str()];
            match decision.lag {
                Some(lag) => self.ctx.metrics.worker_lag.with_label_values(&labels).set(lag),
                // A lag that is not known is no lag of the last time it was.
                None => drop(self.ctx.metrics.worker_lag.remove_label_values(&labels)),
            }
            memory.last = Some(Decided { at: Instant::now(), pool: pool.clone(), decision });
        }
        let decision = memory.last.as_ref().map(|last| last.decision.clone());
        self.ctx.keep_pool(&self.entry.key, &self.spec.name, memory);
        decision
    }

    async fn look(&self, group: &str) -> Look {
        let Some(admin) = &self.topics.admin else {
            return Look::Failed("Kafka cannot be reached".to_owned());
        };
        let mut partitions = Vec::new();
        for topic in &self.spec.topics {
            match self.topics.live.get(topic).and_then(Live::present) {
                Some(live) => {
                    partitions.extend((0..live.partitions).map(|partition| (topic.clone(), partition)))
                }
                None => return Look::Failed(format!("topic {topic} is not known")),
            }
        }
        lag::look(admin, group, &partitions).await
    }
}
