//! Topics of requests and responses that are deleted and made anew under gateways that run: these go on without a restart.

use hyper::Method;
use parley::{
    ids::RequestId,
    kafka::admin::OffsetSpec,
    wire::{Body, Kind, Reply},
};
use serde_json::json;

use super::kit::{Ear, Kit, Person, call, held};
use crate::fixtures::eventually;

const KIND: Kind = Kind::ChangeStatus;

fn reply(to: &Person) -> Reply {
    Reply { user_id: Some(to.id.clone()), result: Ok(Body::ChangeStatus { status: "s".into() }) }
}

/// Every ear hears the reply to a request that was made up.
async fn all_hear(kit: &Kit, amy: &Person, ears: &mut [Ear]) {
    let id = RequestId::fresh();
    kit.reply(KIND, amy.key, id, &reply(amy)).await;
    for ear in ears {
        ear.until("the reply", |block| block.event == "reply" && block.data.contains(&id.to_string())).await;
    }
}

/// A change is taken by this gateway, for certain; its id.
async fn taken(amy: &Person, gateway: std::net::SocketAddr, key: &str) -> RequestId {
    let (client, body) = (amy.client.at(gateway), json!({"status": "x"}));
    let headers = [("idempotency-key", key)];
    let answer = call(&client, Method::PUT, "/api/me/status", &headers, &body).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    answer.json()["requestId"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_requests_and_responses_made_anew_are_written_and_heard_again() {
    let kit = Kit::own(2, &[]).await;
    let amy = kit.person("amy");
    let mut ears = [Ear::live(&amy, kit.addr(0), None).await, Ear::live(&amy, kit.addr(1), None).await];
    // So that the gateways stand far beyond the end of what comes after.
    for _ in 0..20 {
        all_hear(&kit, &amy, &mut ears).await;
    }
    for n in 0..2 {
        taken(&amy, kit.addr(n), &format!("before-{n}")).await;
    }
    kit.make_anew(&[(KIND.request_topic(), 2), (KIND.response_topic(), 2)]).await;
    for n in 0..2 {
        taken(&amy, kit.addr(n), &format!("after-{n}")).await;
    }
    let asked = (0..2).map(|partition| (KIND.request_topic().to_owned(), partition)).collect();
    let ends = kit.chat.admin().list_offsets(OffsetSpec::Latest, asked).await.unwrap();
    let written: i64 = ends.into_iter().map(|(_, _, end)| end.unwrap().unwrap_or(0)).sum();
    assert!(written >= 2, "what was taken stands in the new topic: {written}");
    all_hear(&kit, &amy, &mut ears).await;
    all_hear(&kit, &amy, &mut ears).await;

    // A call that waits gets its reply too.
    let id = taken(&amy, kit.addr(1), "waits").await;
    let client = amy.client.at(kit.addr(1));
    let headers = [("idempotency-key", "waits"), ("prefer", "wait=30")];
    let body = json!({"status": "x"});
    let waiting = held(&client, Method::PUT, "/api/me/status", &headers, &body);
    let answering = async {
        eventually("the call to wait", || async {
            let waiting = kit.gateways[1].0.metric("parley_pending_requests", &[]).await;
            (waiting >= 1.0).then_some(())
        })
        .await;
        kit.reply(KIND, amy.key, id, &reply(&amy)).await;
    };
    let (answer, ()) = tokio::join!(waiting, answering);
    assert_eq!(answer.status, 200);
}
