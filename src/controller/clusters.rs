//! Which Kafka cluster a set is about: its own connection with credentials from Secrets, or the controller's. Clients
//! are shared between sets with the same connection and end with the last of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::{Api, Client};
use tokio::task::AbortHandle;

use super::{cluster::Cluster, lease::Leadership, ownership::SetKey, queue::Queue};
use crate::{
    api::{KafkaConnection, SecretKeyRef},
    kafka::{
        Connection, KafkaSettings, Sasl, Tls,
        admin::{Admin, ApiError, Observer},
    },
    process::Secret,
};

/// Why a set's cluster cannot be named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The set names no connection and its namespace may not use the controller's.
    #[error(
        "spec.kafka is left out, but the controller's own connection does not serve namespace {0} (--own-connection-namespaces)"
    )]
    NotServed(String),
    /// A Secret or its key is not there or not text.
    #[error("{0}")]
    Secret(String),
    /// The Secret may not be read.
    #[error("Secret {0} may not be read by the controller (chart value controller.secretAccess)")]
    Forbidden(String),
    /// The API server did not give the Secret.
    #[error("Secret {0}: {1}")]
    Api(String, kube::Error),
    /// librdkafka refuses the settings.
    #[error("{0}")]
    Settings(#[from] ApiError),
}

struct Shared {
    cluster: Arc<Cluster>,
    poller: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.poller.abort();
        self.cluster.admin.close();
    }
}

#[derive(Default)]
struct Inner {
    clusters: BTreeMap<[u8; 32], Shared>,
    bound: BTreeMap<SetKey, [u8; 32]>,
}

/// How Kafka is asked.
pub(crate) struct Calls {
    /// The longest that one call may take.
    pub(crate) timeout: Duration,
    /// No call outlives what is left of it.
    pub(crate) leadership: Leadership,
    pub(crate) observer: Observer,
}

impl Calls {
    fn admin(&self, settings: &KafkaSettings) -> Result<Admin, ApiError> {
        let leadership = self.leadership.clone();
        let admin = Admin::new(settings, self.timeout, Arc::clone(&self.observer))?;
        Ok(admin.within(Arc::new(move || leadership.undisputed())))
    }
}

