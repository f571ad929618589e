//! The kinds that workers may be of (`--scale-target`), as the API server names them.

use std::time::Duration;

use kube::{Client, core::ApiResource, discovery};

/// Between two looks for kinds that the API server did not know.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Ends when the API server knows one of these kinds: the leadership begins anew then, with a watch of it.
pub(super) async fn appear(client: Client, missing: Vec<String>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (kinds, still) = find(&client, &missing).await;
        if let Some(kind) = kinds.first() {
            tracing::info!(kind = kind.kind, missing = still.len(), "a kind of scale targets is there now");
            return;
        }
    }
}

/// The kinds that workers may be, as the API server names them, and those that it does not know. Tried until it answers.
pub(super) async fn find(client: &Client, targets: &[String]) -> (Vec<ApiResource>, Vec<String>) {
    let (mut kinds, mut missing) = (Vec::new(), Vec::new());
    for target in targets {
        loop {
            match kind(client, target).await {
                Ok(Some(kind)) => kinds.push(kind),
                Ok(None) => missing.push(target.clone()),
                Err(error) => {
                    tracing::warn!(target, %error, "the kinds of scale targets cannot be read; trying again");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    continue;
                }
            }
            break;
        }
    }
    (kinds, missing)
}

/// One kind by its group and plural name (`apps/deployments`), if the API server knows it.
async fn kind(client: &Client, target: &str) -> Result<Option<ApiResource>, kube::Error> {
    let (group, plural) = target.split_once('/').unwrap_or(("", target));
    match discovery::group(client, group).await {
        Ok(group) => {
            let mut known = group.recommended_resources().into_iter();
            Ok(known.find(|(resource, _)| resource.plural == plural).map(|(resource, _)| resource))
        }
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
