//! Traces: a caller's context through gateway, Kafka and worker and back, and what a collector that is away costs.

use hyper::Method;
use parley::loadgen::Client;
use serde_json::{Value, json};

use crate::{
    fixtures::{Chat, Collector, Exported, eventually, unique},
    path::{PASSWORD, event, listen, user},
};

/// What a person says: no span may hold it.
const SAID: &str = "whispered-to-friends-only";

/// A caller of its own: its trace and its span.
fn caller() -> (String, String) {
    let fresh = || uuid::Uuid::new_v4().simple().to_string();
    (fresh(), fresh()[16..].to_owned())
}

/// Changes the status as somebody whose trace has these flags; gives their trace and span, and the request's id. What a slow machine
/// refused is asked again, as somebody else: what was refused is traced too.
async fn change_status(client: &Client, flags: &str) -> ((String, String), String) {
    eventually("the worker's answer", || async {
        let (trace, parent) = caller();
        let traceparent = format!("00-{trace}-{parent}-{flags}");
        let headers = [("prefer", "wait=20"), ("traceparent", &traceparent)];
        let answer = client.json(Method::PUT, "/api/me/status", &headers, &json!({ "status": SAID })).await;
        let answer = answer.expect("an answer");
        if [202, 503].contains(&answer.status) {
            return None;
        }
        assert_eq!(answer.status, 200);
        Some(((trace, parent), answer.json()["requestId"].as_str().expect("an id").to_owned()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_caller_to_the_stream_and_batches_link_to_it() {
    let running = Chat::shared().await;
    let collector = &running.collector;
    let (gateway, addr) = running.chat.gateway(&collector.settings());
    let gateway = gateway.ready().await;
    let client = user(addr, &unique("traced")).await;
    let (mut stream, _) = listen(&client).await;

    let ((trace, parent), id) = change_status(&client, "01").await;
    event(&mut stream, "reply", |data| data["requestId"] == json!(id)).await;

    // The gateway's span continues the caller's.
    let server = collector
        .span("the request's span", |span| span.trace == trace && span.kind == "SPAN_KIND_SERVER")
        .await;
    assert_eq!((server.parent.as_str(), server.service.as_str()), (parent.as_str(), "parley-gateway"));
    assert_eq!(server.name, "PUT /api/me/status");
    let attributes = [
        ("http.request.method", "PUT"),
        ("http.route", "/api/me/status"),
        ("http.response.status_code", "200"),
        ("parley.request.id", &id),
    ];
    for (key, value) in attributes {
        assert_eq!(server.attribute(key).as_deref(), Some(value), "{key}");
    }

    // The worker's batch is a trace of its own, and links to it.
    let link = (trace.clone(), server.id.clone());
    let batch = collector.span("the batch's span", |span| span.links.contains(&link)).await;
    assert_eq!((batch.service.as_str(), batch.kind), ("parley-worker", "SPAN_KIND_CONSUMER"));
    assert_eq!(batch.name, "process user-status-change-request");
    assert_ne!(batch.trace, trace);
    let stages = collector.spans(|span| span.parent == batch.id);
    for stage in ["decode", "transaction", "produce"] {
        let of_batch = |span: &Exported| span.name == stage && span.trace == batch.trace;
        assert!(stages.iter().any(of_batch), "{stage} in {stages:?}");
    }

    // The reply that went to the stream is part of the request's trace again.
    let delivery =
        collector.span("the delivery's span", |span| span.name == "deliver reply" && span.trace == trace);
    let delivery = delivery.await;
    assert_eq!((&delivery.parent, delivery.attribute("parley.streams").as_deref()), (&server.id, Some("1")));

    // What the caller does not record is recorded by nobody: a later one of the same user has come, and it has not.
    let ((unsampled, _), _) = change_status(&client, "00").await;
    let ((later, parent), _) = change_status(&client, "01").await;
    let links_to = |span: &Exported, trace: &str| span.links.iter().any(|(linked, _)| linked == trace);
    collector.span("the later batch", |span| links_to(span, &later)).await;
    collector.span("the later request", |span| span.trace == later && span.parent == parent).await;
    assert!(collector.spans(|span| span.trace == unsampled || links_to(span, &unsampled)).is_empty());

    // Nothing that a person wrote, and no secret.
    let cookie = client.cookie().expect("a cookie");
    let (_, token) = cookie.split_once('=').expect("a value");
    for private in [SAID, PASSWORD, token] {
        assert!(!collector.has_seen(private), "{private} was sent to the collector");
    }
    assert!(gateway.metric("parley_spans_total", &["outcome=\"exported\""]).await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_spans_are_sent_before_a_process_ends() {
    let running = Chat::shared().await;
    // Nothing is sent by the clock.
    let [endpoint, (delay, _)] = running.collector.settings();
    let settings = [endpoint, (delay, "3600000")];
    let (gateway, addr) = running.chat.gateway(&settings);
    let gateway = gateway.ready().await;
    let (trace, parent) = caller();
    let traceparent = format!("00-{trace}-{parent}-01");
    let answer = Client::new(addr).send(Method::GET, "/api/me", &[("traceparent", &traceparent)], None).await;
    assert_eq!(answer.expect("an answer").status, 401);
    let sent = || running.collector.spans(|span| span.trace == trace).len();
    assert_eq!(sent(), 0);
    assert!(gateway.stop().await.success());
    eventually("what was held back to be sent at the end", || async { (sent() == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_spans_and_nothing_else() {
    const REQUESTS: u32 = 400;
    const ROOM: u32 = 64;
    let running = Chat::shared().await;
    let collector = Collector::silent();
    let ([endpoint, delay], room) = (collector.settings(), ROOM.to_string());
    // An answer would be waited for for ten minutes.
    let patience = ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
    let settings = [endpoint, delay, ("OTEL_BSP_MAX_QUEUE_SIZE", &room), patience];
    let (gateway, addr) = running.chat.gateway(&settings);
    let mut gateway = gateway.ready().await;
    let client = Client::new(addr);
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/api/me").await.expect("an answer").status, 401);
    }
    let (status, _) = crate::path::ask(&client, Method::PUT, "/api/me/status", Value::Null).await;
    assert_eq!(status, 401);
    // As many as wait, and one batch on its way: all others are lost and counted.
    let spans = |outcome: &str| {
        let (gateway, label) = (&gateway, format!("outcome=\"{outcome}\""));
        async move { gateway.metric("parley_spans_total", &[&label]).await }
    };
    eventually("the spans to be counted", || async {
        let lost = spans("dropped").await + spans("failed").await;
        (lost >= f64::from(REQUESTS - 2 * ROOM)).then_some(())
    })
    .await;
    assert!(spans("exported").await == 0.0 && spans("dropped").await > 0.0);
    assert!(collector.connections() > 0);

    // It ends without that answer, and says once what it could not do.
    gateway.signal("TERM");
    assert!(gateway.wait().await.success());
    let log = gateway.log();
    assert_eq!(log.matches("more spans than can be sent").count(), 1, "{log}");
    assert_eq!(log.matches("spans were lost").count(), 1, "{log}");
}
