#!/usr/bin/env bash
# Stands before rustc for this workspace's own crates (RUSTC_WORKSPACE_WRAPPER): the product's library is built so
# that libFuzzer sees which way it goes and what it compares, and so that an overflow panics. All crates that it
# depends on are the release's, whose macros (rust-embed's) must find debug assertions off, as their libraries do.
set -euo pipefail
case " $* " in
*" --crate-name parley "*" --crate-type lib "*)
	exec "$@" -Copt-level=0 -Cdebug-assertions=off -Coverflow-checks \
		-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
		-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
		-Cllvm-args=-simplifycfg-branch-fold-threshold=0
	;;
*" --crate-type bin "*)
	# libFuzzer stands before the C library's comparisons, which it finds in a shared one only.
	exec "${@/target-feature=+crt-static/target-feature=-crt-static}" -Cstrip=none
	;;
*) exec "$@" ;;
esac
