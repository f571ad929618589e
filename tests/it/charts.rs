//! The charts, the samples and the demo's manifests against a real API server and our own programs.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output},
};

use crate::fixtures::{ApiServer, root};

/// Runs `hack/check/charts.sh`, which must succeed; what it said.
fn check(args: &[&OsStr]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(root().join("hack/check/charts.sh")).args(args).output().expect("the check starts");
    let said = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{said}{}", String::from_utf8_lossy(&stderr));
    said
}

/// On a server of its own: the check makes namespaces and roles and leaves them.
#[test]
fn a_real_api_server_accepts_every_manifest_and_the_controller_may_do_what_it_must_and_no_more() {
    let api = ApiServer::own();
    let said = check(&["server".as_ref(), api.kubeconfig().as_os_str()]);
    assert!(said.contains("accepts every render") && said.contains("rights: "), "{said}");
}

#[test]
fn the_programs_know_every_setting_that_the_chart_gives_them() {
    let programs = Path::new(env!("CARGO_BIN_EXE_worker")).parent().expect("a folder");
    let said = check(&["settings".as_ref(), programs.as_os_str()]);
    assert!(said.contains("know all"), "{said}");
}
