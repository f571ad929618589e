use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::Method;
use serde_json::json;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::Stage;
use crate::{ids::Timestamp, loadgen::Client};

/// Messages under way at once: beyond it the schedule slips, which latency from the due moment shows.
const IN_FLIGHT: usize = 256;

/// Messages on a schedule of their own, whatever the system does (an open loop).
#[derive(Debug, Clone, clap::Args)]
pub struct Talk {
    /// Messages a second, spread over all rooms in turn
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// How long messages are due, in seconds
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=16_000))]
    pub message_bytes: u32,
}

/// What became of the messages.
#[derive(Debug, Default)]
pub(super) struct Talked {
    /// By room.
    pub(super) accepted: Vec<u64>,
    pub(super) refused: u64,
}

impl Talked {
    pub(super) fn total(&self) -> u64 {
        self.accepted.iter().sum()
    }

    /// How often listeners hear them, when `share` of the members of each room listen.
    pub(super) fn deliveries(&self, stage: &Stage, share: u64) -> u64 {
        (0..).zip(&self.accepted).map(|(room, count)| count * u64::from(stage.size_of(room)) / share).sum()
    }
}

impl Talk {
    /// Sends all messages when they are due, and waits for the answers.
    pub(super) async fn run(&self, stage: &Stage, gateway: SocketAddr) -> Talked {
        let rooms = stage.rooms();
        let mut talked = Talked { accepted: vec![0; rooms as usize], refused: 0 };
        let (start, since) = (Instant::now(), Timestamp::now());
        let slots = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut sends = JoinSet::new();
        for n in 0..due(self.rate, self.seconds) {
            let after = Duration::from_secs_f64(f64::from(n) / self.rate);
            sleep_until(start + after).await;
            let room = n % rooms;
            let client = Client::new(gateway);
            client.set_cookie(Some(stage.cookie(stage.member(room, n / rooms))));
            let path = format!("/api/rooms/{}/messages", stage.room(room));
            let mut text = format!("{} ", since.after(after).as_micros());
            text.extend(std::iter::repeat_n('x', (self.message_bytes as usize).saturating_sub(text.len())));
            let slots = Arc::clone(&slots);
            sends.spawn(async move {
                let _slot = slots.acquire_owned().await;
                let body = json!({ "message": text });
                let sent = timeout(Duration::from_secs(20), client.json(Method::POST, &path, &[], &body)).await;
                let taken = matches!(&sent, Ok(Ok(answer)) if answer.status == 202 && answer.json()["accepted"].is_null());
                (room as usize, taken)
            });
        }
        while let Some(sent) = sends.join_next().await {
            match sent {
                Ok((room, true)) => talked.accepted[room] += 1,
                _ => talked.refused += 1,
            }
        }
        talked
    }
}

/// How many things are due at a rate within so many seconds.
pub(super) fn due(rate: f64, seconds: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bounded count")]
    let count = (rate.clamp(0.0, 100_000.0) * seconds as f64) as u32;
    count
}
