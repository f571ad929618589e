# What checks charts and needs building or fetching, once, into the cache (sourced).

KUBECONFORM_VERSION=v0.8.0
KUBE_SCORE_VERSION=v1.20.0
HELM4_VERSION=v4.3.1
# Definitions of kinds that the charts and docs/gitops.md use and Kubernetes does not bring: from their modules.
PROMETHEUS_OPERATOR=github.com/prometheus-operator/prometheus-operator@v0.85.0
GATEWAY_API=sigs.k8s.io/gateway-api@v1.4.0
ARGO_CD=github.com/argoproj/argo-cd/v3@v3.1.0
FLUX_HELM=github.com/fluxcd/helm-controller@v1.4.0
FLUX_KUSTOMIZE=github.com/fluxcd/kustomize-controller@v1.7.3

goenv() { env GOMODCACHE="$CACHE/cluster/cache/gomod" GOCACHE="$CACHE/cluster/cache/gobuild" GOFLAGS=-modcacherw CGO_ENABLED=0 "$@"; }

# go_tool NAME VERSION PACKAGE: its path.
go_tool() {
	local dir=$TOOLS/$1-$2
	if [ ! -x "$dir/$1" ]; then
		(exclusively "$TOOLS/lock-$1" "build of $1" && goenv GOBIN="$dir" go install "$3@$2" >&2) || die "$1 could not be built: see the lines above"
	fi
	echo "$dir/$1"
}
kubeconform() { "$(go_tool kubeconform $KUBECONFORM_VERSION github.com/yannh/kubeconform/cmd/kubeconform)" "$@"; }
kube_score() { "$(go_tool kube-score $KUBE_SCORE_VERSION github.com/zegl/kube-score/cmd/kube-score)" "$@"; }

# definitions: paths of the foreign CustomResourceDefinitions, one a line.
definitions() {
	local dir=$TOOLS/definitions file new from=(
		"$PROMETHEUS_OPERATOR" example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml
		"$PROMETHEUS_OPERATOR" example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml
		"$GATEWAY_API" config/crd/standard/gateway.networking.k8s.io_httproutes.yaml
		"$ARGO_CD" manifests/crds/application-crd.yaml
		"$FLUX_HELM" config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml
		"$FLUX_KUSTOMIZE" config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml
	)
	if [ "$(cat "$dir/from" 2>/dev/null)" != "${from[*]}" ]; then
		new=$(mktemp -d "$TOOLS/definitions-new.XXXXXX")
		echo "${from[*]}" >"$new/from"
		for ((file = 0; file < ${#from[@]}; file += 2)); do cp "$(module "${from[file]}")/${from[file + 1]}" "$new/"; done
		rm -rf "$dir"
		mv "$new" "$dir"
	fi
	ls "$dir"/*.yaml
}
# module MODULE@VERSION: the folder of its sources.
module() { (cd / && goenv go mod download -json "$1" | jq -re .Dir) || die "$1 could not be downloaded"; }
