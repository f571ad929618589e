use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::{task, time::sleep};

use super::{
    Findings, Latency, PATIENCE, PathError, Place, SaveArgs,
    ear::number,
    ids::Ids,
    limit::stored,
    make::Maker,
    open_loop::{WARM, save},
    place::written,
    round,
};
use crate::{
    ids::{SessionKey, Timestamp},
    kafka::scan::{From, Scan},
    loadgen::bench::{PASSWORD, Stage},
    wire::{Kind, Login, Outgoing, Password, Request, RequestHeaders, SealingKeys, request_record},
};

/// How hard they come.
#[derive(Debug, Clone, clap::Args)]
pub struct LoginsArgs {
    /// Keys that seal passwords, the gateways' own
    #[arg(long)]
    pub seal_public_keys_file: PathBuf,
    /// Logins that come at once: more than can be done in the seconds that are measured
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub logins: u32,
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented where it is declared")]
    pub save: SaveArgs,
}

/// How many logins are done, and what chat notices of it.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginsReport {
    /// Logins that were answered while chat was measured.
    pub logins: i64,
    /// The same a second.
    pub per_second: f64,
    /// Whether some waited to the end: else there were too few of them, and the worker could have done more.
    pub saturated: bool,
    /// From the moment a message was due to its event, without logins.
    pub alone_ms: Latency,
    /// The same while logins wait all the time.
    pub beside_ms: Latency,
    /// The second p99 by the first.
    pub p99_ratio: f64,
    /// What the audits of both runs found.
    pub findings: [Findings; 2],
    /// Logins that were refused, or never answered.
    pub refused: u32,
}

/// The statement that gives every user of a stage a password to log in with, for a role that may write hashes.
///
/// # Errors
/// When passwords cannot be hashed here.
pub fn passwords_sql(stage: &Stage) -> Result<String, PathError> {
    Ok(stage.passwords_sql(&stored(PASSWORD)?))
}

/// Messages at a steady rate, first alone and then beside more logins than can be done: the hashing is what limits them.
///
/// # Errors
/// When Kafka or PostgreSQL cannot be reached, or the logins are not answered within four minutes after that.
pub async fn run_logins(place: &Place, stage: &Stage, args: &LoginsArgs) -> Result<LoginsReport, PathError> {
    let maker = Maker::new(place, stage, args.save.message_bytes)?;
    let alone = save(place, &maker, &args.save).await?;
    let (ids, admin, since) = (Ids::fresh(), place.admin()?, Timestamp::now());
    let topic = Kind::Login.response_topic();
    let records = records(place, &maker, ids, args)?;
    let first = written(&admin, topic).await?;
    place.producer.send_all(&records).await?;
    let next = maker.again();
    let counting = async {
        sleep(Duration::from_secs(u64::from(WARM))).await;
        let (before, start) = (written(&admin, topic).await?, Instant::now());
        sleep(Duration::from_secs(u64::from(args.save.seconds))).await;
        let done = written(&admin, topic).await?;
        Ok::<_, PathError>((done - before, start.elapsed(), done - first))
    };
    let (beside, counted) = tokio::join!(save(place, &next, &args.save), counting);
    let (beside, (logins, span, done)) = (beside?, counted?);
    wait(&admin, first, args.logins).await?;
    let place = place.clone();
    let good = task::spawn_blocking(move || successes(&place, ids, since)).await??;
    Ok(LoginsReport {
        logins,
        per_second: round(logins as f64 / span.as_secs_f64()),
        saturated: done < i64::from(args.logins),
        p99_ratio: round(beside.event_ms.p99 / alone.event_ms.p99.max(0.01)),
        alone_ms: alone.event_ms,
        beside_ms: beside.event_ms,
        findings: [alone.findings, beside.findings],
        refused: args.logins.saturating_sub(good),
    })
}

/// A login of another user each, under a session of its own.
fn records(place: &Place, maker: &Maker, ids: Ids, args: &LoginsArgs) -> Result<Vec<Outgoing>, PathError> {
    let keys = SealingKeys::load(&args.seal_public_keys_file)?;
    let illegal = |_| PathError::Shape("the generated password is not legal");
    let password = Password::try_from(PASSWORD.to_owned()).map_err(illegal)?;
    let now = Timestamp::now();
    (0..args.logins)
        .map(|n| {
            let (user, _) = maker.writer_of(n);
            let request_id = ids.of(n, now);
            let sealed = keys.seal(&password, user, request_id);
            let sealed_password = sealed.map_err(|_| PathError::Shape("no random bytes are to be had"))?;
            let headers = RequestHeaders {
                request_id,
                session_key: SessionKey(rand::random()),
                user_id: None,
                client_address: None,
                deadline: now.after(Duration::from_secs(3_600)),
                traceparent: None,
            };
            let login = Request::Login(Login { user_id: user.clone(), sealed_password });
            Ok(request_record(&place.requests, &headers, &login))
        })
        .collect()
}

/// Waits until every login is answered, so that what is measured next is not disturbed.
async fn wait(admin: &crate::kafka::admin::Admin, first: i64, logins: u32) -> Result<(), PathError> {
    let start = Instant::now();
    loop {
        let there = written(admin, Kind::Login.response_topic()).await? - first;
        if there >= i64::from(logins) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(PathError::Late { what: "answers to logins", there, wanted: i64::from(logins) });
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Answers that say yes.
fn successes(place: &Place, ids: Ids, since: Timestamp) -> Result<u32, PathError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        is_success: bool,
    }
    let mut good = 0;
    let from = From::Time(since.as_micros() / 1_000 - 1);
    Scan::start(&place.kafka, &[Kind::Login.response_topic()], from)?.to_end(|view| {
        let answer = serde_json::from_slice::<Answer>(view.record.value);
        good += u32::from(number(ids, view).is_some() && answer.is_ok_and(|answer| answer.is_success));
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(good)
}
