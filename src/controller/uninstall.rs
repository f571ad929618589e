//! `controller uninstall`: what a release does before it goes (the chart's pre-delete hook).
//!
//! A set that deletes its topics waits, by its finalizer, for a controller; without one it would wait for ever, and so would
//! its namespace. In this order: no controller any more, so that nobody puts the finalizer back; then no finalizer. The
//! topics stay.

use std::{io::Write as _, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
    core::{DynamicObject, PartialObjectMeta},
};
use serde_json::json;

use super::{context::set_resource, kubernetes};
use crate::{api::FINALIZER, process::Exit};

/// Between two looks at whether the controller's pods are gone.
const LOOK: Duration = Duration::from_millis(500);

/// The arguments of `controller uninstall`.
#[derive(Debug, Clone, clap::Args)]
pub struct UninstallArgs {
    /// The controller's Deployment, which is scaled to 0
    #[arg(long, env = "PARLEY_CONTROLLER_DEPLOYMENT")]
    pub deployment: String,
    /// Labels of the controller's pods, as KEY=VALUE separated by commas: it goes on when none of them is left
    #[arg(long, env = "PARLEY_CONTROLLER_PODS")]
    pub pods: String,
    /// Namespace of both; left out: the pod's or the kubeconfig's own
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Namespaces whose sets are freed, separated by commas; left out: all
    #[arg(long, env = "PARLEY_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Seconds that the controller may take to end
    #[arg(long, default_value_t = 60)]
    pub wait_seconds: u64,
}

/// Ends the controller and frees its sets. May be run again at any point.
///
/// # Errors
/// When the API server refuses, or the controller does not end in time: the finalizers are left as they are then.
pub(super) async fn run(args: UninstallArgs) -> Result<(), Exit> {
    let config = kubernetes::config().await?;
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(Exit::failure)?;
    end_controller(&client, &namespace, &args).await?;
    let scopes: Vec<Api<DynamicObject>> = match args.watch_namespaces.as_slice() {
        [] => vec![Api::all_with(client.clone(), &set_resource())],
        some => {
            let scoped = |ns: &String| Api::namespaced_with(client.clone(), ns, &set_resource());
            some.iter().map(scoped).collect()
        }
    };
    let mut freed = 0;
    for scope in scopes {
        let sets = match scope.list_metadata(&ListParams::default()).await {
            Ok(sets) => sets,
            // Without the definition there are no sets.
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(Exit::failure(format!("the sets cannot be listed: {error}"))),
        };
        for set in sets {
            freed += u32::from(free(&client, &set).await?);
        }
    }
    say(&format!("the controller has ended; sets freed of their finalizer: {freed}; topics stay"))
}

async fn end_controller(client: &Client, namespace: &str, args: &UninstallArgs) -> Result<(), Exit> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    match deployments.patch_scale(&args.deployment, &PatchParams::default(), &none).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => {
            return Err(Exit::failure(format!("{namespace}/{} cannot be scaled: {error}", args.deployment)));
        }
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let of_controller = ListParams::default().labels(&args.pods);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(args.wait_seconds);
    loop {
        let left = pods.list_metadata(&of_controller).await.map_err(|error| {
            Exit::failure(format!("the pods of {namespace}/{} cannot be listed: {error}", args.deployment))
        })?;
        let Some(pod) = left.items.first() else { return Ok(()) };
        if tokio::time::Instant::now() >= deadline {
            return Err(Exit::failure(format!(
                "the controller's pod {namespace}/{} has not ended in {} s, and would put finalizers back; \
                 see why with kubectl -n {namespace} describe pod, then uninstall again",
                pod.metadata.name.as_deref().unwrap_or_default(),
                args.wait_seconds
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes our finalizer from a set, on the very version that was read. Whether it had one.
async fn free(client: &Client, set: &PartialObjectMeta<DynamicObject>) -> Result<bool, Exit> {
    let (name, namespace) = (
        set.metadata.name.as_deref().unwrap_or_default(),
        set.metadata.namespace.as_deref().unwrap_or_default(),
    );
    let sets: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &set_resource());
    let mut metadata = set.metadata.clone();
    loop {
        let finalizers = metadata.finalizers.unwrap_or_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(false);
        }
        let others: Vec<&String> = finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).collect();
        let patch = json!({"metadata": {"resourceVersion": metadata.resource_version, "finalizers": others}});
        match sets.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => {
                say(&format!("{namespace}/{name} waits for nothing any more"))?;
                return Ok(true);
            }
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(Exit::failure(format!("{namespace}/{name} cannot be freed: {error}"))),
        }
        // Somebody wrote it meanwhile: once more, on what it is now.
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let now = sets.list_metadata(&only).await.map_err(Exit::failure)?.items.into_iter().next();
        let Some(now) = now else { return Ok(false) };
        metadata = now.metadata;
    }
}

fn say(line: &str) -> Result<(), Exit> {
    writeln!(std::io::stdout(), "{line}").map_err(Exit::failure)
}
