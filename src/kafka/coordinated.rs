//! Questions to a group's coordinator, by a client of their own.
//!
//! librdkafka 2.12.1 frees such a question when its time is up and uses it once more when the coordinator is reached at last
//! (issue 4605 of librdkafka): the process aborts. So its time is never up there: the wait is ours, and a client with a
//! question that nobody waits for any more is closed, which ends the question in good order.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::types::RDKafkaErrorCode;

use super::{
    KafkaSettings,
    admin::{CLIENT_ID, closed, met, refused},
    admin_types::{ApiError, Reply, Request},
    ffi::Native,
};

/// The longest that librdkafka takes: no question lives so long here.
const NEVER: Duration = Duration::from_secs(3_600);

/// See the module.
#[derive(Default)]
pub(super) struct Coordinated(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    client: Option<Arc<Native>>,
    closed: bool,
}

impl Coordinated {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client, made when it is first asked for: see [`Native::start`] for why it has a group.
    fn client(&self, settings: &KafkaSettings, group: &str) -> Result<Arc<Native>, ApiError> {
        let mut slot = self.slot();
        if slot.closed {
            return Err(closed());
        }
        if let Some(client) = &slot.client {
            return Ok(Arc::clone(client));
        }
        let mut config = settings.client(CLIENT_ID);
        // Any group that these credentials may look at will do: it is only ever asked where its coordinator is.
        config.set("group.id", group).set("enable.auto.commit", "false");
        let client = Native::start(&config).map_err(refused)?;
        slot.client = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Asks about a group for as long as `left` says.
    pub(super) async fn ask(
        &self,
        settings: &KafkaSettings,
        group: &str,
        request: &Request,
        left: impl Fn() -> Duration,
    ) -> Result<Reply, ApiError> {
        let client = self.client(settings, group)?;
        met(&client, left()).await?;
        let answer = client.submit(request, NEVER)?;
        let outcome = match tokio::time::timeout(left(), answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(closed())),
            Err(_) => {
                self.forget(&client);
                Err(client.late(&format!("the coordinator of group {group} did not answer in time")))
            }
        };
        client.noted(&outcome);
        outcome
    }

    fn forget(&self, client: &Arc<Native>) {
        let mut slot = self.slot();
        if slot.client.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, client)) {
            slot.client = None;
        }
        drop(slot);
        client.close();
    }

    /// Ends every question, for good.
    pub(super) fn close(&self) {
        let mut slot = self.slot();
        slot.closed = true;
        if let Some(client) = slot.client.take() {
            client.close();
        }
    }
}

impl Native {
    /// The error of a question whose time is up, with what the client last complained of.
    fn late(&self, what: &str) -> ApiError {
        let mut error = ApiError::new(RDKafkaErrorCode::OperationTimedOut, what.to_owned());
        error.because(self.complaint().as_ref());
        error
    }
}
