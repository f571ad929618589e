//! `controller plan FILE…`: what a file would change in the live Kafka, as a diff. Writes nothing; the broker is asked to
//! validate what would be created.

mod diff;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use diff::{SetDiff, TopicDiff};
use kube::{Api, Client};

use super::{
    cluster::Cluster,
    clusters::resolve,
    desired, kubernetes, lint,
    object::SetObject,
    ownership::{Claim, SetKey, topic_owner},
    plan::{Contended, Deed, Live, Owner, Policies, TopicPlan, plan_topic},
    sets::SetEntry,
};
use crate::{
    api::{ChatTopicSet, ManagementPolicy, TopicStatus},
    kafka::{
        Connection, KafkaArgs,
        admin::{Admin, ApiError},
    },
    process::{Exit, Secret},
};

/// The arguments of `controller plan`.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanArgs {
    /// YAML files with ChatTopicSets; other kinds in them are passed over
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// How the answer looks
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// Namespace of sets that name none; left out: the kubeconfig's
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// The connection of sets without spec.kafka.
    #[command(flatten)]
    pub kafka: Option<KafkaArgs>,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// How long one question to Kafka may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Plans every set of the files and prints it. Ends with code 0 when nothing would change, 2 when something would.
pub(super) async fn run(args: PlanArgs) -> Result<(), Exit> {
    let mut sets = Vec::new();
    let linter = lint::Linter::new();
    for file in &args.files {
        let (documents, mut findings) = linter.documents(&lint::read(file)?);
        findings.extend(documents.iter().flat_map(|document| linter.check(document)));
        if let Some((line, finding)) = findings.into_iter().min() {
            return Err(Exit::failure(format!(
                "{}:{line}: {}: {}",
                file.display(),
                finding.path,
                finding.message
            )));
        }
        for document in documents {
            let object: SetObject = serde_json::from_value(document.object).map_err(Exit::failure)?;
            sets.push(object);
        }
    }
    let cluster_of_kubernetes = Kubernetes::find(args.namespace.as_deref()).await;
    let mut diffs = Vec::new();
    for mut object in sets {
        let namespace =
            object.metadata.namespace.get_or_insert_with(|| cluster_of_kubernetes.namespace.clone()).clone();
        let entry = SetEntry::read(object);
        let diff = plan(&args, &cluster_of_kubernetes, &entry).await;
        diffs.push(diff.map_err(|error| Exit::failure(format!("{namespace}/{}: {error}", entry.key.name)))?);
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Text => diffs.iter().try_for_each(|diff| write!(out, "{diff}")),
        Output::Json => serde_json::to_writer_pretty(&mut out, &diffs)
            .map_err(std::io::Error::other)
            .and_then(|()| writeln!(out)),
    }
    .map_err(Exit::failure)?;
    if diffs.iter().any(SetDiff::changes) { Err(Exit::Code(2)) } else { Ok(()) }
}

/// What is known of the sets that exist: with it, keys that leave the spec and topics of other sets are known too.
struct Kubernetes {
    namespace: String,
    client: Option<Client>,
    sets: Vec<SetEntry>,
    /// Why nothing is known.
    missing: Option<String>,
}

impl Kubernetes {
    async fn find(namespace: Option<&str>) -> Self {
        let none = |namespace: &str, why: String| Self {
            namespace: namespace.to_owned(),
            client: None,
            sets: Vec::new(),
            missing: Some(why),
        };
        let config = match kube::Config::infer().await {
            Ok(mut config) => {
                kubernetes::patient(&mut config);
                config
            }
            Err(error) => return none(namespace.unwrap_or("default"), error.to_string()),
        };
        let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
        let client = match Client::try_from(config) {
            Ok(client) => client,
            Err(error) => return none(&namespace, error.to_string()),
        };
        let api: Api<SetObject> = Api::all(client.clone());
        match tokio::time::timeout(TIMEOUT, api.list(&kube::api::ListParams::default())).await {
            Ok(Ok(list)) => {
                let sets = list.items.into_iter().map(SetEntry::read).collect();
                Self { namespace, client: Some(client), sets, missing: None }
            }
            Ok(Err(error)) => Self { client: Some(client), ..none(&namespace, error.to_string()) },
            Err(_) => Self { client: Some(client), ..none(&namespace, "no answer".to_owned()) },
        }
    }

    fn get(&self, key: &SetKey) -> Option<&SetEntry> {
        self.sets.iter().find(|entry| &entry.key == key)
    }
}

