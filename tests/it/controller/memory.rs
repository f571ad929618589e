//! The FFI module under a memory checker: every admin call, answers and errors, and clients that end in mid-call.

use std::process::Command;

use crate::fixtures::root;

/// Those of `admin` but for those that only repeat, which take minutes here, and a coordinator that goes away while it is asked:
/// librdkafka would use what it had freed, were each question to it not asked by a client of its own.
const TESTS: [&str; 6] = [
    "controller::admin::topics_and_their_configuration",
    "controller::admin::groups_and_offsets",
    "controller::admin::a_coordinator_that_comes_up_is_waited_for",
    "controller::admin::a_closed_client_ends_what_waits",
    "controller::admin::bad_names_and_absent_brokers",
    "controller::brokers::a_coordinator_may_be_away_for_longer_than_anybody_waits",
];

/// Runs tests of this very program again, under valgrind: no invalid access, nothing used before it was
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
        .args(["--test-threads=1", "--exact"])
        .args(TESTS)
        .env("SLOWED", "valgrind")
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("ERROR SUMMARY: 0 errors"), "{said}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let ran = format!("test result: ok. {} passed", TESTS.len());
    assert!(printed.contains(&ran), "not all of {TESTS:?} are there: {printed}");
}
