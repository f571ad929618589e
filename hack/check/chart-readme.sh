#!/usr/bin/env bash
# Writes the README of each chart from the comments in its values.yaml; with --check
# it only says whether they are as they would be written.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

VERSION=v1.14.2
DOCS=$TOOLS/helm-docs-$VERSION/helm-docs

if [ ! -x "$DOCS" ]; then
	GOBIN=$(dirname "$DOCS") GOMODCACHE=$CACHE/cluster/cache/gomod GOCACHE=$CACHE/cluster/cache/gobuild GOFLAGS=-modcacherw CGO_ENABLED=0 \
		go install "github.com/norwoodj/helm-docs/cmd/helm-docs@$VERSION" || die "helm-docs could not be built: see the lines above"
fi
for chart in parley parley-topics; do
	"$DOCS" --log-level error --chart-search-root "$ROOT/charts/$chart" --sort-values-order file --dry-run | sed 's/[[:space:]]*$//' | cat -s >"$TOOLS/readme.new"
	if [ "${1:-}" = --check ]; then
		cmp "$TOOLS/readme.new" "$ROOT/charts/$chart/README.md" || die "charts/$chart/README.md is stale: run hack/check/chart-readme.sh"
	else
		put "$ROOT/charts/$chart/README.md" <"$TOOLS/readme.new"
	fi
done
rm -f "$TOOLS/readme.new"
