#!/usr/bin/env bash
# make test: formatting, lints, unit and integration tests, then the end-to-end run
# on a real cluster in namespaces of its own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/advisories.sh"
. "$LIB/progress.sh"
. "$LIB/packages.sh"
. "$LIB/preflight.sh"
. "$LIB/stack.sh"
. "$LIB/prepare.sh"
. "$LIB/tools.sh"
. "$LIB/web.sh"

cd "$ROOT"
LOGS=$CACHE/log/test
OUTPUT=$LOGS/output
export SEARCHED=$LOGS/searched
mkdir -p "$LOGS"

# A test that does not run must say what it lacks.
silent_skips() {
	if grep -rnE '#\[ignore\]|#\[ignore = "' --include='*.rs' src tests | grep -v '#\[ignore = "needs '; then
		die "the tests above are skipped without saying what they need: #[ignore = \"needs …\"]"
	fi
}

dependencies() {
	cargo_deny check bans licenses sources
	crate_advisories "$TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny"
	npm_advisories npm --prefix web
}

web() {
	web_modules
	web_dist
	npm --prefix web run --silent check
}

# All targets, and the end-to-end tests, which "all" leaves out: cargo does not heed a name beside it.
lints() {
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test e2e -- -D warnings
}
test_binaries() {
	cargo test --locked --no-run --all-targets
	cargo test --locked --no-run --test e2e
}

# run_tests COMMAND...: fails the run with the command's own status, after its output was kept. Stacks of an async test name its
# runtime and little else.
run_tests() {
	local status=0
	RUST_BACKTRACE=0 "$@" 2>&1 | tee -a "$OUTPUT" || status=$?
	[ "$status" -eq 0 ] || reasons
	return $status
}

# Each failed test once more with the beginning of its reason, at the end of the output, where people look.
reasons() {
	awk '/^---- .* stdout ----$/ {sub(/ stdout ----$/, ""); name = substr($0, 6)}
		/panicked at/ && name != "" {print "FAILED " name; left = 8; name = ""}
		left-- > 0 {print "    " substr($0, 1, 300)}' "$OUTPUT" >&2
}

# The closing line, over everything that ran.
counts() {
	awk '/^test result:/ {passed += $4; failed += $6; skipped += $8}
		END {printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped; exit !(passed > 0 && failed == 0)}' "$OUTPUT"
}

as_root
t0=$(date +%s%N)
: >"$OUTPUT"
: >"$SEARCHED"
debian
tools
memory
disk
step "Debian packages" install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
step "scripts" find hack .ci -type f \( -name '*.sh' -o -path '.ci/*' \) -exec shellcheck {} +
step "advisories are told from silence" hack/test/advisories.sh >/dev/null
step "a machine that lacks something" hack/test/preflight.sh >/dev/null
step "format" cargo fmt --all --check
step "skipped tests" silent_skips

# Two lanes for two cores: Go and cargo-deny beside Rust, whose steps wait for each other.
lane "Kafka's jars" unlocked "$HACK/kafka/classes.sh"
lane "cluster binaries" unlocked "$HACK/cluster/build.sh"
lane "web client" web
lane "a registry that is away" hack/test/registry.sh
join "web client" "a registry that is away"
lane "lints" lints
join "lints"
lane "test binaries" test_binaries
join "test binaries" "cluster binaries" "Kafka's jars"
lane "dependencies" dependencies
lane "lints without features" cargo clippy --locked --no-default-features --all-targets -- -D warnings
lane "Parley's binaries and image" unlocked "$HACK/image/build.sh"
# With the time that the others leave: nothing but the end of the builds waits for it.
lane "charts with Helm 4" unlocked nice "$HACK/check/helm4.sh"
join "dependencies" "lints without features"
# What fails here is to fail again. Linking the image's program is work for one core.
lane "fuzzing" env SEED=1 "$HACK/fuzz.sh" 20
join "Parley's binaries and image"
step "charts" hack/check/charts.sh >/dev/null
step "image check" hack/check/image.sh >/dev/null
step "instruction counts" hack/check/instructions.sh >/dev/null
step "a release" hack/check/release.sh >/dev/null

lane "web client in Chromium" npm --prefix web run --silent chromium
join "fuzzing" "web client in Chromium" "charts with Helm 4"

# Tests wait more than they work: one more at a time than there are cores keeps these busy.
step "unit and integration tests" run_tests env RUST_TEST_THREADS=$(($(nproc) + 1)) cargo test --locked -- --skip chaos::faults
# A dozen processes and three brokers that come and go: alone, or everything beside it would wait.
step "a hundred faults" run_tests cargo test --locked --test it -- chaos::faults
step "end-to-end tests" run_tests hack/test/namespace.sh hack/test/e2e.sh
step "no password in all of that" hack/test/passwords.sh found
say "$(seconds $(($(date +%s%N) - t0)))  in all"
counts
