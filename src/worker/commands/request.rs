use std::{
    io::BufRead as _,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{connection, say::say};
use crate::{
    ids::{RequestId, SessionKey, SessionToken, Timestamp, UserId},
    kafka::{
        Delivery, KafkaArgs,
        scan::{From, Scan},
    },
    process::Exit,
    wire::{
        HeaderName, Incoming, Keyring, Kind, Password, Request, RequestHeaders, SealingKeys, open_reply,
        request_record,
    },
};

/// Send one signed request and print its reply: the by-hand check of the whole system
#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    /// What to ask: a kind, like AddChat; a wrong one is answered with the list
    kind: Kind,
    /// The request's fields as JSON; `userId` or `writerId` may be left out
    #[arg(default_value = "{}")]
    fields: String,
    /// Who asks
    #[arg(long)]
    user: UserId,
    /// Session that the reply is for; default: a fresh one, printed with the reply
    #[arg(long)]
    session_key: Option<SessionKey>,
    /// Read the password of Login or AddUser from standard input
    #[arg(long)]
    password_stdin: bool,
    /// How long to wait for the reply; also the request's deadline
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Keys that sign requests
    #[arg(long, env = "PARLEY_REQUEST_KEYS_FILE")]
    request_keys_file: PathBuf,
    /// Keys that verify replies
    #[arg(long, env = "PARLEY_REPLY_KEYS_FILE")]
    reply_keys_file: PathBuf,
    /// Keys that seal passwords; needed for Login and AddUser
    #[arg(long, env = "PARLEY_SEAL_PUBLIC_KEYS_FILE")]
    seal_public_keys_file: Option<PathBuf>,
    #[command(flatten)]
    kafka: KafkaArgs,
}

pub(super) async fn run(args: RequestArgs) -> Result<(), Exit> {
    let kafka = connection::kafka(&args.kafka)?;
    let signing = Keyring::load(&args.request_keys_file).map_err(Exit::settings)?;
    let verifying = Keyring::load(&args.reply_keys_file).map_err(Exit::settings)?;
    let session_key = match args.session_key {
        Some(key) => key,
        None => SessionToken::fresh().map_err(Exit::failure)?.key(),
    };
    let anonymous = matches!(args.kind, Kind::Login | Kind::AddUser);
    let wait = Duration::from_secs(args.seconds);
    let headers = RequestHeaders {
        request_id: RequestId::fresh(),
        session_key,
        user_id: (!anonymous).then(|| args.user.clone()),
        client_address: None,
        deadline: Timestamp::now().after(wait),
        traceparent: None,
    };
    let request = request(&args, headers.request_id)?;
    let record = request_record(&signing, &headers, &request);
    let (kind, id) = (args.kind, headers.request_id);
    let reading = kafka.clone();
    let replies = connection::blocking(move || {
        Scan::start(&reading, &[kind.response_topic()], From::End).map_err(Exit::failure)
    })
    .await?;
    let producer = connection::producer(&kafka)?;
    let start = Instant::now();
    match producer.send(&record).await {
        Delivery::Persisted => {}
        Delivery::NotPersisted(why) => return Err(Exit::failure(format!("the request was not sent: {why}"))),
        Delivery::Unknown => tracing::warn!("it is not known whether the request was sent"),
    }
    let reply = connection::blocking(move || {
        let mut reply = None;
        replies.follow(wait, |view| match verified(&verifying, &view.record, id) {
            Some(value) => {
                reply = Some(value);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        });
        Ok(reply)
    })
    .await?;
    let Some(reply) = reply else {
        return Err(Exit::failure(format!(
            "no reply to {id} within {wait:?}; worker trace {id} may tell more"
        )));
    };
    tracing::info!(request = %id, session = %session_key, milliseconds = start.elapsed().as_millis(), "answered");
    say(&reply)?;
    match reply["errorCode"].as_str() {
        None => Ok(()),
        Some(code) => Err(Exit::failure(format!("the request was refused: {code}"))),
    }
}

fn verified(keys: &Keyring, record: &Incoming<'_>, id: RequestId) -> Option<Value> {
    let wanted = id.to_string();
    let named = (HeaderName::RequestId.as_str(), wanted.as_bytes());
    if !record.headers.contains(&named) || open_reply(keys, record).is_err() {
        return None;
    }
    serde_json::from_slice(record.value).ok()
}

/// The request, with the fields that the flags give.
fn request(args: &RequestArgs, id: RequestId) -> Result<Request, Exit> {
    let mut fields: Value = serde_json::from_str(&args.fields)
        .map_err(|error| Exit::settings(format!("the fields are not JSON: {error}")))?;
    let Some(object) = fields.as_object_mut() else {
        return Err(Exit::settings("the fields must be a JSON object"));
    };
    let name = if args.kind == Kind::AddChat { "writerId" } else { "userId" };
    object.entry(name).or_insert_with(|| json!(args.user));
    if matches!(args.kind, Kind::Login | Kind::AddUser) {
        let Some(path) = &args.seal_public_keys_file else {
            return Err(Exit::settings(format!("{} needs --seal-public-keys-file", args.kind)));
        };
        let keys = SealingKeys::load(path).map_err(Exit::settings)?;
        let sealed = keys.seal(&password(args)?, &args.user, id).map_err(Exit::failure)?;
        object.insert("sealedPassword".to_owned(), json!(sealed));
    }
    Request::decode(args.kind, fields.to_string().as_bytes()).map_err(Exit::settings)
}

fn password(args: &RequestArgs) -> Result<Password, Exit> {
    if !args.password_stdin {
        return Err(Exit::settings(format!("{} needs a password: give --password-stdin", args.kind)));
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Exit::failure(format!("cannot read the password: {error}")))?;
    Password::try_from(line.trim_end_matches(['\r', '\n']).to_owned()).map_err(Exit::settings)
}