/// All clusters that are in use.
pub(crate) struct Clusters {
    client: Client,
    own: KafkaSettings,
    /// Namespaces whose sets may use the controller's own connection.
    own_namespaces: Vec<String>,
    calls: Calls,
    poll_every: Duration,
    queue: Arc<Queue>,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Clusters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clusters").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Clusters {
    pub(crate) fn new(
        client: Client,
        own: KafkaSettings,
        own_namespaces: Vec<String>,
        calls: Calls,
        poll_every: Duration,
        queue: Arc<Queue>,
    ) -> Self {
        Self { client, own, own_namespaces, calls, poll_every, queue, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster of a set, connected to it for as long as the set keeps this connection.
    pub(crate) async fn bind(
        &self,
        key: &SetKey,
        connection: Option<&KafkaConnection>,
    ) -> Result<Arc<Cluster>, ConnectionError> {
        let settings = match connection {
            Some(connection) => resolve(&self.client, &key.namespace, connection).await?.settings(),
            None if self.own_namespaces.contains(&key.namespace) => self.own.clone(),
            None => return Err(ConnectionError::NotServed(key.namespace.clone())),
        };
        let fingerprint = settings.fingerprint();
        let mut inner = self.lock();
        if inner.bound.get(key) != Some(&fingerprint) {
            unbind(&mut inner, key);
        }
        if let Some(shared) = inner.clusters.get(&fingerprint) {
            let cluster = Arc::clone(&shared.cluster);
            inner.bound.insert(key.clone(), fingerprint);
            return Ok(cluster);
        }
        let cluster = self.start(&settings, &mut inner, fingerprint)?;
        inner.bound.insert(key.clone(), fingerprint);
        Ok(cluster)
    }

    fn start(
        &self,
        settings: &KafkaSettings,
        inner: &mut Inner,
        fingerprint: [u8; 32],
    ) -> Result<Arc<Cluster>, ConnectionError> {
        let cluster = Cluster::new(self.calls.admin(settings)?);
        let (polled, queue, every) = (Arc::clone(&cluster), Arc::clone(&self.queue), self.poll_every);
        let poller = tokio::spawn(async move {
            polled.poll(every, |concerned| concerned.iter().for_each(|key| queue.push(key))).await;
        })
        .abort_handle();
        inner.clusters.insert(fingerprint, Shared { cluster: Arc::clone(&cluster), poller });
        Ok(cluster)
    }

    /// Connects with the controller's own settings, whether or not a set uses them: for readiness.
    pub(crate) fn own(&self) -> Result<Arc<Cluster>, ConnectionError> {
        let fingerprint = self.own.fingerprint();
        let mut inner = self.lock();
        if let Some(shared) = inner.clusters.get(&fingerprint) {
            return Ok(Arc::clone(&shared.cluster));
        }
        self.start(&self.own, &mut inner, fingerprint)
    }

    /// The set is gone, or no longer says which cluster it is about.
    pub(crate) fn forget(&self, key: &SetKey) {
        unbind(&mut self.lock(), key);
    }

    /// Ends all clients, dropping what they have queued.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.bound.clear();
        inner.clusters.clear();
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        self.close();
    }
}

fn unbind(inner: &mut Inner, key: &SetKey) {
    let Some(fingerprint) = inner.bound.remove(key) else { return };
    let unused = inner.clusters.get(&fingerprint).is_some_and(|shared| shared.cluster.unwant(key));
    if unused && !inner.bound.values().any(|other| *other == fingerprint) {
        inner.clusters.remove(&fingerprint);
    }
}

/// Reads the Secrets that a connection names, from the set's own namespace only.
pub(crate) async fn resolve(
    client: &Client,
    namespace: &str,
    connection: &KafkaConnection,
) -> Result<Connection, ConnectionError> {
    let secrets = Secrets { api: Api::namespaced(client.clone(), namespace), read: BTreeMap::new() };
    let mut secrets = secrets;
    let tls = match &connection.tls {
        None => None,
        Some(tls) => {
            let ca = match &tls.ca_secret_ref {
                Some(reference) => Some(secrets.text(reference).await?),
                None => None,
            };
            let identity = match (&tls.cert_secret_ref, &tls.key_secret_ref) {
                (Some(cert), Some(key)) => {
                    Some((secrets.text(cert).await?, Secret::new(secrets.text(key).await?)))
                }
                _ => None,
            };
            Some(Tls { ca, identity })
        }
    };
    let sasl = match &connection.sasl {
        None => None,
        Some(sasl) => Some(Sasl {
            mechanism: sasl.mechanism.as_str(),
            username: secrets.text(&sasl.username_secret_ref).await?.trim_end().to_owned(),
            password: Secret::new(
                secrets.text(&sasl.password_secret_ref).await?.trim_end_matches(['\r', '\n']).to_owned(),
            ),
        }),
    };
    Ok(Connection { bootstrap_servers: connection.bootstrap_servers.clone(), tls, sasl })
}

struct Secrets {
    api: Api<KubeSecret>,
    /// Each Secret is read once per look.
    read: BTreeMap<String, KubeSecret>,
}

impl Secrets {
    async fn text(&mut self, reference: &SecretKeyRef) -> Result<String, ConnectionError> {
        let SecretKeyRef { name, key } = reference;
        if !self.read.contains_key(name) {
            let secret = self.api.get(name).await.map_err(|error| match error {
                kube::Error::Api(status) if status.code == 404 => {
                    ConnectionError::Secret(format!("there is no Secret {name}"))
                }
                kube::Error::Api(status) if status.code == 403 => ConnectionError::Forbidden(name.clone()),
                error => ConnectionError::Api(name.clone(), error),
            })?;
            self.read.insert(name.clone(), secret);
        }
        let bytes = self.read.get(name).and_then(|s| s.data.as_ref()).and_then(|data| data.get(key));
        let bytes =
            bytes.ok_or_else(|| ConnectionError::Secret(format!("Secret {name} has no key {key}")))?;
        String::from_utf8(bytes.0.clone())
            .map_err(|_| ConnectionError::Secret(format!("Secret {name}, key {key}: not text")))
    }
}
