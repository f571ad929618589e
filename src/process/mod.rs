//! What every binary shares: flags with environment, log, metrics registry, traces, admin server, shutdown, exit codes
//! (docs/protocol.md section 4). Knows none of the services.
//!
//! A binary's `main` is one call of [`main`]; a service is an `async fn run(args, process)` that returns when
//! [`Process::shutdown`] asks it to and it has drained.

mod admin;
mod exit;
mod flags;
mod health;
mod log;
pub mod metrics;
mod secret;
mod shutdown;
pub mod trace;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub use exit::Exit;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use flags::one_line;
pub use flags::{LogFormat, ProcessArgs};
pub use health::{Dependency, Health};
use metrics::Registry;
/// Where the programs take memory from (docs/decisions.md). Each names it itself, so that the tests, which run under a memory checker
/// too, keep the system's.
pub use mimalloc::MiMalloc as Allocator;
pub use secret::{Secret, SecretError};
pub use shutdown::Shutdown;

/// The version that stands in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that this was built from, when the build said so.
pub const COMMIT: &str = match option_env!("PARLEY_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What a running service gets from its process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Where the service says what it depends on and whether it has it.
    pub health: Health,
    /// Where the service registers its metrics. One per process value, not per program: two servers fit into one test.
    pub registry: Registry,
    /// When to stop.
    pub shutdown: Shutdown,
    /// What makes the service's spans; off unless the environment names a collector.
    pub tracer: trace::Tracer,
}

impl Process {
    /// A process without signals, log and admin server: for tests that run a service inside their own program.
    pub fn bare() -> Self {
        let registry = Registry::new();
        let (health, shutdown) = (Health::new(&registry), Shutdown::new());
        Self { health, registry, shutdown, tracer: trace::Tracer::default() }
    }
}

/// A binary's command line: one variant or flag set that knows how to run.
pub trait Command: CommandFactory + FromArgMatches {
    /// The process surface that it was given; `None` for a one-shot command, which serves no admin port.
    fn process(&self) -> Option<&ProcessArgs>;

    /// How many threads run its tasks; `None` for as many as there are cores. Each has memory of its own for every size of an object.
    fn threads(&self) -> Option<usize> {
        None
    }

    /// Does the work until it is done, or until the process is asked to stop and it has drained.
    fn run(self, process: Process) -> impl Future<Output = Result<(), Exit>>;
}

/// Parses the command line, runs it, and says how it ended: 0 done or drained, 1 failure, 2 bad settings.
pub fn main<C: Command>() -> ExitCode {
    let (command, settings) = match flags::parse::<C>() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    log::init(command.process());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = command.threads() {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::failure(format!("cannot start the runtime: {error}")).report(),
    };
    let result = runtime.block_on(serve(command, &settings));
    // Blocking work that is still under way (a hash, a librdkafka call) must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}

async fn serve<C: Command>(command: C, settings: &str) -> Result<(), Exit> {
    let mut process = Process::bare();
    let Some(args) = command.process().cloned() else {
        process.shutdown.on_signals()?;
        return command.run(process).await;
    };
    metrics::register_process(&process.registry)?;
    let traces = trace::Traces::start(C::command().get_name(), &process.registry)?;
    process.tracer = traces.tracer();
    process.shutdown.on_signals()?;
    let admin = admin::serve(args.admin_addr, &process).await?;
    tracing::info!(version = VERSION, commit = COMMIT, settings, admin = %args.admin_addr, "starting");
    let result = command.run(process).await;
    traces.end().await;
    admin.abort();
    if result.is_ok() {
        tracing::info!("stopped");
    }
    result
}
