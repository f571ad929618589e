use std::path::PathBuf;

use rdkafka::ClientConfig;
use sha2::{Digest as _, Sha256};

/// How a process reaches Kafka. The password comes only from `PARLEY_KAFKA_PASSWORD` or a file.
#[derive(Debug, Clone, clap::Args)]
pub struct KafkaArgs {
    /// Brokers to begin with, host:port, separated by commas
    #[arg(long, env = "PARLEY_KAFKA_BOOTSTRAP_SERVERS")]
    pub kafka_bootstrap_servers: String,
    /// How the connection is secured
    #[arg(long, env = "PARLEY_KAFKA_SECURITY_PROTOCOL", default_value = "plaintext")]
    pub kafka_security_protocol: SecurityProtocol,
    /// CA certificates (PEM) that the brokers' certificates are checked against; default: the system's
    #[arg(long, env = "PARLEY_KAFKA_CA_FILE")]
    pub kafka_ca_file: Option<PathBuf>,
    /// Client certificate (PEM)
    #[arg(long, env = "PARLEY_KAFKA_CERT_FILE", requires = "kafka_key_file")]
    pub kafka_cert_file: Option<PathBuf>,
    /// Key of the client certificate (PEM)
    #[arg(long, env = "PARLEY_KAFKA_KEY_FILE", requires = "kafka_cert_file")]
    pub kafka_key_file: Option<PathBuf>,
    /// SASL mechanism
    #[arg(long, env = "PARLEY_KAFKA_SASL_MECHANISM", default_value = "SCRAM-SHA-512")]
    pub kafka_sasl_mechanism: SaslMechanism,
    /// SASL user name
    #[arg(long, env = "PARLEY_KAFKA_USERNAME")]
    pub kafka_username: Option<String>,
    /// File that holds the SASL password
    #[arg(long, env = "PARLEY_KAFKA_PASSWORD_FILE")]
    pub kafka_password_file: Option<PathBuf>,
}

/// librdkafka's `security.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// librdkafka's `sasl.mechanism`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SaslMechanism {
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    #[value(name = "PLAIN")]
    Plain,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No broker is named.
    #[error("--kafka-bootstrap-servers names no broker; give host:port, separated by commas")]
    NoBrokers,
    /// SASL without who.
    #[error(
        "--kafka-security-protocol {0} needs --kafka-username and a password (PARLEY_KAFKA_PASSWORD or --kafka-password-file)"
    )]
    NoCredentials(&'static str),
    /// Credentials that would not be used.
    #[error(
        "--kafka-username is given, but --kafka-security-protocol {0} sends none; use sasl-ssl or sasl-plaintext"
    )]
    UnusedCredentials(&'static str),
    /// A CA or certificate that would not be used.
    #[error("TLS files are given, but --kafka-security-protocol {0} uses no TLS; use ssl or sasl-ssl")]
    UnusedTls(&'static str),
}

/// Settings that were checked: the ground that every client's configuration stands on. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct KafkaSettings {
    pairs: Vec<(&'static str, String)>,
}

impl SecurityProtocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    const fn tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    const fn sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl KafkaArgs {
    /// Checks them together with the password that was read beside them.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn check(&self, password: Option<&str>) -> Result<KafkaSettings, SettingsError> {
        let protocol = self.kafka_security_protocol;
        if self.kafka_bootstrap_servers.split(',').all(|server| server.trim().is_empty()) {
            return Err(SettingsError::NoBrokers);
        }
        let mut pairs = vec![
            ("bootstrap.servers", self.kafka_bootstrap_servers.clone()),
            ("security.protocol", protocol.name().to_owned()),
        ];
        match (&self.kafka_username, password) {
            (Some(user), Some(password)) if protocol.sasl() => {
                let mechanism = match self.kafka_sasl_mechanism {
                    SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
                    SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                    SaslMechanism::Plain => "PLAIN",
                };
                pairs.push(("sasl.mechanism", mechanism.to_owned()));
                pairs.push(("sasl.username", user.clone()));
                pairs.push(("sasl.password", password.to_owned()));
            }
            _ if protocol.sasl() => return Err(SettingsError::NoCredentials(protocol.name())),
            (Some(_), _) => return Err(SettingsError::UnusedCredentials(protocol.name())),
            _ => {}
        }
        let files = [
            ("ssl.ca.location", &self.kafka_ca_file),
            ("ssl.certificate.location", &self.kafka_cert_file),
            ("ssl.key.location", &self.kafka_key_file),
        ];
        for (name, file) in files {
            let Some(path) = file else { continue };
            if !protocol.tls() {
                return Err(SettingsError::UnusedTls(protocol.name()));
            }
            pairs.push((name, path.display().to_string()));
        }
        if protocol.tls() && self.kafka_ca_file.is_none() {
            pairs.push(system_authorities());
        }
        Ok(KafkaSettings { pairs })
    }
}

