//! The one module with `unsafe`: librdkafka's admin calls, most of which the `rdkafka` crate does not wrap
//! (IncrementalAlterConfigs, DescribeTopics, DescribeCluster, ListOffsets, ListConsumerGroupOffsets,
//! DescribeConsumerGroups) or wraps without the broker's error text (CreateTopics and its family).
//!
//! The shape that makes it auditable: a request is an owned Rust value, turned into C objects for the length of one
//! call; the answer is turned into an owned Rust value on the one thread that polls the queue, before its event is
//! destroyed. No C pointer leaves this file, no callback is registered, and the opaque value that travels with a
//! request is a number, never a pointer. See `rdkafka.h` for each function's contract.
#![expect(unsafe_code, reason = "the audited FFI module")]

mod error;
mod objects;
mod reply;
mod status;

use std::{
    collections::HashMap,
    ffi::c_int,
    ptr::{self, NonNull},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    client::{Client, DefaultClientContext},
    error::KafkaResult,
    types::RDKafkaType,
};
use rdkafka_sys as sys;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(super) use self::error::error_name;
#[cfg(test)]
pub(super) use self::status::break_for_good;
pub(super) use self::status::{Fate, fate};
use self::{
    error::{c_string, object},
    objects::{
        Objects, Options, Partitions, Strings, broker_resource, described_resource, new_partitions,
        new_topic, topic_resource,
    },
    reply::Event,
};
use super::admin_types::{ApiError, Reply, Request};

/// What a caller gets for one request.
pub(super) type Answer = Result<Reply, ApiError>;

/// How long the polling thread waits before it looks again whether it should stop; it is woken at once when so.
const POLL: Duration = Duration::from_secs(1);

/// A native client with its result queue and the requests that wait for an answer.
pub(super) struct Native {
    // Dropped in this order: a queue must be given back before its client is destroyed.
    queue: Queue,
    client: Client<DefaultClientContext>,
    waiting: Mutex<Waiting>,
    stop: CancellationToken,
    /// The last request was not answered: what is known of the brokers may be old.
    doubt: AtomicBool,
    /// The broker that takes requests which any may take; [`ANY`] for whichever librdkafka chooses.
    route: AtomicI32,
}

/// No broker's number.
const ANY: i32 = -1;

#[derive(Default)]
struct Waiting {
    next: usize,
    answers: HashMap<usize, oneshot::Sender<Answer>>,
    /// The client's last complaint of its own (a refused connection, a failed login): it says why a call timed out.
    last_complaint: Option<ApiError>,
}

