//! Looking at a consumer group: its state, what it has committed, and where its partitions begin and end.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

pub(crate) use super::scaling::lag::Look;
use super::scaling::{
    Pool,
    lag::{LagDecision, LagMemory, PartitionLag},
};
use crate::{
    api::Scaling,
    kafka::admin::{Admin, ApiError, GroupState, OffsetSpec, Offsets},
};

/// How often a pool of mode Lag is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often any other pool is, for the metric alone.
pub(crate) const EXPORT_EVERY: Duration = Duration::from_secs(60);
/// A reconcile that comes sooner after a look than this rests on it.
pub(crate) const FRESH: Duration = Duration::from_secs(5);

/// What is kept of a pool between reconciles.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolMemory {
    pub(crate) lag: LagMemory,
    /// For which rule `lag` was filled: what was right under another one is no reason to scale down under this.
    pub(crate) scaling: Option<Scaling>,
    pub(crate) last: Option<Decided>,
}

/// A decision, and what it rests on: for another pool it is not one.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) at: Instant,
    pub(crate) pool: Pool,
    pub(crate) decision: LagDecision,
}

impl PoolMemory {
    /// Begins anew where the rule is another one than before; what one worker can do stays known.
    pub(crate) fn under(&mut self, scaling: &Scaling) {
        if self.scaling.as_ref() != Some(scaling) {
            self.lag.interrupted();
            self.last = None;
            self.scaling = Some(scaling.clone());
        }
    }

    /// The last decision, when it is not older than that and was made for this pool.
    pub(crate) fn recent(&self, within: Duration, pool: &Pool) -> Option<&LagDecision> {
        let last = self.last.as_ref().filter(|last| last.pool == *pool && last.at.elapsed() < within)?;
        Some(&last.decision)
    }
}

/// One look at a group and the given partitions; anything that is missing makes the whole look fail.
pub(crate) async fn look(admin: &Admin, group: &str, partitions: &[(String, i32)]) -> Look {
    match try_look(admin, group, partitions).await {
        Ok(look) => look,
        Err(error) => Look::Failed(error.message),
    }
}

async fn try_look(admin: &Admin, group: &str, partitions: &[(String, i32)]) -> Result<Look, ApiError> {
    let described = admin.describe_groups(vec![group.to_owned()]).await?;
    let members = match described.into_iter().next().map(|(_, group)| group) {
        Some(Ok(described)) => match described.state {
            GroupState::Rebalancing => return Ok(Look::Rebalancing),
            GroupState::Unknown => {
                return Ok(Look::Failed(format!("the state of group {group} is not known")));
            }
            GroupState::Stable => true,
            GroupState::Empty | GroupState::Dead => false,
        },
        Some(Err(error)) if error.is_unknown_group() => false,
        Some(Err(error)) => return Err(error),
        None => return Ok(Look::Failed(format!("nothing was said about group {group}"))),
    };
    let committed = offsets(admin.group_offsets(group.to_owned(), partitions.to_vec()).await?)?;
    let starts = offsets(admin.list_offsets(OffsetSpec::Earliest, partitions.to_vec()).await?)?;
    let ends = offsets(admin.list_offsets(OffsetSpec::Latest, partitions.to_vec()).await?)?;
    let mut seen = Vec::with_capacity(partitions.len());
    for key in partitions {
        let (Some(Some(start)), Some(Some(end))) = (starts.get(key), ends.get(key)) else {
            return Ok(Look::Failed(format!("the offsets of {}/{} are not known", key.0, key.1)));
        };
        // Without a commit the group will begin at the oldest record.
        let position = committed.get(key).copied().flatten().unwrap_or(*start).max(*start);
        seen.push(PartitionLag { topic: key.0.clone(), partition: key.1, end: *end, position });
    }
    Ok(Look::Seen { members, partitions: seen })
}

fn offsets(offsets: Offsets) -> Result<BTreeMap<(String, i32), Option<i64>>, ApiError> {
    offsets.into_iter().map(|(topic, partition, offset)| Ok(((topic, partition), offset?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::ScalingMode, controller::scaling::Decision};

    /// Regression: a pool that went from PartitionCount to Lag was set to the count that it had had when the lag was last
    /// looked at for the metric.
    #[test]
    fn a_decision_is_for_the_pool_and_the_rule_that_it_was_made_for() {
        let pool = |current| Pool { partitions: Some(4), current: Some(current), ready: 0 };
        let counted = Scaling::default();
        let lag = Scaling { mode: ScalingMode::Lag, ..Scaling::default() };
        let mut memory = PoolMemory::default();
        memory.under(&lag);
        let decision = LagDecision { decision: Decision::Want(1), stuck: Vec::new(), lag: Some(0) };
        memory.last = Some(Decided { at: Instant::now(), pool: pool(1), decision });
        assert!(memory.recent(FRESH, &pool(1)).is_some());
        assert!(memory.recent(FRESH, &pool(4)).is_none(), "somebody changed the count meanwhile");
        memory.under(&lag);
        assert!(memory.recent(FRESH, &pool(1)).is_some());
        memory.under(&counted);
        assert!(memory.recent(FRESH, &pool(1)).is_none());
    }
}
