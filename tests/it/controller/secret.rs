//! `controller secret`, as the chart's hook runs it after `worker keys`: with the hook's own rights, once, and never over what is there.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::fixtures::{ApiServer, root, unique};

fn helm() -> Command {
    let cache = std::env::var("XDG_CACHE_HOME")
        .unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").unwrap_or_default()));
    Command::new(format!("{cache}/parley/cluster/bin/helm"))
}

/// The hook's account and rights, from the chart, in this namespace; gives a kubeconfig of that account.
fn account(api: &ApiServer, namespace: &str, folder: &Path) -> PathBuf {
    let chart = root().join("charts/parley");
    let mut render = helm();
    render.args(["template", "r"]).arg(&chart).args(["-n", namespace, "--kube-version", "1.34.4"]);
    render.args(["--set", "keys.generate.enabled=true", "--show-only", "templates/keys/rbac.yaml"]);
    let output = render.output().expect("helm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest = folder.join("rbac.yaml");
    std::fs::write(&manifest, output.stdout).expect("written");
    api.kubectl(&["apply", "--server-side", "-f", &manifest.display().to_string()]);
    let token = api.kubectl(&["create", "token", "r-parley-keys", "-n", namespace]);
    let text = std::fs::read_to_string(api.kubeconfig()).expect("a kubeconfig");
    let mut config: Value = serde_yaml::from_str(&text).expect("YAML");
    config["users"][0]["user"] = json!({"token": token.trim()});
    let file = folder.join("kubeconfig");
    std::fs::write(&file, config.to_string()).expect("written");
    file
}

#[test]
fn keys_are_made_once_with_the_right_to_create_and_no_other() {
    let api = ApiServer::shared();
    let namespace = api.namespace();
    let folder = std::env::temp_dir().join(unique("parley-hook"));
    std::fs::create_dir(&folder).expect("a folder");
    let kubeconfig = account(api, &namespace, &folder);
    // What the Job's two containers run.
    let hook = |keys: &str| -> Output {
        let keys = folder.join(keys);
        let made = Command::new(env!("CARGO_BIN_EXE_worker")).arg("keys").arg(&keys).status();
        assert!(made.is_ok_and(|status| status.success()));
        let mut keep = Command::new(env!("CARGO_BIN_EXE_controller"));
        keep.args(["secret", "parley-keys"]).arg(&keys).args(["--namespace", &namespace]);
        keep.env("KUBECONFIG", &kubeconfig).output().expect("the controller runs")
    };
    let data = || -> Value {
        let secret = api.kubectl(&["get", "secret", "parley-keys", "-n", &namespace, "-o", "json"]);
        serde_json::from_str::<Value>(&secret).expect("JSON")["data"].take()
    };
    let first = hook("first");
    assert!(first.status.success(), "{first:?}");
    let before = data();
    let names: Vec<&String> = before.as_object().expect("keys").keys().collect();
    assert_eq!(names, ["reply-keys.json", "request-keys.json", "seal-private.json", "seal-public.json"]);

    // Again, with other keys: a second install, or a pod that was killed after its work.
    let second = hook("second");
    assert!(second.status.success(), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stdout).contains("there already"), "{second:?}");
    assert_eq!(data(), before, "nobody's session ends");
    for output in [first, second] {
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("\"keys\""), "no key is printed: {said}");
    }

    // Without files, or without the right: a failure that says so.
    let keep = |folder: &Path, namespace: &str| {
        let mut keep = Command::new(env!("CARGO_BIN_EXE_controller"));
        keep.args(["secret", "another"]).arg(folder).args(["--namespace", namespace]);
        let output = keep.env("KUBECONFIG", &kubeconfig).output().expect("the controller runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let empty = folder.join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    assert!(keep(&empty, &namespace).contains("holds no files"));
    assert!(keep(&folder.join("first"), "default").contains("cannot be made"));
    std::fs::remove_dir_all(folder).expect("removed");
}
