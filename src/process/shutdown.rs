use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;

/// The wish to stop, shared by all parts of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Not asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for it.
    pub fn start(&self) {
        self.0.cancel();
    }

    /// Whether it was asked for.
    pub fn started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is asked for. Safe to drop and call again.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// The token itself, for what wants one.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }

    /// From now on SIGTERM and SIGINT ask for it; a second one ends the process at once with code 1.
    pub(super) fn on_signals(&self) -> Result<(), Exit> {
        let cannot = |error| Exit::failure(format!("cannot listen for signals: {error}"));
        let mut term = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut int = signal(SignalKind::interrupt()).map_err(cannot)?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                if shutdown.started() {
                    tracing::warn!("asked to stop a second time: ending at once");
                    std::process::exit(1);
                }
                tracing::info!("asked to stop: draining");
                shutdown.start();
            }
        });
        Ok(())
    }
}
