use clap::Parser;

use crate::{
    controller, gateway,
    process::{Secret, one_line},
    store,
    wire::fuzzing::{CANARY, key_file},
    worker,
};

/// Given beside the settings; no input holds it.
const PASSWORD: &str = "of-kafka-alone";

#[derive(Debug, Parser)]
struct Gateway {
    #[command(flatten)]
    run: gateway::RunArgs,
}

#[derive(Debug, Parser)]
struct Worker {
    #[command(flatten)]
    run: worker::RunArgs,
}

#[derive(Debug, Parser)]
struct Controller {
    #[command(flatten)]
    run: controller::RunArgs,
}

/// Every property of settings. The first line says of what: `gateway`, `worker` or `controller`, whose arguments follow, a line
/// each; `keys`, the text of a key file; `database`, a URL. Gives whether a process would start with them.
pub(super) fn settings(data: &[u8]) -> bool {
    let Some((what, rest)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else {
        return false;
    };
    // As many as a command line of some length has; each costs clap a look at all others.
    let line = [what].into_iter().chain(rest.lines().take(64));
    match what {
        "gateway" => parsed(Gateway::try_parse_from(line)).is_some_and(|gateway| a_gateway(&gateway.run)),
        "worker" => parsed(Worker::try_parse_from(line)).is_some_and(|worker| a_worker(&worker.run)),
        "controller" => parsed(Controller::try_parse_from(line)).is_some_and(|c| a_controller(&c.run)),
        "keys" => keys(rest),
        "database" => database(rest),
        _ => false,
    }
}

fn parsed<T>(parsed: Result<T, clap::Error>) -> Option<T> {
    parsed.map_err(|error| is_one_line(&one_line(&error.to_string()))).ok()
}

fn is_one_line(text: &str) {
    assert!(!text.is_empty() && !text.contains(['\n', '\r']), "not one line: {text:?}");
}

/// A refusal is one line, and no secret stands in it, nor in what a log shows of the settings.
fn refusal(refused: &impl ToString) {
    let text = refused.to_string();
    is_one_line(&text);
    assert!(!text.contains(CANARY), "a refusal tells a secret: {text}");
}

fn kafka(args: &crate::kafka::KafkaArgs) -> bool {
    for password in [None, Some(PASSWORD)] {
        match args.check(password) {
            Ok(settings) => {
                assert!(
                    !format!("{settings:?}").contains(PASSWORD),
                    "a log shows the password: {settings:?}"
                );
                let sasl = format!("{:?}", args.kafka_security_protocol).starts_with("Sasl");
                assert_eq!(sasl, password.is_some() && args.kafka_username.is_some(), "{args:?}");
                return true;
            }
            Err(error) => refusal(&error),
        }
    }
    false
}

fn log_level(args: &crate::process::ProcessArgs) {
    let filter = tracing_subscriber::EnvFilter::try_new(&args.log_level);
    assert!(filter.is_ok(), "a log level is accepted and not understood: {}", args.log_level);
}

fn a_gateway(args: &gateway::RunArgs) -> bool {
    log_level(&args.process);
    let usable = args.check();
    if let Err(error) = &usable {
        refusal(error);
    }
    let exposed = args.insecure_cookie && !args.listen_addr.ip().is_loopback();
    assert_eq!(usable.is_err(), exposed, "{args:?}");
    kafka(&args.kafka) && usable.is_ok()
}

fn a_worker(args: &worker::RunArgs) -> bool {
    log_level(&args.process);
    let usable = args.usable();
    match &usable {
        Err(error) => refusal(error),
        Ok(()) => {
            assert!(args.drain_seconds < args.session_timeout_seconds, "{args:?}");
            assert!(args.session_timeout_seconds < args.termination_grace_seconds, "{args:?}");
            let passwords = args.kinds.iter().any(|kind| matches!(kind.as_str(), "Login" | "AddUser"));
            assert!(!passwords || args.keys.seal_private_keys_file.is_some(), "{args:?}");
        }
    }
    kafka(&args.kafka) && usable.is_ok()
}

fn a_controller(args: &controller::RunArgs) -> bool {
    log_level(&args.process);
    assert!((3..=300).contains(&args.lease_seconds) && args.concurrency > 0, "{args:?}");
    kafka(&args.kafka)
}

fn keys(text: &str) -> bool {
    // Ids may be told, and so may be what is an id and a key at once.
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let pairs = || json["keys"].as_object().into_iter().flatten();
    let ids = || pairs().map(|(id, _)| id.as_str()).chain(json["active"].as_str());
    let keys = pairs().filter_map(|(_, key)| key.as_str());
    match key_file(text) {
        Ok((active, known)) => {
            assert!(known.contains(&active), "the active key {active:?} is not there");
            true
        }
        Err(error) => {
            let said = error.to_string();
            is_one_line(&said);
            for key in keys.filter(|key| key.len() >= 16 && !ids().any(|id| id.contains(key))) {
                assert!(!said.contains(key), "a refusal tells a key: {said}");
            }
            false
        }
    }
}

fn database(url: &str) -> bool {
    let usable = store::usable(&Secret::new(url.to_owned()));
    if let Err(error) = &usable {
        refusal(error);
    }
    usable.is_ok()
}
