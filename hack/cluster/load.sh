#!/usr/bin/env bash
# load.sh TAR...: loads image tars into the running node's containerd.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
. "$CLUSTER/lib/node.sh"
as_root
alive node || die "the cluster does not run"
node_namespace
for tar in "$@"; do load_image "$tar"; done
