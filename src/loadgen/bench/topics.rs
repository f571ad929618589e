use std::{sync::Arc, time::Duration};

use crate::{
    kafka::{
        KafkaSettings,
        admin::{Admin, ApiError, NewTopic},
    },
    wire::{CHAT_EVENT, DEAD_LETTER, Kind},
};

/// Creates all topics of the shipped sample with one replica each, those of messages with so many partitions; those that are there
/// stay as they are.
///
/// # Errors
/// When the brokers do not answer or refuse a topic.
pub async fn make_topics(bootstrap: &str, chat_partitions: i32) -> Result<(), ApiError> {
    let mut topics = vec![new_topic(CHAT_EVENT, 12), new_topic(DEAD_LETTER, 2)];
    for kind in Kind::ALL {
        let partitions = match kind {
            Kind::AddUser => 5,
            Kind::AddChat => chat_partitions,
            _ => 2,
        };
        topics.extend([kind.request_topic(), kind.response_topic()].map(|name| new_topic(name, partitions)));
    }
    topics_there(bootstrap, topics).await
}

/// A topic with one replica.
pub(in crate::loadgen) fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replicas: Some(1),
        config: [("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())].into(),
    }
}

/// Creates those that are not there.
pub(in crate::loadgen) async fn topics_there(
    bootstrap: &str,
    mut topics: Vec<NewTopic>,
) -> Result<(), ApiError> {
    let admin =
        Admin::new(&KafkaSettings::plaintext(bootstrap), Duration::from_secs(60), Arc::new(|_, _, _| {}))?;
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let there = admin.describe_topics(names).await?;
    topics.retain(|topic| !there.iter().any(|(name, found)| *name == topic.name && found.is_ok()));
    for (_, made) in admin.create_topics(topics, false).await? {
        made?;
    }
    Ok(())
}