/// An owned reference to a librdkafka queue.
struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are guarded by their own lock and may be used from any thread.
unsafe impl Send for Queue {}
// SAFETY: as above; every function used on a shared queue is documented thread-safe.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the pointer came from rd_kafka_queue_new or _get_main and this is its only owner.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl Native {
    /// Starts a client and the thread that polls it. The thread ends after [`Native::close`].
    ///
    /// With `group.id` in the configuration it is a consumer that never subscribes. ListConsumerGroupOffsets needs one:
    /// when the coordinator answers that it is none any more, librdkafka 2.12.1 asks its own group for a refresh, and
    /// in a client without a group that is a null pointer (`rd_kafka_handle_OffsetFetch`, rdkafka_request.c:1374).
    pub(super) fn start(config: &ClientConfig) -> KafkaResult<Arc<Self>> {
        let kind = match config.get("group.id") {
            Some(_) => RDKafkaType::RD_KAFKA_CONSUMER,
            None => RDKafkaType::RD_KAFKA_PRODUCER,
        };
        let client = Client::new(config, config.create_native_config()?, kind, DefaultClientContext)?;
        let creation = |what: &str| rdkafka::error::KafkaError::ClientCreation(what.to_owned());
        // SAFETY: the client is alive; both calls return a new reference or null.
        let (queue, main) = unsafe {
            (sys::rd_kafka_queue_new(client.native_ptr()), sys::rd_kafka_queue_get_main(client.native_ptr()))
        };
        let queue = Queue(NonNull::new(queue).ok_or_else(|| creation("no queue"))?);
        let main = Queue(NonNull::new(main).ok_or_else(|| creation("no main queue"))?);
        // SAFETY: both queues are alive. Forwarding makes the polling thread also take the client's logs and errors,
        // which would otherwise pile up on a queue that nobody reads.
        unsafe { sys::rd_kafka_queue_forward(main.0.as_ptr(), queue.0.as_ptr()) };
        drop(main);
        let native = Arc::new(Self {
            queue,
            client,
            waiting: Mutex::default(),
            stop: CancellationToken::new(),
            doubt: AtomicBool::new(false),
            route: AtomicI32::new(ANY),
        });
        let polled = Arc::clone(&native);
        thread::Builder::new()
            .name("kafka-admin".to_owned())
            .spawn(move || polled.poll())
            .map_err(|error| creation(&error.to_string()))?;
        Ok(native)
    }

    /// Ends every waiting request with an error and lets the polling thread destroy the client, dropping what it has
    /// queued. What is on the wire already may still reach the broker.
    pub(super) fn close(&self) {
        self.stop.cancel();
        self.lock().answers.clear();
        // SAFETY: the queue is alive; the call only wakes its poller.
        unsafe { sys::rd_kafka_queue_yield(self.queue.0.as_ptr()) };
    }

    /// Notes how a request went.
    pub(super) fn noted(&self, outcome: &Answer) {
        self.doubt.store(outcome.as_ref().is_err_and(ApiError::is_unreachable), Ordering::Relaxed);
        if outcome.as_ref().is_ok_and(Reply::wants_the_controller) {
            self.route.store(ANY, Ordering::Relaxed);
        }
    }

    /// Whether the brokers are to be met again before the next request.
    pub(super) fn in_doubt(&self) -> bool {
        self.doubt.load(Ordering::Relaxed)
    }

    /// Comes when the client is closed.
    pub(super) async fn closed(&self) {
        self.stop.cancelled().await;
    }

    /// Asks any broker who the brokers are and which of them takes admin requests. Blocks for as long as `timeout`. Who answered
    /// takes the next requests: with KRaft any broker does, the one that metadata names is a random one, and one that hangs is named
    /// until its session is over.
    ///
    /// librdkafka 2.12.1 sends admin requests to the controller of its last metadata, five minutes old at worst. While that
    /// broker is away it connects to it without a pause (each failure wakes the request, and each wake expedites the next
    /// attempt, rdkafka_broker.c:3537), whatever `reconnect.backoff.ms` says.
    pub(super) fn meet(&self, timeout: Duration) -> Result<(), ApiError> {
        let mut found: *const sys::rd_kafka_metadata = ptr::null();
        let wait = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client is alive; without topics and without a topic handle only brokers are asked about; `found` is
        // written before the call returns, and is ours to destroy when it is not null.
        let code = unsafe {
            let rk = self.client.native_ptr();
            let code = sys::rd_kafka_metadata(rk, 0, ptr::null_mut(), &raw mut found, wait);
            if !found.is_null() {
                self.route.store((*found).orig_broker_id.max(ANY), Ordering::Relaxed);
                sys::rd_kafka_metadata_destroy(found);
            }
            code
        };
        if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        let mut error = ApiError::new(code.into(), "no broker answers".to_owned());
        error.because(self.lock().last_complaint.as_ref());
        Err(error)
    }

    /// What the client last complained of by itself.
    pub(super) fn complaint(&self) -> Option<ApiError> {
        self.lock().last_complaint.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self) {
        while !self.stop.is_cancelled() {
            let wait = c_int::try_from(POLL.as_millis()).unwrap_or(1_000);
            // SAFETY: the queue is alive; the event, if any, is ours to destroy.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue.0.as_ptr(), wait) };
            if let Some(event) = NonNull::new(event) {
                self.take(&Event::of(event));
            }
        }
    }

    fn take(&self, event: &Event) {
        match event.kind() {
            sys::RD_KAFKA_EVENT_LOG => event.log(),
            sys::RD_KAFKA_EVENT_ERROR => {
                let complaint = event.error().err();
                if let Some(error) = &complaint {
                    tracing::debug!(code = ?error.code, message = %error.message, "kafka client");
                }
                self.lock().last_complaint = complaint;
            }
            _ => {
                let mut waiting = self.lock();
                let Some(answer) = waiting.answers.remove(&event.opaque()) else { return };
                let mut reply = event.reply();
                match &mut reply {
                    Ok(_) => waiting.last_complaint = None,
                    Err(error) => error.because(waiting.last_complaint.as_ref()),
                }
                drop(waiting);
                // The caller may have gone; then nobody wants the answer.
                let _ = answer.send(reply);
            }
        }
    }

    /// Sends one request. The receiver ends without a value when the client is closed first.
    pub(super) fn submit(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<oneshot::Receiver<Answer>, ApiError> {
        let (answer, receiver) = oneshot::channel();
        let number = {
            let mut waiting = self.lock();
            // Under the lock that `close` takes after it has set the mark: nobody waits for a thread that is gone.
            if self.stop.is_cancelled() {
                return Ok(receiver);
            }
            waiting.next = waiting.next.wrapping_add(1);
            let number = waiting.next;
            waiting.answers.insert(number, answer);
            number
        };
        if let Err(error) = self.call(request, timeout, number) {
            self.lock().answers.remove(&number);
            return Err(error);
        }
        Ok(receiver)
    }

    fn call(&self, request: &Request, timeout: Duration, number: usize) -> Result<(), ApiError> {
        let rk = self.client.native_ptr();
        let queue = self.queue.0.as_ptr();
        let route = Some(self.route.load(Ordering::Relaxed)).filter(|id| *id != ANY && request.is_for_any());
        let options = Options::new(rk, request, request.broker().or(route), timeout, number)?;
        let options = options.ptr();
        // SAFETY, for every call below: the client, queue and options are alive; the arrays are as long as said;
        // librdkafka copies what it is given before the call returns, so that the guards may free it afterwards.
        match request {
            Request::CreateTopics { topics, .. } => {
                let list = Objects::new(topics.iter().map(new_topic), sys::rd_kafka_NewTopic_destroy)?;
                unsafe { sys::rd_kafka_CreateTopics(rk, list.ptr(), list.len(), options, queue) }
            }
            Request::CreatePartitions { topics, .. } => {
                let list = Objects::new(
                    topics.iter().map(|(topic, total)| new_partitions(topic, *total)),
                    sys::rd_kafka_NewPartitions_destroy,
                )?;
                unsafe { sys::rd_kafka_CreatePartitions(rk, list.ptr(), list.len(), options, queue) }
            }
            Request::DeleteTopics(topics) => {
                let list = Objects::new(
                    topics.iter().map(|topic| {
                        let topic = c_string(topic)?;
                        // SAFETY: a valid string, copied by the call.
                        object(unsafe { sys::rd_kafka_DeleteTopic_new(topic.as_ptr()) })
                    }),
                    sys::rd_kafka_DeleteTopic_destroy,
                )?;
                unsafe { sys::rd_kafka_DeleteTopics(rk, list.ptr(), list.len(), options, queue) }
            }
            Request::AlterConfigs { changes, .. } => {
                let list = Objects::new(
                    changes.iter().map(|(topic, changes)| topic_resource(topic, changes)),
                    sys::rd_kafka_ConfigResource_destroy,
                )?;
                unsafe { sys::rd_kafka_IncrementalAlterConfigs(rk, list.ptr(), list.len(), options, queue) }
            }
            Request::DescribeConfigs(topics) => {
                let list = Objects::new(
                    topics.iter().map(|(topic, keys)| described_resource(topic, keys)),
                    sys::rd_kafka_ConfigResource_destroy,
                )?;
                unsafe { sys::rd_kafka_DescribeConfigs(rk, list.ptr(), list.len(), options, queue) }
            }
            Request::DescribeBroker(id) => {
                let list = Objects::new(
                    std::iter::once_with(|| broker_resource(*id)),
                    sys::rd_kafka_ConfigResource_destroy,
                )?;
                unsafe { sys::rd_kafka_DescribeConfigs(rk, list.ptr(), list.len(), options, queue) }
            }
            Request::DescribeTopics { topics, .. } => {
                let mut names = Strings::new(topics)?;
                let collection = object(unsafe {
                    sys::rd_kafka_TopicCollection_of_topic_names(names.ptr(), names.len())
                })?;
                unsafe {
                    sys::rd_kafka_DescribeTopics(rk, collection, options, queue);
                    sys::rd_kafka_TopicCollection_destroy(collection);
                }
            }
            Request::DescribeCluster => unsafe { sys::rd_kafka_DescribeCluster(rk, options, queue) },
            Request::DescribeGroups(groups) => {
                let mut names = Strings::new(groups)?;
                unsafe { sys::rd_kafka_DescribeConsumerGroups(rk, names.ptr(), names.len(), options, queue) }
            }
            Request::GroupOffsets { group, partitions } => {
                let group = c_string(group)?;
                let partitions = Partitions::new(partitions, None)?;
                let list = Objects::new(
                    // SAFETY: valid string and list, both copied by the call.
                    std::iter::once_with(|| {
                        object(unsafe {
                            sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), partitions.ptr())
                        })
                    }),
                    sys::rd_kafka_ListConsumerGroupOffsets_destroy,
                )?;
                unsafe { sys::rd_kafka_ListConsumerGroupOffsets(rk, list.ptr(), list.len(), options, queue) }
            }
            Request::ListOffsets { spec, partitions } => {
                let list = Partitions::new(partitions, Some(*spec))?;
                unsafe { sys::rd_kafka_ListOffsets(rk, list.ptr(), options, queue) }
            }
        }
        Ok(())
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: the client is alive; the main queue's reference is given back at once. The forwarding must end
        // before our queue does.
        unsafe {
            let main = sys::rd_kafka_queue_get_main(self.client.native_ptr());
            if !main.is_null() {
                sys::rd_kafka_queue_forward(main, ptr::null_mut());
                sys::rd_kafka_queue_destroy(main);
            }
        }
    }
}
