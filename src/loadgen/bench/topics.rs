use std::{sync::Arc, time::Duration};

use crate::{
    kafka::{
        KafkaSettings,
        admin::{Admin, ApiError, NewTopic},
    },
    wire::{CHAT_EVENT, DEAD_LETTER, Kind},
};

/// Creates all topics of the shipped sample with one replica each; those that are there stay as they are.
///
/// # Errors
/// When the brokers do not answer or refuse a topic.
pub async fn make_topics(bootstrap: &str) -> Result<(), ApiError> {
    let admin =
        Admin::new(&KafkaSettings::plaintext(bootstrap), Duration::from_secs(60), Arc::new(|_, _, _| {}))?;
    let topic = |name: &str, partitions| NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replicas: Some(1),
        config: [("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())].into(),
    };
    let mut topics = vec![topic(CHAT_EVENT, 12), topic(DEAD_LETTER, 2)];
    for kind in Kind::ALL {
        let partitions = if kind == Kind::AddUser { 5 } else { 2 };
        topics.extend([kind.request_topic(), kind.response_topic()].map(|name| topic(name, partitions)));
    }
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let there = admin.describe_topics(names).await?;
    topics.retain(|topic| !there.iter().any(|(name, found)| *name == topic.name && found.is_ok()));
    for (_, made) in admin.create_topics(topics, false).await? {
        made?;
    }
    Ok(())
}
