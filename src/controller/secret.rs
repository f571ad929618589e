//! `controller secret NAME FOLDER`: the files of a folder become a Secret, unless one of that name is there (the chart's hook
//! that keeps the keys which `worker keys` has made). All that it needs is the right to create Secrets: it reads and changes none.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::PostParams};

use super::kubernetes;
use crate::process::Exit;

/// The arguments of `controller secret`.
#[derive(Debug, Clone, clap::Args)]
pub struct SecretArgs {
    /// The Secret's name
    pub name: String,
    /// The folder: each file in it becomes a key of the Secret
    pub folder: PathBuf,
    /// The Secret's namespace; left out: the pod's or the kubeconfig's own
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// Creates the Secret. May be run again: what is there stays as it is.
///
/// # Errors
/// When the folder has no files or cannot be read, or the API server refuses.
pub(super) async fn run(args: SecretArgs) -> Result<(), Exit> {
    let data = read(&args.folder)?;
    let config = kubernetes::config().await?;
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let secrets: Api<Secret> = Api::namespaced(Client::try_from(config).map_err(Exit::failure)?, &namespace);
    let mut secret = Secret { data: Some(data), ..Secret::default() };
    secret.metadata.name = Some(args.name.clone());
    let named = format!("Secret {namespace}/{}", args.name);
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(_) => say(&format!("{named} is made")),
        // Decided by the API server, so that of two at once only one makes it.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            say(&format!("{named} is there already, and stays as it is"))
        }
        Err(error) => Err(Exit::failure(format!("{named} cannot be made: {error}"))),
    }
}

/// Every file of the folder by its name.
fn read(folder: &std::path::Path) -> Result<BTreeMap<String, ByteString>, Exit> {
    let failed =
        |error: std::io::Error| Exit::failure(format!("{} cannot be read: {error}", folder.display()));
    let mut data = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            let bytes = std::fs::read(entry.path()).map_err(failed)?;
            data.insert(entry.file_name().to_string_lossy().into_owned(), ByteString(bytes));
        }
    }
    if data.is_empty() {
        return Err(Exit::failure(format!("{} holds no files", folder.display())));
    }
    Ok(data)
}

fn say(line: &str) -> Result<(), Exit> {
    writeln!(std::io::stdout(), "{line}").map_err(Exit::failure)
}
