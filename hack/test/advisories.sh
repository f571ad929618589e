#!/usr/bin/env bash
# Does hack/lib/advisories.sh tell a fault from a database that cannot be reached, whatever words they use?
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/advisories.sh"

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

# program NAME TEXT: a stand-in for a tool, which needs a network to say anything else.
program() {
	printf '#!/bin/sh\n%s\n' "$2" >"$SCRATCH/$1"
	chmod +x "$SCRATCH/$1"
}

# gives STATUS WORDS COMMAND...: that status, and these words.
gives() {
	local want=$1 words=$2 said status=0
	shift 2
	said=$("$@" 2>&1) || status=$?
	[ "$status" = "$want" ] || die "$*: status $status instead of $want: $said"
	grep -qF -- "$words" <<<"$said" || die "$*: it does not say \"$words\": $said"
}

fault='error[vulnerability]: the network client timed out; failed to fetch'
# shellcheck disable=SC2016 # the stand-in's own argument
program deny-clean 'case $1 in fetch) exit 0 ;; check) echo "advisories ok" ;; esac'
program deny-fault "case \$1 in fetch) exit 0 ;; check) echo '$fault' >&2; exit 1 ;; esac"
# shellcheck disable=SC2016
program deny-away 'case $1 in fetch) echo "no route to github.com" >&2; exit 1 ;; check) echo "never asked" >&2; exit 1 ;; esac'
gives 0 "advisories ok" crate_advisories "$SCRATCH/deny-clean"
gives 1 "$fault" crate_advisories "$SCRATCH/deny-fault"
gives 0 "not checked: no route to github.com" crate_advisories "$SCRATCH/deny-away"

program npm-clean "echo '{\"auditReportVersion\": 2, \"vulnerabilities\": {}}'"
program npm-fault "echo '{\"auditReportVersion\": 2, \"vulnerabilities\": {\"x\": {\"name\": \"network timed out\", \"severity\": \"high\", \"range\": \"<2\"}}}'; exit 1"
program npm-away "echo '{\"message\": \"request to the registry failed\", \"error\": {}}'; exit 1"
program npm-silent 'exit 1'
program npm-cut "printf '{\"auditReportVersion\": 2, \"vuln'; exit 124"
gives 0 "" npm_advisories "$SCRATCH/npm-clean"
gives 1 "high: network timed out <2" npm_advisories "$SCRATCH/npm-fault"
gives 0 "not checked: request to the registry failed" npm_advisories "$SCRATCH/npm-away"
gives 0 "not checked: no report" npm_advisories "$SCRATCH/npm-silent"
gives 0 "not checked: no report" npm_advisories "$SCRATCH/npm-cut"
echo "advisories: a fault is a fault whatever its words, and who cannot be reached is named"
