//! What Prometheus and the API server's audit log say after everything else has run.

use crate::cluster::{check, kubectl};

/// Where `hack/test/prometheus.sh` listens.
const PROMETHEUS: &str = "http://127.0.0.1:9095";

#[test]
fn every_panel_and_every_alert_finds_its_data() {
    let said = check("data.mjs", &[PROMETHEUS]);
    assert!(said.contains("expressions of panels"), "{said}");
    eprintln!("{said}");
}

#[test]
fn the_controller_used_every_right_that_it_has_and_was_refused_nothing() {
    let kubeconfig = std::env::var("KUBECONFIG").expect("run through make test");
    let log = std::path::Path::new(&kubeconfig).with_file_name("cluster").join("audit.log");
    let roles = kubectl(&[
        "get",
        "clusterroles,roles",
        "-A",
        "-l",
        "app.kubernetes.io/instance=parley,app.kubernetes.io/component=controller",
        "-o",
        "json",
    ]);
    let file = std::env::temp_dir().join(format!("parley-roles-{}.json", std::process::id()));
    std::fs::write(&file, roles).expect("a file can be written");
    let said = check("rights-used.mjs", &[&log.display().to_string(), &file.display().to_string()]);
    std::fs::remove_file(file).expect("it was written");
    assert!(said.contains("rights used"), "{said}");
    eprintln!("{said}");
}
