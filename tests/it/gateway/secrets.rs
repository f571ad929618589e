//! What must be nowhere but where it was typed: passwords and session tokens, looked for by their marks in all that a gateway says
//! at its most talkative.

use hyper::Method;
use parley::loadgen::Client;
use serde_json::json;

use super::kit::{Ear, Kit};
use crate::fixtures::unique;

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_token_is_in_log_metrics_or_answers() {
    let mut kit = Kit::own(1, &[("PARLEY_LOG_LEVEL", "debug"), ("PARLEY_SIGN_INS_PER_ADDRESS", "0")]).await;
    let marker = unique("marker-password");
    let user = unique("ann");
    let client = Client::new(kit.addr(0));
    let token = |client: &Client| {
        client.cookie().unwrap_or_default().split('=').nth(1).unwrap_or_default().to_owned()
    };
    let mut secrets = vec![marker.clone()];
    let mut answers = Vec::new();
    let account = json!({"userId": user, "password": marker, "email": "ann@example.com", "userName": "Ann"});
    let bodies = [
        (Method::POST, "/api/users", account.to_string()),
        (Method::POST, "/api/session", json!({"userId": user, "password": marker}).to_string()),
        // Typed into the wrong field, broken in the middle, of the wrong type.
        (Method::POST, "/api/session", json!({"userId": marker, "password": 7}).to_string()),
        (Method::POST, "/api/users", format!("{{\"userId\":\"{user}\",\"password\":\"{marker}")),
        (Method::POST, "/api/session", format!("{{\"password\":\"{marker}\",\"userId\":[\"{marker}\"]}}")),
        (Method::PUT, "/api/me/status", json!({"status": {"password": marker}}).to_string()),
        (Method::DELETE, "/api/session", String::new()),
    ];
    for (method, path, body) in bodies {
        let answer = client.send(method, path, &[], Some(body)).await.unwrap();
        answers.push(String::from_utf8_lossy(&answer.body).into_owned());
        secrets.push(token(&client));
    }
    let amy = kit.person("amy");
    secrets.push(token(&amy.client));
    let ear = Ear::live(&amy, kit.addr(0), None).await;
    answers.extend(ear.heard.iter().map(|block| format!("{block:?}")));
    drop(ear);
    answers.push(kit.gateways[0].0.get("/metrics").await.unwrap().1);
    answers.push(kit.gateways[0].0.get("/readyz").await.unwrap().1);
    let (gateway, _) = kit.gateways.pop().unwrap();
    gateway.signal("TERM");
    let mut gateway = gateway;
    gateway.wait().await;
    let log = gateway.log();
    assert!(log.contains("DEBUG"), "it was talkative");
    answers.push(log);
    secrets.retain(|secret| !secret.is_empty());
    assert!(secrets.len() >= 4, "{} secrets", secrets.len());
    for secret in &secrets {
        // With its first half as well: a text that was cut short.
        let half = &secret[..secret.len() / 2 + 8];
        let found = answers.iter().find(|text| text.contains(half));
        assert!(found.is_none(), "a secret stands in: {:.300}", found.unwrap());
    }
}
