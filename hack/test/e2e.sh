#!/usr/bin/env bash
# The end-to-end tests on a stack of their own (run through namespace.sh).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/stack.sh" up
# No network in here: everything was built before.
CARGO_NET_OFFLINE=true cargo test --locked --test e2e -- "$@"
