//! The controller: observe → plan → apply → status.
//!
//! ```text
//!  watch (sets, targets) ──┐                        ┌─► plan (pure) ─► remember (status) ─► apply ─► look again
//!  poll (one per Kafka) ───┴─► queue ─► reconcile ──┤
//!                                                   └─► scaling (pure) ─► /scale ─► status (pure) ─► status write
//! ```
//!
//! Only the holder of the lease works. Status is memory, never truth: what must not be forgotten is written there before
//! Kafka is asked, and what is forgotten makes the controller leave things alone.

mod announce;
mod apply;
mod args;
mod cluster;
mod clusters;
mod context;
mod deletion;
mod desired;
mod events;
mod fights;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kinds;
mod kubernetes;
mod lag;
mod lease;
mod lint;
mod metrics;
mod object;
mod ownership;
mod plan;
mod preview;
mod queue;
mod reconcile;
mod run;
mod scale;
mod scaling;
mod secret;
mod sets;
mod status;
mod targets;
mod topics;
mod uninstall;
mod watch;
mod workers;

pub use args::{Controller, RunArgs};
pub use lint::LintArgs;
pub use preview::{Output, PlanArgs};
pub use run::run;
pub use secret::SecretArgs;
pub use uninstall::UninstallArgs;
