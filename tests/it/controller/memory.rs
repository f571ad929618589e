//! The FFI module under a memory checker: every admin call, answers and errors, and clients that end in mid-call.

use std::process::Command;

use crate::fixtures::root;

/// Runs the admin tests of this very program again, under valgrind: no invalid access, nothing used before it was
/// written, nothing lost that is ours.
#[test]
fn the_admin_calls_are_clean_under_valgrind() {
    let program = std::env::current_exe().expect("this program");
    let suppressions = root().join("tests/it/controller/valgrind.supp");
    let output = Command::new("valgrind")
        .args(["--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .arg("--show-leak-kinds=definite")
        .arg(format!("--suppressions={}", suppressions.display()))
        .arg(program)
        // Without those that only wait or only repeat, which take minutes here.
        .args([
            "--test-threads=1",
            "--skip",
            "large_questions",
            "--skip",
            "a_coordinator",
            "--skip",
            "every_broker",
            "controller::admin::",
        ])
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("ERROR SUMMARY: 0 errors"), "{said}");
}
