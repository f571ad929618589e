#!/usr/bin/env bash
# make chaos: the whole platform under a thousand faults, one after another, each until it is recovered from.
#
#   FAULTS   how many (1000); a fault takes some five seconds
#   SEED     which; left out: another one each time, printed at the start. The same seed is the same schedule.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$LIB/progress.sh"
. "$LIB/packages.sh"
. "$LIB/preflight.sh"
. "$LIB/web.sh"

cd "$ROOT"
LOGS=$CACHE/log/chaos
mkdir -p "$LOGS"
as_root
debian
tools
memory
disk
step "Debian packages" install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
step "Kafka's jars" "$HACK/kafka/jars.sh"
step "cluster binaries" "$HACK/cluster/build.sh"
step "web client" web_dist
step "test binaries" cargo test --locked --no-run --test it
CHAOS_FAULTS=${FAULTS:-1000} CHAOS_SEED=${SEED:-$RANDOM} CHAOS_APART=1 \
	cargo test --locked --test it -- --nocapture chaos::faults
