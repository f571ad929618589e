//! `controller run`: stand by for the lease, work while it is ours, stand by again.

use std::{sync::Arc, time::Duration};

use kube::{Api, Client, api::ListParams, core::DynamicObject};
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
};

use super::{
    RunArgs,
    clusters::{Calls, Clusters},
    context::{Context, IN_HAND, set_resource},
    events::{EventReason, Recorder},
    kinds, kubernetes,
    lease::{Candidate, Leadership, LeaseSettings},
    metrics::Metrics,
    ownership::SetKey,
    queue::Queue,
    reconcile::reconcile,
    sets::Sets,
    targets::Targets,
    watch,
};
use crate::{
    kafka::{
        KafkaSettings,
        admin::{ApiError, Observer},
    },
    process::{Dependency, Exit, Process, Secret},
};

/// How long ending one leadership may take before the process gives up and exits.
const END_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks at what readiness tells.
const PROBE: Duration = Duration::from_secs(5);

/// Everything that a leadership is made from.
#[derive(Clone)]
struct Setup {
    args: RunArgs,
    client: Client,
    kafka: KafkaSettings,
    own_namespaces: Vec<String>,
    scale_manager: String,
    instance: String,
    recorder: Arc<Recorder>,
    metrics: Metrics,
    kafka_health: Dependency,
}

/// Runs the controller until it is asked to stop.
///
/// # Errors
/// When the settings cannot be used, or ending a leadership does not come to an end.
pub async fn run(args: RunArgs, process: Process) -> Result<(), Exit> {
    let password = Secret::read("PARLEY_KAFKA_PASSWORD", args.kafka.kafka_password_file.as_deref())
        .map_err(Exit::settings)?;
    let kafka = args.kafka.check(password.as_ref().map(Secret::reveal)).map_err(Exit::settings)?;
    let config = kubernetes::config().await?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config)
        .map_err(|error| Exit::settings(format!("no way to the API server: {error}")))?;
    run_with(args, process, client, kafka, &namespace).await
}

/// The same with a client and settings that are there already.
async fn run_with(
    args: RunArgs,
    process: Process,
    client: Client,
    kafka: KafkaSettings,
    namespace: &str,
) -> Result<(), Exit> {
    let metrics = Metrics::register(&process.registry)?;
    let lease_namespace = args.lease_namespace.clone().unwrap_or_else(|| namespace.to_owned());
    let instance = format!(
        "{}_{}",
        std::env::var("HOSTNAME").unwrap_or_else(|_| "controller".to_owned()),
        uuid::Uuid::now_v7()
    );
    let own_namespaces = match args.own_connection_namespaces.as_slice() {
        [] => vec![namespace.to_owned()],
        some => some.to_vec(),
    };
    let scale_manager = args
        .scale_field_manager
        .clone()
        .unwrap_or_else(|| format!("parley-scale/{lease_namespace}/{}", args.lease_name));
    let settings = LeaseSettings {
        namespace: lease_namespace,
        name: args.lease_name.clone(),
        holder: instance.clone(),
        duration: args.lease_duration(),
    };
    let kube_health = process.health.required("kubernetes");
    let crd_health = process.health.required("chattopicsets");
    let setup = Setup {
        kafka_health: process.health.optional("kafka"),
        args,
        client: client.clone(),
        kafka,
        own_namespaces,
        scale_manager,
        recorder: Arc::new(Recorder::new(client, instance.clone())),
        instance,
        metrics,
    };
    let lease = SetKey { namespace: settings.namespace.clone(), name: settings.name.clone() };
    let candidate = Candidate::new(setup.client.clone(), settings);
    let probe = tokio::spawn(probe(setup.clone(), lease, candidate.leadership(), kube_health, crd_health));
    let outcome = lead_again_and_again(&setup, candidate, &process).await;
    probe.abort();
    outcome
}

