#!/usr/bin/env bash
# What kstatus makes of the objects on standard input: see kstatus/main.go, which is built once, into the cache.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$HACK/check/tools.sh"

bin=$TOOLS/kstatus-$(sum_of hack/check/kstatus | cut -c 1-16)
if [ ! -x "$bin" ]; then
	(exclusively "$TOOLS/lock-kstatus" "build of kstatus" >&2 &&
		goenv go build -C "$HACK/check/kstatus" -mod=readonly -buildvcs=false -trimpath -o "$bin.new" . >&2 && mv "$bin.new" "$bin") ||
		die "kstatus could not be built: see the lines above"
fi
exec "$bin"
