//! The command line of the controller.

use std::time::Duration;

use super::{lint::LintArgs, preview::PlanArgs, secret::SecretArgs, uninstall::UninstallArgs};
use crate::{
    kafka::KafkaArgs,
    process::{Command, Exit, Process, ProcessArgs},
};

/// Keeps Kafka topics and worker counts as ChatTopicSets declare them.
#[derive(Debug, clap::Parser)]
#[command(name = "controller")]
pub struct Controller {
    #[command(subcommand)]
    command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Work: one process leads, the others stand by
    Run(RunArgs),
    /// Check files offline, with the rules of the API server
    Lint(LintArgs),
    /// Print what files would change in the live Kafka: code 0 nothing, 2 something
    // A set may name its own Kafka, and then no other is needed.
    #[command(mut_arg("kafka_bootstrap_servers", |arg| arg.required(false)))]
    Plan(PlanArgs),
    /// End the controller and free sets from waiting for it: before a release goes
    Uninstall(UninstallArgs),
    /// Make a Secret of the files in a folder, unless it is there
    Secret(SecretArgs),
}

/// The settings of `controller run`.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// Flags that every service has.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// The controller's own Kafka connection.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// Namespaces whose sets are served, separated by commas; left out: all
    #[arg(long, env = "PARLEY_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Namespaces whose sets may use the controller's own Kafka connection; left out: the controller's own namespace
    #[arg(long, env = "PARLEY_OWN_CONNECTION_NAMESPACES", value_delimiter = ',')]
    pub own_connection_namespaces: Vec<String>,
    /// Kinds that workers may be, each with a /scale, as GROUP/RESOURCE, separated by commas
    #[arg(long, env = "PARLEY_SCALE_TARGETS", value_delimiter = ',', default_value = "apps/deployments")]
    pub scale_targets: Vec<String>,
    /// Name of the lease by which one process leads
    #[arg(long, env = "PARLEY_LEASE_NAME", default_value = "parley-controller")]
    pub lease_name: String,
    /// Namespace of the lease; left out: the controller's own
    #[arg(long, env = "PARLEY_LEASE_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// After so many seconds without a renewal another process takes over
    #[arg(long, env = "PARLEY_LEASE_SECONDS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(3..=300))]
    pub lease_seconds: u64,
    /// Field manager of replica counts, one for each install; left out: parley-scale/NAMESPACE/LEASE
    #[arg(long, env = "PARLEY_SCALE_FIELD_MANAGER")]
    pub scale_field_manager: Option<String>,
    /// Seconds between two looks at all topics of a Kafka cluster; their configuration is read on every third
    #[arg(long, env = "PARLEY_POLL_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub poll_seconds: u64,
    /// A set that deletes its topics goes without them after so many seconds in which they could not be deleted
    #[arg(long, env = "PARLEY_FINALIZER_DEADLINE_SECONDS", default_value_t = 300)]
    pub finalizer_deadline_seconds: u64,
    /// How many sets are worked on at once
    #[arg(long, env = "PARLEY_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

impl RunArgs {
    pub(super) fn lease_duration(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    /// Shorter than what is left of the lease after its last renewal, so that no call outlives it.
    pub(super) fn admin_timeout(&self) -> Duration {
        self.lease_duration() * 3 / 5
    }
}

impl Command for Controller {
    fn process(&self) -> Option<&ProcessArgs> {
        match &self.command {
            Subcommand::Run(args) => Some(&args.process),
            Subcommand::Lint(_) | Subcommand::Plan(_) | Subcommand::Uninstall(_) | Subcommand::Secret(_) => {
                None
            }
        }
    }

    /// It waits for others nearly all of the time; a second thread would cost 5 MB and do nothing sooner.
    fn threads(&self) -> Option<usize> {
        Some(1)
    }

    async fn run(self, process: Process) -> Result<(), Exit> {
        match self.command {
            Subcommand::Run(args) => super::run::run(args, process).await,
            Subcommand::Lint(args) => super::lint::run(&args),
            Subcommand::Plan(args) => super::preview::run(args).await,
            Subcommand::Uninstall(args) => super::uninstall::run(args).await,
            Subcommand::Secret(args) => super::secret::run(args).await,
        }
    }
}
