use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use zeroize::Zeroizing;

use crate::{
    process::Exit,
    wire::{KeyFile, generate_seal_pair},
};

/// Makes `request-keys.json`, `reply-keys.json`, `seal-public.json` and `seal-private.json`, readable by their owner only. A
/// file that is there is left as it is; of the two seal files either both are there or neither.
pub(super) fn make(folder: &Path) -> Result<(), Exit> {
    let failed = |what: &str, error: std::io::Error| Exit::failure(format!("cannot make {what}: {error}"));
    fs::create_dir_all(folder).map_err(|error| failed(&folder.display().to_string(), error))?;
    for name in ["request-keys.json", "reply-keys.json"] {
        if !folder.join(name).exists() {
            let key = Zeroizing::new(random()?);
            write(&folder.join(name), &KeyFile::single("k1", &key))?;
        }
    }
    let (public, private) = (folder.join("seal-public.json"), folder.join("seal-private.json"));
    match (public.exists(), private.exists()) {
        (true, true) => {}
        (false, false) => {
            let (public_key, private_key) = generate_seal_pair();
            write(&private, &KeyFile::single("s1", &private_key))?;
            write(&public, &KeyFile::single("s1", &public_key))?;
        }
        _ => {
            return Err(Exit::failure(format!(
                "{} holds one of seal-public.json and seal-private.json; they belong together: remove it or bring the other",
                folder.display()
            )));
        }
    }
    tracing::info!(folder = %folder.display(), "the key files are there");
    Ok(())
}

fn random() -> Result<[u8; 32], Exit> {
    let mut key = [0; 32];
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut key)
        .map_err(|error| Exit::failure(format!("no random bytes are to be had: {error}")))?;
    Ok(key)
}

fn write(path: &Path, keys: &KeyFile) -> Result<(), Exit> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Exit::failure(format!("{} is there already", path.display())),
        _ => Exit::failure(format!("cannot write {}: {error}", path.display())),
    };
    let text = serde_json::to_string(keys).map(Zeroizing::new).map_err(|error| failed(error.into()))?;
    // create_new: two at once never overwrite each other's keys.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::wire::{Keyring, OpeningKeys, SealingKeys};

    #[test]
    fn makes_what_is_missing_and_overwrites_nothing() {
        let folder = std::env::temp_dir().join(format!("parley-keys-{}", uuid::Uuid::now_v7()));
        make(&folder).unwrap();
        assert!(Keyring::load(&folder.join("request-keys.json")).is_ok());
        assert!(Keyring::load(&folder.join("reply-keys.json")).is_ok());
        assert!(SealingKeys::load(&folder.join("seal-public.json")).is_ok());
        assert!(OpeningKeys::load(&folder.join("seal-private.json")).is_ok());
        let read = || fs::read_to_string(folder.join("request-keys.json")).unwrap();
        let before = read();
        make(&folder).unwrap();
        assert_eq!(read(), before);
        let mode = fs::metadata(folder.join("seal-private.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(folder.join("seal-public.json")).unwrap();
        assert!(make(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
