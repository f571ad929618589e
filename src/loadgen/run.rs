use std::time::Duration;

use serde::Serialize;

use super::{
    ChatArgs,
    bench::{
        DayArgs, FloodArgs, Leaving, Stage, StuckArgs, Talk, Target, make_topics, run_connect, run_day,
        run_drain, run_fanout, run_flood, run_idle, run_stuck,
    },
    path::{PathScenario, passwords_sql},
    run_chat,
};
use crate::process::{Command, Exit, Process, ProcessArgs};

/// The command line of `loadgen`.
#[derive(Debug, clap::Parser)]
#[command(name = "loadgen", about = "Loads a running Parley and audits what came of it")]
pub struct LoadgenCli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, clap::Subcommand)]
enum Scenario {
    /// Rooms with members who listen, and messages on an open-loop schedule
    Chat(ChatArgs),
    /// Creates the topics that the scenarios below use
    Topics {
        /// Broker, address:port
        #[arg(long)]
        bootstrap: String,
        /// Partitions of the topics of messages
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..=100))]
        chat_partitions: i32,
    },
    /// The SQL that makes the users, sessions and rooms of the scenarios below
    Stage {
        #[command(flatten)]
        stage: Stage,
        /// With a password for each user, so that they can log in
        #[arg(long)]
        passwords: bool,
    },
    /// Streams that hear nothing: memory of each
    Idle {
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        target: Target,
        /// Seconds that they are left alone
        #[arg(long, default_value_t = 40)]
        settle: u64,
    },
    /// Messages to rooms of listeners: latency, and processor time of each delivery
    Fanout {
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        talk: Talk,
        /// How often the same load comes
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Readers that do not read beside others that do
    Stuck {
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        talk: Talk,
        #[command(flatten)]
        args: StuckArgs,
    },
    /// A stream for each user, each opened when it is due
    Connect {
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        target: Target,
        /// Streams a second
        #[arg(long, default_value_t = 1_000.0)]
        rate: f64,
    },
    /// A gateway that is asked to stop or killed, and another one where its browsers go
    Drain {
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        leaving: Leaving,
        #[command(flatten)]
        talk: Talk,
    },
    /// Everything that people do, mixed
    Day {
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        args: DayArgs,
    },
    #[command(flatten)]
    Path(PathScenario),
    /// Thousands of new connections a second beside healthy clients
    Flood {
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        talk: Talk,
        #[command(flatten)]
        flood: FloodArgs,
    },
}

impl Command for LoadgenCli {
    fn process(&self) -> Option<&ProcessArgs> {
        None
    }

    async fn run(self, _process: Process) -> Result<(), Exit> {
        match self.scenario {
            Scenario::Chat(args) => {
                if args.rooms == 0 || args.members == 0 || args.rate <= 0.0 {
                    return Err(Exit::settings("--rooms, --members and --rate must be above 0"));
                }
                let report = run_chat(&args).await.map_err(Exit::failure)?;
                tell(&report)?;
                held(
                    report.clean(),
                    "messages were lost or doubled, or streams were not as they must be: see above",
                )
            }
            Scenario::Topics { bootstrap, chat_partitions } => {
                make_topics(&bootstrap, chat_partitions).await.map_err(Exit::failure)
            }
            Scenario::Stage { stage, passwords: false } => write(&stage.sql()),
            Scenario::Stage { stage, passwords: true } => write(&(stage.sql() + &passwords_sql(&stage)?)),
            Scenario::Path(scenario) => scenario.run().await,
            Scenario::Idle { stage, target, settle } => {
                let report = run_idle(&stage, &target, Duration::from_secs(settle)).await;
                let report = report.map_err(Exit::failure)?;
                tell(&report)?;
                none(&report.failings(&stage))
            }
            Scenario::Fanout { stage, target, talk, rounds } => {
                let report = run_fanout(&stage, &target, &talk, rounds).await.map_err(Exit::failure)?;
                tell(&report)?;
                held(report.lost == 0 && report.breaches.is_empty(), "messages were lost: see above")
            }
            Scenario::Stuck { stage, target, talk, args } => {
                let report = run_stuck(&stage, &target, &talk, &args).await.map_err(Exit::failure)?;
                tell(&report)?;
                held(report.measured(&stage), "readers that should have been stuck were not: see above")?;
                held(report.breaches.is_empty(), "see the breaches above")
            }
            Scenario::Connect { stage, target, rate } => {
                let report = run_connect(&stage, &target, rate).await.map_err(Exit::failure)?;
                tell(&report)?;
                held(report.breaches.is_empty(), "see the breaches above")
            }
            Scenario::Drain { stage, target, leaving, talk } => {
                let report = run_drain(&stage, &target, &leaving, &talk).await.map_err(Exit::failure)?;
                tell(&report)?;
                none(&report.failings(&leaving))
            }
            Scenario::Day { stage, target, args } => {
                let report = run_day(&stage, &target, &args).await.map_err(Exit::failure)?;
                tell(&report)?;
                let done = report.actions.values().all(|done| done.failed == 0);
                let good = done && report.lost == 0 && report.breaches.is_empty();
                held(good, "something was not done, or messages were lost: see above")
            }
            Scenario::Flood { stage, target, talk, flood } => {
                let report = run_flood(&stage, &target, &talk, &flood).await.map_err(Exit::failure)?;
                tell(&report)?;
                none(&report.failings(&flood))
            }
        }
    }
}

pub(super) fn held(good: bool, else_why: &str) -> Result<(), Exit> {
    if good { Ok(()) } else { Err(Exit::failure(else_why)) }
}

fn none(failings: &[String]) -> Result<(), Exit> {
    held(failings.is_empty(), &failings.join("; "))
}

pub(super) fn tell(report: &impl Serialize) -> Result<(), Exit> {
    write(&(serde_json::to_string_pretty(report).map_err(Exit::failure)? + "\n"))
}

#[expect(clippy::print_stdout, reason = "the output is what the command is for")]
fn write(text: &str) -> Result<(), Exit> {
    print!("{text}");
    Ok(())
}
