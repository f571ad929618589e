//! A way to the API server on which nothing passes any more, and nobody says so.

use std::time::Duration;

use serde_json::json;

use super::{Rig, controller_by};
use crate::{
    chaos::{Relay, Trouble, local},
    fixtures::{ApiServer, Kafka, eventually, free_ports},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_the_api_server_that_never_answers_again_is_given_up() {
    let (api, kafka) = (ApiServer::shared(), Kafka::shared());
    let (namespace, between) = (api.namespace(), free_ports(1));
    let relay = Relay::start(local(between), local(api.port())).await;
    let kubeconfig = api.controller_kubeconfig(&namespace, "apps/deployments");
    let kubeconfig = api.kubeconfig_by(between, &kubeconfig);
    let controller = controller_by(&kubeconfig, &namespace, &kafka.bootstrap(), &[]);
    let rig = Rig::around(api, kafka, namespace, controller).await;
    let topic = rig.topic("t");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 1}]})).await;
    rig.ready("s").await;

    let met = relay.disturb(Trouble::HalfOpen, Duration::from_millis(200)).await;
    assert!(met > 0, "it had connections");
    rig.apply("s", json!({"topics": [{"name": topic, "partitions": 2}]})).await;
    eventually("the controller to hear of the change", || async {
        (rig.describe(&topic).await?.partitions.len() == 2).then_some(())
    })
    .await;
    rig.ready("s").await;
}
