//! How a set reaches its Kafka cluster.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The Kafka cluster of a set and how to talk to it. Secrets are read from the set's own namespace only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaConnection {
    /// Where to find the cluster: `host:port`, several separated by commas.
    #[schemars(length(min = 1, max = 2048))]
    pub bootstrap_servers: String,
    /// The cluster's own id. When set, any other cluster is refused before anything is written to it.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Encrypt the connection. Present but empty: the system's certificate authorities, no client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTls>,
    /// Log in with a user name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
}

impl KafkaConnection {
    /// The cluster id the user insists on; an empty one means "any", as if it were left out.
    pub fn required_cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref().filter(|id| !id.is_empty())
    }
}

/// TLS towards the brokers; every value is PEM text in a Secret of the set's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::certificate_and_key_together())]
pub struct KafkaTls {
    /// The certificate authority that signed the brokers' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
    /// The client's certificate, for brokers that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<SecretKeyRef>,
    /// The private key of the client's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyRef>,
}

/// SASL towards the brokers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSasl {
    /// How the password is proven to the broker.
    #[serde(default)]
    pub mechanism: SaslMechanism,
    /// The Secret key that holds the user name.
    pub username_secret_ref: SecretKeyRef,
    /// The Secret key that holds the password.
    pub password_secret_ref: SecretKeyRef,
}

/// The SASL mechanisms that librdkafka offers without a system library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum SaslMechanism {
    /// Salted challenge-response with SHA-512 (RFC 5802, RFC 7677).
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// Salted challenge-response with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password itself; only sensible under TLS (RFC 4616).
    #[serde(rename = "PLAIN")]
    Plain,
}

impl SaslMechanism {
    /// The mechanism's name as the SASL registry and librdkafka spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
        }
    }
}

/// One key of a Secret in the set's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key inside the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
