#!/usr/bin/env bash
# make up: Parley on this machine, from nothing to a page in the browser. Safe to
# run again at any time, also after a kill: what is there is kept, what changed is
# brought up to date.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$LIB/progress.sh"
. "$LIB/packages.sh"
. "$LIB/preflight.sh"
. "$LIB/stack.sh"
. "$LIB/demo.sh"
. "$LIB/prepare.sh"

as_root
t0=$(date +%s%N)
exclusively "$CACHE/lock-up" "make up or make down"
LOGS=$STATE/log

# A client without a daemon is no Docker.
if docker info >/dev/null 2>&1; then
	compilers
	memory
	disk
	if command -v apt-get >/dev/null; then step "Debian packages" install_packages "${BUILD_PACKAGES[@]}"; fi
	libraries
	with_kind
else
	debian
	namespaces
	tools
	memory
	disk
	step "Debian packages" install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}"
	ports
	# After the packages, which stay: what make down compares with.
	[ -d "$STATE/cluster" ] || "$HACK/cluster/leftovers.sh" save "$CACHE/before-up"
	prepare_start
	prepare_cluster
	infrastructure
	outside
	prepare_image
	step "image loaded" "$HACK/cluster/load.sh" "$IMAGE/parley.tar"
fi
platform
step "demo users alice and bob" demo_users
say "$(seconds $(($(date +%s%N) - t0)))  in all"
farewell
