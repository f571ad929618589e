//! Looking at a consumer group: its state, what it has committed, and where its partitions begin and end.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

pub(crate) use super::scaling::lag::Look;
use super::scaling::lag::{LagDecision, LagMemory, PartitionLag};
use crate::kafka::admin::{Admin, ApiError, GroupState, OffsetSpec, Offsets};

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
    pub(crate) last: Option<(Instant, LagDecision)>,
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
