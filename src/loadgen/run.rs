use super::{ChatArgs, run_chat};
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
}

impl Command for LoadgenCli {
    fn process(&self) -> Option<&ProcessArgs> {
        None
    }

    #[expect(clippy::print_stdout, reason = "the report is what the command is for")]
    async fn run(self, _process: Process) -> Result<(), Exit> {
        let Scenario::Chat(args) = self.scenario;
        if args.rooms == 0 || args.members == 0 || args.rate <= 0.0 {
            return Err(Exit::settings("--rooms, --members and --rate must be above 0"));
        }
        let report = run_chat(&args).await.map_err(Exit::failure)?;
        println!("{}", serde_json::to_string_pretty(&report).map_err(Exit::failure)?);
        if report.findings.clean() {
            return Ok(());
        }
        Err(Exit::failure("messages were lost or doubled: see the findings above"))
    }
}
