use crate::{
    kafka::admin::ApiError,
    loadgen::bench::{new_topic, topics_there},
};

/// Requests that no worker reads.
pub(in crate::loadgen::path) const REQUESTS: &str = "loadgen-request";
/// Replies that no gateway reads.
pub(in crate::loadgen::path) const REPLIES: &str = "loadgen-response";
/// Events that no gateway reads.
pub(in crate::loadgen::path) const EVENTS: &str = "loadgen-event";

/// Creates them, with as many partitions as the worker's own have.
pub(in crate::loadgen::path) async fn make_limit_topics(bootstrap: &str) -> Result<(), ApiError> {
    topics_there(bootstrap, vec![new_topic(REQUESTS, 2), new_topic(REPLIES, 2), new_topic(EVENTS, 12)]).await
}
