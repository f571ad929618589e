//! Writing a pool's count, unless it is somebody else's.

use super::{Notes, Said, Worker};
use crate::{
    api::{ManagementPolicy, Reason, ScalingMode, TAKE_SCALE_ANNOTATION, WorkerStatus},
    controller::{
        context::ReconcileError,
        scale::{self, ScaleError, Standing},
        targets::Target,
    },
};

impl Worker<'_> {
    pub(super) async fn write(
        &self,
        target: &Target,
        wanted: i32,
        partitions: Option<i32>,
        status: &mut WorkerStatus,
        notes: &mut Notes,
    ) -> Result<Option<Said>, ReconcileError> {
        let first_take = self.remembered.target_uid.as_ref() != Some(&target.uid);
        let token = self.token().filter(|token| self.remembered.taken_token.as_ref() != Some(token));
        if target.wanted == Some(wanted) && !first_take && token.is_none() {
            return Ok(None);
        }
        if self.set.spec.management_policy != ManagementPolicy::Managed {
            let message = format!(
                "has {}, should have {wanted}; managementPolicy is Observe",
                target.wanted.unwrap_or(0)
            );
            let same = target.wanted == Some(wanted);
            return Ok((!same).then_some(Said { reason: Reason::Observing, message, failed: false }));
        }
        match self.take(wanted, first_take, token.is_some()).await {
            Ok(()) => {
                status.target_uid = Some(target.uid.clone());
                status.taken_token = token.or_else(|| self.remembered.taken_token.clone());
                self.ctx.targets.wrote(&self.key, wanted);
                if target.wanted != Some(wanted) {
                    notes.scaled.push(self.scaled(target.wanted.unwrap_or(0), wanted, partitions));
                }
                Ok(None)
            }
            Err(ScaleError::Contended(who)) => {
                self.ctx.metrics.scale_suppressed_total.with_label_values(&["contended"]).inc();
                if !self.remembered.message.as_deref().is_some_and(|m| m.contains("belongs to")) {
                    notes
                        .contended
                        .push(format!("worker {}: the replica count belongs to {who}", self.spec.name));
                }
                let message = format!(
                    "the replica count belongs to {who}; to take it: kubectl annotate cts {} -n {} --overwrite \
                     {TAKE_SCALE_ANNOTATION}={}={}",
                    self.entry.key.name,
                    self.entry.key.namespace,
                    self.spec.name,
                    self.unused_token()
                );
                Ok(Some(Said { reason: Reason::ReplicasContended, message, failed: false }))
            }
            Err(ScaleError::NotFound) => Ok(Some(self.not_found())),
            Err(ScaleError::NotLeading) => Err(ReconcileError::NotLeading),
            Err(ScaleError::Changed) => Err(ReconcileError::Stale),
            Err(ScaleError::Api(kube::Error::Api(error))) if error.code == 403 => {
                let message = format!("the API server refuses the write: {}", error.message);
                Ok(Some(Said { reason: Reason::AuthorizationFailed, message, failed: true }))
            }
            Err(ScaleError::Api(error)) => Err(error.into()),
        }
    }

    /// The token with which a person lets this worker take its count.
    fn token(&self) -> Option<String> {
        let text = self.set.metadata.annotations.as_ref()?.get(TAKE_SCALE_ANNOTATION)?;
        let mine = text.split(',').filter_map(|pair| pair.trim().split_once('='));
        mine.filter(|(worker, _)| *worker == self.spec.name).map(|(_, token)| token.to_owned()).next_back()
    }

    /// A token that has not been acted upon: the one in the message must work when it is typed.
    fn unused_token(&self) -> u64 {
        let last = self.remembered.taken_token.as_ref().and_then(|token| token.parse::<u64>().ok());
        last.map_or(1, |last| last.saturating_add(1))
    }

    async fn take(&self, wanted: i32, first_take: bool, token: bool) -> Result<(), ScaleError> {
        let name = &self.spec.scale_target_ref.name;
        let resource = self.ctx.targets.resource(&self.spec.scale_target_ref).ok_or(ScaleError::NotFound)?;
        let namespace = &self.entry.key.namespace;
        let mut force = first_take || token;
        let full = scale::read(&self.ctx.client, &resource, namespace, name).await?;
        if !token {
            match scale::standing(
                &full.metadata,
                &self.ctx.scale_manager,
                self.remembered.taken_token.is_some(),
            ) {
                Standing::Free => {}
                Standing::Superseded => force = true,
                Standing::Foreign(owner) => return Err(ScaleError::Contended(owner)),
            }
        }
        if !self.ctx.leadership.holds() {
            return Err(ScaleError::NotLeading);
        }
        let (client, manager) = (&self.ctx.client, &self.ctx.scale_manager);
        match scale::apply(client, &resource, namespace, name, wanted, manager, force).await {
            Err(error) if scale::cannot_apply(&error) => {
                if !self.ctx.leadership.holds() {
                    return Err(ScaleError::NotLeading);
                }
                scale::update(client, &resource, &full, wanted, manager).await
            }
            outcome => outcome,
        }
    }

    /// Counts the step and puts it into words.
    fn scaled(&self, from: i32, to: i32, partitions: Option<i32>) -> String {
        let direction = if to > from { "up" } else { "down" };
        let reason = if self.spec.scaling.mode == ScalingMode::Lag { "lag" } else { "partitions" };
        self.ctx.metrics.scale_decisions_total.with_label_values(&[direction, reason]).inc();
        format!(
            "worker {}: {} {} from {from} to {to} for {} partitions",
            self.spec.name,
            self.spec.scale_target_ref.kind,
            self.spec.scale_target_ref.name,
            partitions.unwrap_or(0)
        )
    }
}
