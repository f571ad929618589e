#!/usr/bin/env bash
# Helm 4 takes the charts as Helm 3 does: lint, and the same render from every values file. The first time it builds Helm 4, which
# takes more than two minutes of a core: a script of its own, so that `make test` can do it beside something else.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$HACK/check/tools.sh"

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
helm3=$CACHE/cluster/bin/helm
[ -x "$helm3" ] || "$HACK/cluster/build.sh" clients
helm4=$(go_tool helm "$HELM4_VERSION" helm.sh/helm/v4/cmd/helm)

# Helm 4 keeps empty lines at the end of a document that Helm 3 drops.
documents() { awk '/^[[:space:]]*$/ {empty++; next} {if ($0 != "---") for (; empty > 0; empty--) print ""; empty = 0; print}'; }

n=0
for chart in parley parley-topics; do
	for values in "$ROOT/charts/$chart"/ci/*.yaml; do
		"$helm4" lint --strict --quiet --kube-version 1.34.4 "$ROOT/charts/$chart" -f "$values" >"$SCRATCH/lint" 2>&1 || { cat "$SCRATCH/lint" >&2; die "Helm 4 finds fault with $chart and $values"; }
		for helm in "$helm3" "$helm4"; do
			"$helm" template parley "$ROOT/charts/$chart" -n parley --kube-version 1.34.4 -f "$values" | documents >"$SCRATCH/${helm//\//-}"
		done
		cmp "$SCRATCH/${helm3//\//-}" "$SCRATCH/${helm4//\//-}" || die "Helm 3 and Helm 4 render $chart with $values differently"
		n=$((n + 1))
	done
done
if "$helm4" template parley "$ROOT/charts/parley" --kube-version 1.34.4 --set gatway.replicas=2 >"$SCRATCH/out" 2>&1; then die "Helm 4 accepts a value that is misspelt"; fi
grep -q gatway "$SCRATCH/out" || { cat "$SCRATCH/out" >&2; die "Helm 4 does not name the misspelt value"; }
echo "charts: $("$helm4" version --short) renders all $n as Helm 3 does"
