#!/usr/bin/env bash
# make bench: all measurements, and the tables and the picture of docs/benchmarks.md made of them. Root; some thirty-five minutes on two
# quiet cores after the build.
#
#   all.sh [PART...]    worker scaling gateway counts starts controller; what is not measured now keeps its figures on the page
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"
as_root

OUT=$CACHE/bench
RUN=$STATES/bench
mkdir -p "$OUT"

# machine PART: what it ran on, and of which commit.
machine() {
	jq -n --arg commit "$(git -C "$ROOT" rev-parse --short=12 HEAD)$(git -C "$ROOT" diff --quiet HEAD -- src migrations Cargo.lock || echo ' and changes')" \
		--arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" --argjson cores "$(nproc)" \
		--arg memory "$(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)" --arg kernel "$(uname -r)" \
		--arg rustc "$(rustc --version | cut -d' ' -f2)" --arg java "$(java -version 2>&1 | sed -n '1s/.*"\(.*\)".*/\1/p')" \
		--arg postgres "$("$("$HACK/postgres/bin.sh")/postgres" --version | awk '{print $3}')" \
		--arg kafka "$(sed -n '0,/<version>/s/.*<version>\(.*\)<.*/\1/p' "$HACK/kafka/pom.xml")" \
		--arg load "$(cut -d' ' -f1-3 /proc/loadavg)" \
		'{$commit, $cpu, $cores, $memory, $kernel, $rustc, $java, $postgres, $kafka, $load}' >"$OUT/machine-$1.json"
}

status=0
[ $# -gt 0 ] || set -- worker scaling gateway counts starts controller
for what in "$@"; do
	machine "$what"
	t0=$SECONDS
	case $what in
	worker | scaling | gateway | counts | starts) bash "$HACK/bench/$what.sh" || status=1 ;;
	controller) bash "$HACK/bench/controller.sh" | tee "$OUT/controller.md" || status=1 ;;
	*) die "there is nothing to measure of $what: worker scaling gateway counts starts controller" ;;
	esac
	say "== $what took $(((SECONDS - t0 + 59) / 60)) minutes"
done
node "$HACK/bench/report.mjs" "$OUT"
[ $status = 0 ] || die "something was found wrong: see above"
