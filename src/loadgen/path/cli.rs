use super::{
    BacklogArgs, LoginsArgs, OneByOneArgs, SaveArgs, Site,
    limit::{BrokerArgs, HashArgs, PostgresArgs, StreamArgs, run_broker, run_hash, run_postgres, run_stream},
    run_backlog, run_logins, run_one_by_one, run_save,
};
use crate::{
    loadgen::{
        bench::Stage,
        run::{held, tell},
    },
    process::Exit,
};

/// The scenarios of the worker's own path.
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "the fields are documented where they are declared")]
pub enum PathScenario {
    /// Messages straight into Kafka, each when it is due: how late its reply and its event are
    Save {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        args: SaveArgs,
    },
    /// A backlog that the worker saves as fast as it can
    Backlog {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        args: BacklogArgs,
    },
    /// The same by a plain loop that takes one record at a time
    OneByOne {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        args: OneByOneArgs,
    },
    /// More logins than can be hashed, and what chat notices of them
    Logins {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        args: LoginsArgs,
    },
    /// PostgreSQL alone: bare inserts of the same rows
    LimitPostgres {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        args: PostgresArgs,
    },
    /// Kafka alone: requests read, replies and events written
    LimitKafka {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        stage: Stage,
        #[command(flatten)]
        args: BrokerArgs,
    },
    /// argon2 alone
    LimitHash(HashArgs),
    /// Writing to sockets alone
    LimitStream(StreamArgs),
}

impl PathScenario {
    pub(in crate::loadgen) async fn run(self) -> Result<(), Exit> {
        const WRONG: &str = "the audit found something wrong: see the findings above";
        match self {
            Self::Save { site, stage, args } => {
                let report = run_save(&site.open()?, &stage, &args).await?;
                tell(&report)?;
                held(report.findings.clean() && report.stream_lost == 0, WRONG)
            }
            Self::Backlog { site, stage, args } => {
                let report = run_backlog(&site.open()?, &stage, &args).await?;
                tell(&report)?;
                held(report.findings.clean(), WRONG)
            }
            Self::OneByOne { site, stage, args } => {
                tell(&run_one_by_one(&site.open()?, &stage, &args).await?)
            }
            Self::Logins { site, stage, args } => {
                let report = run_logins(&site.open()?, &stage, &args).await?;
                tell(&report)?;
                held(report.saturated, "all logins were done before the end: take more --logins")?;
                held(report.refused == 0 && report.findings.iter().all(|found| found.clean()), WRONG)
            }
            Self::LimitPostgres { site, stage, args } => {
                tell(&run_postgres(&site.open()?, &stage, &args).await?)
            }
            Self::LimitKafka { site, stage, args } => tell(&run_broker(&site.open()?, &stage, &args).await?),
            Self::LimitHash(args) => tell(&run_hash(&args).await?),
            Self::LimitStream(args) => tell(&run_stream(&args).await?),
        }
    }
}