#[derive(Debug, thiserror::Error)]
enum PlanError {
    #[error("{0}")]
    Unusable(String),
    #[error("Kafka: {0}")]
    Kafka(#[from] ApiError),
}

async fn plan(args: &PlanArgs, kubernetes: &Kubernetes, entry: &SetEntry) -> Result<SetDiff, PlanError> {
    let unusable = |what: String| PlanError::Unusable(what);
    let set = entry.object.as_ref().map_err(|why| unusable(why.clone()))?;
    let admin = connect(args, kubernetes, &entry.key, set).await?;
    let cluster = Cluster::new(admin);
    let id = cluster.id().await?;
    let mut diff = SetDiff::new(&entry.key, &id, kubernetes.missing.clone());
    if let Some(demanded) =
        set.spec.kafka.as_ref().and_then(|k| k.required_cluster_id()).filter(|demanded| *demanded != id)
    {
        return Err(unusable(format!("this Kafka cluster is {id}, but spec.kafka.clusterId is {demanded}")));
    }
    let desired = desired::topics(&set.spec);
    let names: BTreeSet<String> = desired.iter().map(|d| d.name.clone()).collect();
    let known = kubernetes.get(&entry.key);
    let status = known.and_then(|k| k.object.as_ref().ok()).and_then(|set| set.status.as_ref());
    let status = status.filter(|status| status.cluster_id.as_deref() == Some(id.as_str()));
    let memory: BTreeMap<&str, &TopicStatus> =
        status.iter().flat_map(|status| &status.topics).map(|t| (t.name.as_str(), t)).collect();
    cluster.want(&entry.key, desired::wanted(&desired, &memory));
    let live = cluster.observe(&names, None).await?;
    let policies = Policies {
        management: set.spec.management_policy,
        drift: set.spec.drift_policy,
        adoption: set.spec.adoption_policy,
        spec_settled: false,
    };
    // A set that exists keeps its age; a new one is the youngest.
    let created = known.and_then(|k| k.claim.created);
    let mine = Claim { cluster_id: Some(id), created, ..entry.claim.clone() };
    let others: Vec<&Claim> =
        kubernetes.sets.iter().filter(|e| e.key != entry.key).map(|e| &e.claim).collect();
    let mut plans: Vec<TopicPlan> = desired
        .iter()
        .map(|topic| {
            let memory = memory.get(topic.name.as_str()).copied();
            let owner = if mine.observes { Owner::Me } else { topic_owner(&mine, &others, &topic.name) };
            let unseen = Live::Unknown(ApiError::unseen(&topic.name));
            let live = live.get(&topic.name).unwrap_or(&unseen);
            plan_topic(topic, memory, live, &owner, &policies, &Contended::new())
        })
        .collect();
    if set.spec.management_policy == ManagementPolicy::Paused {
        plans.iter_mut().for_each(|plan| plan.deeds.clear());
    }
    let refusals = validate(&cluster.admin, &plans).await?;
    for plan in &plans {
        diff.topics.push(TopicDiff::of(plan, live.get(&plan.name), refusals.get(&plan.name).cloned()));
    }
    Ok(diff)
}

async fn connect(
    args: &PlanArgs,
    kubernetes: &Kubernetes,
    key: &SetKey,
    set: &ChatTopicSet,
) -> Result<Admin, PlanError> {
    let settings = match (&set.spec.kafka, &args.kafka) {
        (Some(kafka), _) if kafka.tls.is_none() && kafka.sasl.is_none() => {
            Connection { bootstrap_servers: kafka.bootstrap_servers.clone(), tls: None, sasl: None }
                .settings()
        }
        (Some(kafka), _) => {
            let no_secrets = "its Secrets cannot be read without an API server";
            let client =
                kubernetes.client.as_ref().ok_or_else(|| PlanError::Unusable(no_secrets.to_owned()))?;
            let connection = resolve(client, &key.namespace, kafka).await;
            connection.map_err(|error| PlanError::Unusable(error.to_string()))?.settings()
        }
        (None, Some(kafka)) => {
            let password = Secret::read("PARLEY_KAFKA_PASSWORD", kafka.kafka_password_file.as_deref());
            let password = password.map_err(|error| PlanError::Unusable(error.to_string()))?;
            let checked = kafka.check(password.as_ref().map(Secret::reveal));
            checked.map_err(|error| PlanError::Unusable(error.to_string()))?
        }
        (None, None) => {
            let what = "it has no spec.kafka; say by --kafka-bootstrap-servers which Kafka it is about";
            return Err(PlanError::Unusable(what.to_owned()));
        }
    };
    Ok(Admin::new(&settings, TIMEOUT, Arc::new(|_, _, _| {}))?)
}

/// What the broker would refuse, by topic.
async fn validate(
    admin: &Admin,
    plans: &[TopicPlan],
) -> Result<std::collections::BTreeMap<String, String>, ApiError> {
    let (mut create, mut grow, mut configure) = (Vec::new(), Vec::new(), Vec::new());
    for plan in plans {
        for deed in &plan.deeds {
            match deed {
                Deed::Create(topic) => create.push(topic.clone()),
                Deed::Grow(to) => grow.push((plan.name.clone(), usize::try_from(*to).unwrap_or(0))),
                Deed::Configure(changes) => configure.push((plan.name.clone(), changes.clone())),
            }
        }
    }
    let mut outcomes = Vec::new();
    if !create.is_empty() {
        outcomes.extend(admin.create_topics(create, true).await?);
    }
    if !grow.is_empty() {
        outcomes.extend(admin.create_partitions(grow, true).await?);
    }
    if !configure.is_empty() {
        outcomes.extend(admin.alter_configs(configure, true).await?);
    }
    Ok(outcomes.into_iter().filter_map(|(name, outcome)| Some((name, outcome.err()?.message))).collect())
}
