#!/usr/bin/env bash
# make chaos: the whole platform under a thousand faults, one after another, each until it is recovered from.
# make soak (chaos.sh soak): two hours with a fault in each minute, at the end of which nothing may have risen.
#
#   FAULTS    how many (1000); a fault takes some five seconds
#   MINUTES   how long a soak takes (120)
#   RATE      messages a second (18; a soak 30, half of what two slow cores with all of this on them bear)
#   SEED      which; left out: another one each time, printed at the start. The same seed is the same schedule.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$LIB/progress.sh"
. "$LIB/packages.sh"
. "$LIB/preflight.sh"
. "$LIB/web.sh"

cd "$ROOT"
LOGS=$CACHE/log/chaos
# What `node hack/recovery.mjs` makes the table of docs/reliability.md from.
export CHAOS_OUT=$CACHE/chaos
mkdir -p "$LOGS" "$CHAOS_OUT"
as_root
debian
tools
memory
disk
step "Debian packages" install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
step "Kafka's jars" "$HACK/kafka/classes.sh"
step "cluster binaries" "$HACK/cluster/build.sh"
step "web client" web_dist
step "test binaries" cargo test --locked --no-run --test it
export CHAOS_SEED=${SEED:-$RANDOM}
case ${1:-} in
soak) export CHAOS_MINUTES=${MINUTES:-120} CHAOS_RATE=${RATE:-30} ;;
'') export CHAOS_APART=1 CHAOS_FAULTS=${FAULTS:-1000} CHAOS_RATE=${RATE:-18} ;;
*) die "usage: chaos.sh [soak]" ;;
esac
cargo test --locked --test it -- --nocapture chaos::faults
