//! The way to the API server.

use std::time::Duration;

use kube::Config;

use crate::process::Exit;

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// A watch is asked for anew this often, in seconds: so even one that has nothing to tell is heard from.
pub(super) const WATCH: u32 = 30;
/// A connection that says nothing for longer is lost. A host that is gone, or a balancer that forgot a connection, does not say so,
/// and whoever waited for an answer there would wait for ever.
const SILENCE: Duration = Duration::from_secs(35);

/// Where the API server is, by KUBECONFIG or as a pod knows it.
///
/// # Errors
/// When neither says.
pub(super) async fn config() -> Result<Config, Exit> {
    let mut config = Config::infer().await.map_err(|error| {
        Exit::settings(format!("no way to the API server: {error}; run in a pod or set KUBECONFIG"))
    })?;
    patient(&mut config);
    Ok(config)
}

/// Sets how long is waited for what.
pub(super) fn patient(config: &mut Config) {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    // From the question on, not from when the connection was last used.
    config.reset_reader_on_write = true;
}
