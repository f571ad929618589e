//! What `make up` says at its end is so: the two people can log in with what was printed, know each other, and what is to be
//! tried next works.

use std::{path::PathBuf, process::Command};

use hyper::Method;
use parley::loadgen::Client;
use serde_json::{Value, json};

use crate::cluster::{eventually, gateway};

/// The words of `hack/lib/demo.sh`, kept by `hack/test/stack.sh`.
fn farewell() -> String {
    let kubeconfig = PathBuf::from(std::env::var("KUBECONFIG").expect("run through make test"));
    std::fs::read_to_string(kubeconfig.with_file_name("demo").join("farewell")).expect("it was printed")
}

/// What a machine that stood still for seconds made unavailable, or late, is asked again.
async fn ask(client: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    eventually("an answer", || async {
        let answer = client.json(method.clone(), path, &[("prefer", "wait=20")], &body).await.ok()?;
        (![202, 503].contains(&answer.status)).then(|| (answer.status, answer.json()))
    })
    .await
}

#[tokio::test]
async fn the_two_demo_users_are_as_printed() {
    let said = farewell();
    assert!(said.contains(&format!("http://{}", gateway())), "{said}");
    for (who, friend) in [("alice", "bob"), ("bob", "alice")] {
        let line =
            said.lines().find(|line| line.trim().starts_with(&format!("{who},"))).expect("a line for each");
        let password = line.split_whitespace().nth(2).expect("a password");
        let client = Client::new(gateway());
        let account = json!({"userId": who, "password": password});
        let (status, reply) = ask(&client, Method::POST, "/api/session", account).await;
        assert_eq!((status, &reply["user"]["userId"]), (200, &json!(who)), "{reply}");
        let (_, friends) = ask(&client, Method::GET, "/api/friends", Value::Null).await;
        assert_eq!(friends["friend"][0]["userId"], json!(friend), "{friends}");
    }
}

/// The commands, but for the one that waits for a person, and the change itself, which the server only tries.
#[tokio::test]
async fn what_to_try_next_works() {
    let said = farewell();
    let lines = || said.lines().map(str::trim);
    let setting = lines().find(|line| line.starts_with("export ")).expect("the settings");
    let commands: Vec<&str> =
        lines().filter(|line| line.starts_with("kubectl ") && !line.contains(" -w ")).collect();
    assert_eq!(commands.len(), 3, "{said}");
    for command in commands {
        let tried = command.replace("kubectl replace", "kubectl replace --dry-run=server");
        // The set may change between its reading and its writing; a person would try again too.
        eventually(&tried, || async {
            let script = format!("{setting}\n{tried}");
            let output = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().ok()?;
            (output.status.success() && !output.stdout.is_empty()).then_some(())
        })
        .await;
    }
}