async fn lead_again_and_again(
    setup: &Setup,
    mut candidate: Candidate,
    process: &Process,
) -> Result<(), Exit> {
    let trouble = |error: Option<&kube::Error>| {
        if let Some(error) = error {
            tracing::warn!(%error, "the lease could not be read or written; trying again");
        }
    };
    loop {
        tokio::select! {
            () = process.shutdown.wait() => return Ok(()),
            () = candidate.acquire(trouble) => {}
        }
        tracing::info!(holder = %setup.instance, "leading");
        setup.metrics.leader.set(1);
        let (stop, stopped) = oneshot::channel();
        let mut work = tokio::spawn(lead(setup.clone(), candidate.leadership(), stopped));
        let ended = tokio::select! {
            () = process.shutdown.wait() => Why::Asked,
            () = candidate.hold(trouble) => Why::Lost,
            _ = &mut work => Why::Broken,
        };
        drop(stop);
        if !work.is_finished() && tokio::time::timeout(END_WITHIN, &mut work).await.is_err() {
            return Err(Exit::failure(
                "the work of a lost leadership does not end; exiting so that it cannot go on",
            ));
        }
        setup.metrics.stand_by();
        match ended {
            Why::Lost => tracing::warn!("the lease is lost; standing by"),
            Why::Asked | Why::Broken => {
                if let Err(error) = candidate.release().await {
                    tracing::warn!(%error, "the lease could not be given back; it runs out by itself");
                }
                if matches!(ended, Why::Asked) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

enum Why {
    Asked,
    Lost,
    Broken,
}

/// The work of a leader: ends when its `stopped` comes or is dropped, or when a part of it breaks; none of it is left running then.
async fn lead(setup: Setup, leadership: Leadership, mut stopped: oneshot::Receiver<()>) {
    tokio::select! {
        tasks = start(&setup, leadership) => until(stopped, tasks).await,
        _ = &mut stopped => {}
    }
}

/// Waits until these tasks are to stop or one of them breaks, and ends them.
async fn until(stopped: oneshot::Receiver<()>, mut tasks: JoinSet<()>) {
    tokio::select! {
        ended = tasks.join_next() => if let Some(Err(error)) = ended {
            tracing::error!(%error, "a part of the controller broke; starting over");
        },
        _ = stopped => {}
    }
    // Waited for, not only told: a task that is being polled on another thread goes on until its next await, and what it tells
    // after the leadership was cleaned up would stay (series of sets, by a process that stands by).
    tasks.shutdown().await;
}

/// Starts the tasks of a leader.
async fn start(setup: &Setup, leadership: Leadership) -> JoinSet<()> {
    let (kinds, missing) = kinds::find(&setup.client, &setup.args.scale_targets).await;
    for target in &missing {
        tracing::warn!(target, "the API server has no such resource yet; it is watched once it is there");
    }
    let scopes: Vec<Option<String>> = match setup.args.watch_namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let queue = Arc::new(Queue::default());
    let (sets, targets) = (Sets::new(scopes.len()), Targets::new(kinds.clone(), kinds.len() * scopes.len()));
    let clusters = Arc::new(Clusters::new(
        setup.client.clone(),
        setup.kafka.clone(),
        setup.own_namespaces.clone(),
        Calls {
            timeout: setup.args.admin_timeout(),
            leadership: leadership.clone(),
            observer: observer(&setup.metrics),
        },
        Duration::from_secs(setup.args.poll_seconds),
        Arc::clone(&queue),
    ));
    let own_leadership = leadership.clone();
    let context = Arc::new(Context {
        client: setup.client.clone(),
        sets: sets.clone(),
        targets: targets.clone(),
        clusters: Arc::clone(&clusters),
        recorder: Arc::clone(&setup.recorder),
        metrics: setup.metrics.clone(),
        leadership,
        started: tokio::time::Instant::now(),
        scale_manager: setup.scale_manager.clone(),
        poll_every: Duration::from_secs(setup.args.poll_seconds),
        finalizer_deadline: Duration::from_secs(setup.args.finalizer_deadline_seconds),
        in_hand: Semaphore::new(IN_HAND.into()),
        memos: std::sync::Mutex::default(),
        pools: std::sync::Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    for (scope, namespace) in scopes.iter().enumerate() {
        tasks.spawn(watch::sets(
            setup.client.clone(),
            namespace.clone(),
            scope,
            sets.clone(),
            Arc::clone(&queue),
        ));
        for kind in &kinds {
            let (client, kind, namespace) = (setup.client.clone(), kind.clone(), namespace.clone());
            tasks.spawn(watch::targets(
                client,
                kind,
                namespace,
                targets.clone(),
                sets.clone(),
                Arc::clone(&queue),
            ));
        }
    }
    for _ in 0..setup.args.concurrency {
        let (context, queue) = (Arc::clone(&context), Arc::clone(&queue));
        tasks.spawn(async move {
            loop {
                let key = queue.next().await;
                let ended = reconcile(&context, &key).await;
                queue.ended(&key, ended);
                if context.sets.get(&key).is_none() {
                    queue.forget(&key);
                }
                context
                    .metrics
                    .malformed_sets
                    .set(i64::try_from(context.sets.malformed()).unwrap_or(i64::MAX));
                context.metrics.objects_in_backoff.set(i64::try_from(queue.failing()).unwrap_or(i64::MAX));
            }
        });
    }
    if !missing.is_empty() {
        tasks.spawn(kinds::appear(setup.client.clone(), missing));
    }
    tasks.spawn(watch_own_kafka(clusters, own_leadership, setup.kafka_health.clone()));
    tasks
}

/// Says in readiness whether the controller's own Kafka answers.
async fn watch_own_kafka(clusters: Arc<Clusters>, leadership: Leadership, health: Dependency) {
    loop {
        let outcome = match clusters.own() {
            Ok(cluster) => match (cluster.error(), cluster.id().await) {
                (None, Ok(_)) => Ok(()),
                (Some(error), _) | (None, Err(error)) => Err(error.message),
            },
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(()) => health.ready(),
            // A client that is cut off because the lease is lost says nothing about Kafka.
            Err(why) if leadership.holds() => health.unready(why),
            Err(_) => {}
        }
        tokio::time::sleep(PROBE).await;
    }
}

/// Says in readiness whether the API server answers and knows the resource.
async fn probe(setup: Setup, lease: SetKey, leadership: Leadership, kube: Dependency, crd: Dependency) {
    const MISSING: &str =
        "the API server does not know ChatTopicSets: install the chart's CRD (crds.enabled)";
    let api: Api<DynamicObject> = match setup.args.watch_namespaces.first() {
        Some(namespace) => Api::namespaced_with(setup.client.clone(), namespace, &set_resource()),
        None => Api::all_with(setup.client.clone(), &set_resource()),
    };
    let mut told = false;
    loop {
        match tokio::time::timeout(PROBE, api.list_metadata(&ListParams::default().limit(1))).await {
            Ok(Ok(_)) => {
                kube.ready();
                crd.ready();
                told = false;
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                kube.ready();
                crd.unready(MISSING);
                // Once, and by one of the replicas.
                if !told && leadership.holds() {
                    setup.recorder.send_about_lease(&lease, EventReason::Refused, MISSING).await;
                    told = true;
                }
            }
            Ok(Err(kube::Error::Api(status))) => {
                kube.ready();
                crd.unready(format!("ChatTopicSets cannot be listed: {}", status.message));
            }
            Ok(Err(error)) => kube.unready(error.to_string()),
            Err(_) => kube.unready("no answer"),
        }
        tokio::time::sleep(PROBE).await;
    }
}

/// Counts Kafka's admin calls.
fn observer(metrics: &Metrics) -> Observer {
    let metrics = metrics.clone();
    Arc::new(move |api: &'static str, took: Duration, error: Option<&ApiError>| {
        metrics.kafka_admin_request_duration_seconds.with_label_values(&[api]).observe(took.as_secs_f64());
        if let Some(error) = error {
            metrics.kafka_admin_errors_total.with_label_values(&[api, error.name()]).inc();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    };

    use super::*;

    /// Regression: a reconcile that was being polled when the lease was lost told its set's series after they had been taken away.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_of_a_leadership_runs_after_it_ended() {
        let ((polled, polling), (go, gone)) = (mpsc::channel(), mpsc::channel::<()>());
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            polled.send(()).unwrap();
            gone.recv().unwrap();
            tell.store(true, Ordering::SeqCst);
        });
        tokio::task::block_in_place(|| polling.recv()).unwrap();
        let (stop, stopped) = oneshot::channel();
        drop(stop);
        let mut ended = Box::pin(until(stopped, tasks));
        assert!(futures::poll!(&mut ended).is_pending(), "a task is being polled still");
        go.send(()).unwrap();
        ended.await;
        assert!(told.load(Ordering::SeqCst));
    }
}
