#!/usr/bin/env bash
# A registry that is not there: does the real tool's failure end in one line with the next step, and any other failure not?
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/progress.sh"

SCRATCH=$(mktemp -d)
LOGS=$SCRATCH/log
trap 'end_lanes; rm -rf "$SCRATCH"' EXIT
NOWHERE=http://127.0.0.1:9 # the port of "discard", where nobody listens

# Each on a project that names one package, with caches of its own.
with_cargo() {
	mkdir -p "$SCRATCH/cargo/src" "$SCRATCH/cargo-home"
	printf '[package]\nname = "x"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\nitoa = "1"\n' >"$SCRATCH/cargo/Cargo.toml"
	: >"$SCRATCH/cargo/src/lib.rs"
	printf '[source.crates-io]\nreplace-with = "nowhere"\n[source.nowhere]\nregistry = "sparse+%s/"\n[net]\nretry = 0\n' "$NOWHERE" >"$SCRATCH/cargo-home/config.toml"
	cd "$SCRATCH/cargo" && CARGO_HOME=$SCRATCH/cargo-home cargo fetch
}
with_go() {
	mkdir -p "$SCRATCH/go"
	printf 'module x\ngo 1.21\nrequire golang.org/x/text v0.3.0\n' >"$SCRATCH/go/go.mod"
	printf 'package x\nimport _ "golang.org/x/text/width"\n' >"$SCRATCH/go/x.go"
	cd "$SCRATCH/go" && GOPROXY=$NOWHERE GOSUMDB=off GOFLAGS=-mod=mod GOTOOLCHAIN=local GOMODCACHE=$SCRATCH/gomod go mod download
}
with_npm() {
	mkdir -p "$SCRATCH/npm"
	printf '{"name": "x", "version": "0.0.0", "dependencies": {"ms": "2"}}' >"$SCRATCH/npm/package.json"
	cd "$SCRATCH/npm" && npm --registry "$NOWHERE" --fetch-retries 0 --no-audit --no-fund --no-update-notifier --cache "$SCRATCH/npm-cache" install
}
with_maven() {
	printf '<settings><mirrors><mirror><id>nowhere</id><mirrorOf>*</mirrorOf><url>%s</url></mirror></mirrors></settings>' "$NOWHERE" >"$SCRATCH/settings.xml"
	mvn --batch-mode --quiet -s "$SCRATCH/settings.xml" -Dmaven.repo.local="$SCRATCH/m2" -f "$HACK/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$SCRATCH/jars"
}
with_apt() {
	mkdir -p "$SCRATCH/apt/lists/partial" "$SCRATCH/apt/archives/partial"
	echo "deb [trusted=yes] $NOWHERE bookworm main" >"$SCRATCH/apt/sources.list"
	apt-get -qq -o Dir::Etc::sourcelist="$SCRATCH/apt/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$SCRATCH/apt/lists" \
		-o Dir::Cache="$SCRATCH/apt" -o Acquire::Retries=0 -o APT::Update::Error-Mode=any update
}
with_a_mistake() {
	echo "error[E0425]: cannot find value \`x\` in this scope"
	return 1
}

# ended NAME: what a person reads when this lane fails.
ended() (
	lane "$1" "with_${1// /_}"
	join "$1" 2>&1
)

for tool in cargo go npm maven apt; do
	# Without the lines that tell how long it takes.
	said=$(ended "$tool" | grep -v '^   … ' || true)
	[ "$(wc -l <<<"$said")" = 1 ] || die "$tool without a registry says more than one line: $said"
	[[ $said == "error: $tool failed for want of a package registry ("*"): check the network, or name a mirror"* ]] || die "$tool without a registry: $said"
done
said=$(ended "a mistake" || true)
[[ $said == *"E0425"*"a mistake failed; the whole log"* ]] || die "another failure shows its log: $said"
echo "registries: cargo, Go, npm, Maven and apt without one end in one line with the next step"