/// Where operating systems and the image keep the authorities that all trust: OpenSSL alone would look where it was built.
pub(super) fn system_authorities() -> (&'static str, String) {
    ("ssl.ca.location", "probe".to_owned())
}

impl KafkaSettings {
    /// An unsecured connection: tests, and the demo on one machine.
    pub fn plaintext(bootstrap_servers: &str) -> Self {
        Self {
            pairs: vec![
                ("bootstrap.servers", bootstrap_servers.to_owned()),
                ("security.protocol", SecurityProtocol::Plaintext.name().to_owned()),
            ],
        }
    }

    /// From librdkafka's own names, for connections that do not come from flags.
    pub(super) fn from_pairs(pairs: Vec<(&'static str, String)>) -> Self {
        Self { pairs }
    }

    /// What tells two connections apart, secrets included: clients are shared where it is the same.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, value) in &self.pairs {
            for part in [name.as_bytes(), value.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }

    /// A client configuration that reaches this Kafka; the caller adds what its kind of client needs.
    pub(super) fn client(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.pairs {
            config.set(*name, value);
        }
        config.set("client.id", client_id);
        // A broker that is away is tried again soon, with jitter, and no faster than this.
        config.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "2000");
        // One that does not answer, as after its host's death, is given up and connected to anew; what may take longer (joining a group,
        // an admin request) has times of its own.
        config.set("socket.timeout.ms", "15000");
        config
    }
}

/// What `Debug` does not show.
const SECRET: &[&str] = &["sasl.password", "ssl.key.pem"];

impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self
            .pairs
            .iter()
            .map(|(name, value)| (name, if SECRET.contains(name) { "(hidden)" } else { value.as_str() }));
        f.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        kafka: KafkaArgs,
    }

    fn check(args: &str, password: Option<&str>) -> Result<KafkaSettings, SettingsError> {
        let args = format!("x {args}");
        Cli::try_parse_from(args.split(' ')).unwrap().kafka.check(password)
    }

    #[test]
    fn contradictions_are_refused_and_secrets_hidden() {
        const BASE: &str = "--kafka-bootstrap-servers=k:9092";
        assert!(check(BASE, None).is_ok());
        assert!(matches!(check("--kafka-bootstrap-servers=,", None), Err(SettingsError::NoBrokers)));
        let sasl = format!("{BASE} --kafka-security-protocol=sasl-ssl --kafka-username=u");
        assert!(matches!(check(&sasl, None), Err(SettingsError::NoCredentials(_))));
        let settings = check(&sasl, Some("hunter2")).unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hunter2") && shown.contains("probe"), "the system's authorities: {shown}");
        let own = check(&format!("{sasl} --kafka-ca-file=/ca.pem"), Some("p")).unwrap();
        assert!(!format!("{own:?}").contains("probe"), "those of the file alone");
        let user = format!("{BASE} --kafka-username=u");
        assert!(matches!(check(&user, Some("p")), Err(SettingsError::UnusedCredentials(_))));
        let ca = format!("{BASE} --kafka-ca-file=/ca.pem");
        assert!(matches!(check(&ca, None), Err(SettingsError::UnusedTls(_))));
    }
}
