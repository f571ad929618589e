//! A connection whose parts come from a resource and its Secrets rather than from flags.

use super::{KafkaSettings, settings::system_authorities};
use crate::process::Secret;

/// How to reach a cluster, with everything read already.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// Encrypt; none for a plain connection.
    pub tls: Option<Tls>,
    /// Log in; none for an anonymous connection.
    pub sasl: Option<Sasl>,
}

/// PEM texts for TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who signed the brokers' certificates; none for the system's authorities.
    pub ca: Option<String>,
    /// The client's certificate and private key.
    pub identity: Option<(String, Secret)>,
}

/// A login.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// `SCRAM-SHA-512`, `SCRAM-SHA-256` or `PLAIN`.
    pub mechanism: &'static str,
    /// Who.
    pub username: String,
    /// The proof.
    pub password: Secret,
}

impl Connection {
    /// The settings that clients are made from.
    pub fn settings(&self) -> KafkaSettings {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        let mut pairs = vec![
            ("bootstrap.servers", self.bootstrap_servers.clone()),
            ("security.protocol", protocol.to_owned()),
        ];
        if let Some(tls) = &self.tls {
            pairs.push(tls.ca.clone().map_or_else(system_authorities, |ca| ("ssl.ca.pem", ca)));
            if let Some((certificate, key)) = &tls.identity {
                pairs.push(("ssl.certificate.pem", certificate.clone()));
                pairs.push(("ssl.key.pem", key.reveal().to_owned()));
            }
        }
        if let Some(sasl) = &self.sasl {
            pairs.push(("sasl.mechanism", sasl.mechanism.to_owned()));
            pairs.push(("sasl.username", sasl.username.clone()));
            pairs.push(("sasl.password", sasl.password.reveal().to_owned()));
        }
        KafkaSettings::from_pairs(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let connection = Connection {
            bootstrap_servers: "k:9092".to_owned(),
            tls: Some(Tls { ca: None, identity: Some(("cert".to_owned(), Secret::new("k3y".to_owned()))) }),
            sasl: Some(Sasl {
                mechanism: "PLAIN",
                username: "u".to_owned(),
                password: Secret::new("hunter2".to_owned()),
            }),
        };
        let settings = connection.settings();
        let shown = format!("{connection:?} {settings:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("k3y"), "{shown}");
        assert!(shown.contains("sasl_ssl") && shown.contains("probe"), "the system's authorities: {shown}");
    }
}
