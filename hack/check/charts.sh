#!/usr/bin/env bash
# Checks the charts and the sample manifests.
#
#   hack/check/charts.sh                      what needs no cluster: lint, every values
#                                             file of ci/, what must be refused, drift,
#                                             alerts, dashboards, documentation
#   hack/check/charts.sh server KUBECONFIG    the same renders, the samples and the demo's
#                                             manifests through a real API server's dry run,
#                                             and the controller's rights asked there
#
#   hack/check/charts.sh settings DIR         does each program in DIR know the settings and
#                                             arguments that the chart gives it?
#
# HELM, KUBECTL and PROMTOOL name other programs than those that `make` built or installed. The second
# form makes namespaces and the resource's definition on that server and leaves
# them: use one of the tests' own.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$HACK/check/tools.sh"
BIN=$CACHE/cluster/bin
HELM=${HELM:-$BIN/helm}
KUBECTL=${KUBECTL:-$BIN/kubectl}
PROMTOOL=${PROMTOOL:-promtool}
KUBE_VERSION=1.34.4
NAMESPACE=parley
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# render CHART [HELM ARGUMENT...]: as `helm install parley` in namespace parley.
render() {
	local chart=$1
	shift
	"$HELM" template parley "$ROOT/charts/$chart" -n "$NAMESPACE" --kube-version "$KUBE_VERSION" "$@"
}

# renders: every values file of every chart into $SCRATCH/renders/CHART-VALUES.yaml
renders() {
	local chart values
	mkdir -p "$SCRATCH/renders"
	for chart in parley parley-topics; do
		for values in "$ROOT/charts/$chart"/ci/*.yaml; do
			render "$chart" -f "$values" >"$SCRATCH/renders/$chart-$(basename "$values")" ||
				fail "$chart does not render with $values"
		done
	done
}

lint() {
	local chart values
	for chart in parley parley-topics; do
		for values in "$ROOT/charts/$chart"/ci/*.yaml; do
			"$HELM" lint --strict --quiet --kube-version "$KUBE_VERSION" "$ROOT/charts/$chart" -f "$values" >"$SCRATCH/lint" 2>&1 ||
				{ cat "$SCRATCH/lint" >&2; fail "helm lint of $chart with $values"; }
		done
	done
}

# refused WORDS CHART ARGUMENT...: the render fails, and says WORDS.
refused() {
	local words=$1
	shift
	if render "$@" >"$SCRATCH/out" 2>&1; then fail "accepted: $*"; fi
	grep -qF -- "$words" "$SCRATCH/out" || { cat "$SCRATCH/out" >&2; fail "refused, but without \"$words\": $*"; }
}

# What a reviewer of manifests would say; left out is what was decided otherwise:
#   tags name one content, so IfNotPresent is right; nothing is written to the root, so there is no storage to ask for;
#   a CPU limit only makes slow; topology spread stands for anti-affinity; a second controller is the user's choice.
score() {
	local file name
	for file in "$SCRATCH"/renders/*.yaml; do
		name=${file##*/}
		# A set is no kind that it judges.
		if [[ $name = parley-topics-* ]]; then
			! grep -vE '^kind: ChatTopicSet$' "$file" | grep '^kind:' >&2 || fail "$name holds more than a set: let kube-score judge it"
			continue
		fi
		local ignore=(container-image-pull-policy container-ephemeral-storage-request-and-limit deployment-has-host-podantiaffinity deployment-replicas)
		# Only where it is switched on; and who switches disruption budgets off, as one pool of `pools` does, has none.
		grep -q '^kind: NetworkPolicy$' "$file" || ignore+=(pod-networkpolicy)
		if [[ $name = parley-pools.yaml ]] || ! grep -q '^kind: PodDisruptionBudget$' "$file"; then ignore+=(deployment-has-poddisruptionbudget); fi
		# A port on the nodes is there only when it was asked for.
		[[ $name != parley-node-port.yaml ]] || ignore+=(service-type)
		kube_score score --ignore-container-cpu-limit --output-format ci "${ignore[@]/#/--ignore-test=}" "$file" >"$SCRATCH/score" || true
		grep -q '^\[OK\]' "$SCRATCH/score" || { cat "$SCRATCH/score" >&2; fail "kube-score judged nothing of $name"; }
		! grep -E '^\[(CRITICAL|WARNING)\]' "$SCRATCH/score" >&2 || fail "kube-score of $name: see the lines above"
	done
}

# What people get wrong, and the word that tells them.
refusals() {
	refused "'gatway' not allowed" parley --set gatway.replicas=2
	refused "'replica' not allowed" parley --set gateway.replica=2
	refused "'replicas' not allowed" parley --set workers.chat.replicas=2
	refused "'drainSecond' not allowed" parley --set workerDefaults.drainSecond=2
	refused "/workers/chat/kinds/0" parley --set 'workers.chat.kinds={AddChats}'
	refused "missing property 'consumerGroup'" parley --set 'workers.more.kinds={AddChat}'
	refused "AddChat is served by both" parley --set 'workers.a.kinds={AddChat},workers.a.consumerGroup=a'
	refused "drainSeconds < sessionTimeoutSeconds" parley --set workers.chat.drainSeconds=25
	refused "sessionTimeoutSeconds < terminationGracePeriodSeconds" parley --set workerDefaults.preStopSeconds=15
	refused "must exceed preStopSeconds + drainSeconds" parley --set gateway.drainSeconds=60
	refused "needs kafka.existingSecret" parley --set kafka.securityProtocol=sasl-ssl
	refused "belong together" parley --set kafka.certKey=tls.crt
	refused "have no use with" parley --set kafka.caKey=ca.crt
	refused "/kafka/bootstrapServers" parley --set kafka.bootstrapServers=kafka
	refused "/database/existingSecret" parley --set database.existingSecret=
	refused "needs type NodePort" parley --set gateway.service.nodePort=30080
	refused "needs rbac.create" parley --set keys.generate.enabled=true,rbac.create=false
	refused "'generated' not allowed" parley --set keys.generated=true
	refused "names, or all: true" parley --set 'controller.secretAccess[0].namespace=a'
	refused "'partition' not allowed" parley-topics --set topics.x.partition=2
	refused "/onFewerPartitions" parley-topics --set onFewerPartitions=Ignore
	if "$HELM" template parley "$ROOT/charts/parley" --kube-version 1.29.9 >"$SCRATCH/out" 2>&1; then
		fail "a cluster older than preStop.sleep is accepted"
	fi
}

# part FILE TEMPLATE REGEX: does what one template gave to a render hold such a line?
part() {
	awk -v want="# Source: parley/templates/$2" '/^# Source: /{on = ($0 == want)} on' "$1" >"$SCRATCH/part"
	grep -qE -- "$3" "$SCRATCH/part"
}

# pods FILE: how many pod specs a render holds, by a line that each has once.
pods() { grep -c 'enableServiceLinks: false' "$1"; }

# What people read after an installation names what the render holds, and nothing that has no value.
notes() {
	local chart values name kind namespace=parley-notes
	for chart in parley parley-topics; do
		for values in "$ROOT/charts/$chart"/ci/*.yaml; do
			# What is there already is not looked at: other checks have left some of it.
			"$HELM" install parley "$ROOT/charts/$chart" --kubeconfig "$KUBECONFIG" -n "$namespace" --dry-run=client --take-ownership -f "$values" >"$SCRATCH/installed" 2>"$SCRATCH/out" ||
				{ cat "$SCRATCH/out" >&2; fail "$chart with $values cannot be installed"; }
			sed '1,/^NOTES:$/d' "$SCRATCH/installed" >"$SCRATCH/notes"
			grep -qE '^ +(kubectl|helm) ' "$SCRATCH/notes" || fail "$chart with ${values##*/}: the notes name no command"
			! grep -E '<no value>|%!|\{\{|\(\)' "$SCRATCH/notes" >&2 || fail "$chart with ${values##*/}: the notes hold what has no value"
			! grep -E '^ +(kubectl|helm) ' "$SCRATCH/notes" | grep -vF -- "-n $namespace " >&2 || fail "$chart with ${values##*/}: a command of the notes asks another namespace"
			while IFS=' ' read -r kind name; do
				grep -A4 -E "^kind: $kind\$" "$SCRATCH/installed" | grep -qE "^  name: $name\$" || fail "$chart with ${values##*/}: the notes name the $kind $name, which is not installed"
			done < <(grep -oE 'service/[a-z0-9.-]+|Deployment [a-z0-9.-]+' "$SCRATCH/notes" | sed -E 's/^service\//Service /' | sort -u)
		done
	done
}

# What every render must hold, whatever the values.
promises() {
	local file pods containers line tokens
	for file in "$SCRATCH"/renders/parley-[!t]*.yaml; do
		pods=$(pods "$file")
		for line in 'runAsNonRoot: true' 'seccompProfile: {type: RuntimeDefault}'; do
			[ "$(grep -cF "$line" "$file")" = "$pods" ] || fail "${file##*/}: not every one of the $pods pods has $line"
		done
		containers=$(grep -c 'imagePullPolicy:' "$file")
		for line in 'readOnlyRootFilesystem: true' 'allowPrivilegeEscalation: false' 'capabilities: {drop: [ALL]}'; do
			[ "$(grep -cF "$line" "$file")" = "$containers" ] || fail "${file##*/}: not every one of the $containers containers has $line"
		done
		# The controller's, and those of the hooks which end it and which keep the keys.
		tokens=$((1 + $(grep -cE 'command: \[/bin/controller, (uninstall|secret,.*)\]' "$file" || true)))
		[ "$(grep -c 'automountServiceAccountToken: true' "$file")" = "$tokens" ] || fail "${file##*/}: only the controller and its hooks have a token"
		! part "$file" worker/deployment.yaml '^ *replicas:' || fail "${file##*/}: a worker names its replicas"
		grep -A1 -E '^ *limits:' "$file" >"$SCRATCH/limits" || fail "${file##*/}: no limits at all"
		! grep -q 'cpu:' "$SCRATCH/limits" || fail "${file##*/}: a CPU limit"
		! part "$file" controller/rbac.yaml '(verbs|resources|apiGroups):.*(\*|delete|impersonate|escalate|bind)' || fail "${file##*/}: the controller may do more than it needs"
	done
	file=$SCRATCH/renders/parley-everything-off.yaml
	! grep -qE '^kind: (CustomResourceDefinition|(Cluster)?Role|PodDisruptionBudget|Job|ServiceAccount)$' "$file" ||
		fail "${file##*/}: renders what is switched off"
	# The key that opens passwords is where passwords are checked, and nowhere else.
	[ "$(grep -c 'key: seal-private.json' "$SCRATCH/renders/parley-minimal.yaml")" = 1 ] || fail "seal-private.json: one pool needs it"
	# In named namespaces the controller has no right beyond them.
	! part "$SCRATCH/renders/parley-production.yaml" controller/rbac.yaml '^kind: ClusterRole' || fail "watchNamespaces still gives cluster-wide rights"
	part "$SCRATCH/renders/parley-minimal.yaml" crd.yaml 'helm.sh/resource-policy: keep' || fail "crds.keep does not keep"
}

# versions ROOT: the version has one place, Cargo.toml; wherever else it stands it is the same.
versions() {
	local root=$1 version chart field file
	version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
	for chart in parley parley-topics; do
		for field in version appVersion; do
			grep -qE "^$field: \"?$version\"?\$" "$root/charts/$chart/Chart.yaml" || fail "$chart: $field is not Cargo.toml's $version"
		done
	done
	grep -qF "org.opencontainers.image.version=\"$version\"" "$root/Dockerfile" || fail "Dockerfile: the version is not Cargo.toml's $version"
	grep -qE "^FROM rust:$(sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")-" "$root/Dockerfile" || fail "Dockerfile: its Rust is not rust-toolchain.toml's"
	for file in "$root/Dockerfile" "$root"/docs/*.md "$root/README.md"; do
		! grep -noE 'parley\.dev/parley:[0-9][^ `]*' "$file" | grep -vF ":parley.dev/parley:$version" || fail "${file#"$root/"} names another image than $version"
	done
	grep -qF "parley.dev/parley:$version " "$root/docs/install.md" || fail "docs/install.md names no image of $version"
	for file in web/package.json:.version web/package-lock.json:.version 'web/package-lock.json:.packages[""].version' docs/openapi.json:.info.version; do
		[ "$(jq -r "${file#*:}" "$root/${file%%:*}")" = "$version" ] || fail "${file%%:*}: ${file#*:} is not Cargo.toml's $version"
	done
}

# A release sets it everywhere: in a copy, to one that nothing has.
bumped() {
	local copy=$SCRATCH/bumped
	mkdir -p "$copy/web"
	cp -r "$ROOT"/{Cargo.toml,Cargo.lock,Dockerfile,README.md,charts,docs,hack} "$copy/"
	cp "$ROOT"/web/package*.json "$copy/web/"
	"$copy/hack/release.sh" version 9.8.7-rc.6 2>"$SCRATCH/out" || { cat "$SCRATCH/out" >&2; fail "release.sh cannot set a version"; }
	grep -qF 'version = "9.8.7-rc.6"' "$copy/Cargo.toml" || fail "release.sh does not set Cargo.toml's version"
	versions "$copy"
}

# The copies and numbers that stand in two places.
drift() {
	versions "$ROOT"
	bumped
	cmp "$ROOT/crds/chattopicsets.yaml" "$ROOT/charts/parley/files/chattopicsets.yaml" ||
		fail "the chart's definition is stale: cp crds/chattopicsets.yaml charts/parley/files/"
	# Without keep the definition is rendered as it is, to the byte but for the marker line.
	render parley --set crds.keep=false --show-only templates/crd.yaml | sed 1,2d | cmp - "$ROOT/crds/chattopicsets.yaml" ||
		fail "the chart changes the definition"
}

# Alerts fire when they should and only then; dashboards are as their descriptions say.
monitoring() {
	command -v "$PROMTOOL" >/dev/null || fail "promtool is missing: apt-get install prometheus, or name it in PROMTOOL"
	"$PROMTOOL" check rules "$ROOT/charts/parley/files/alerts.yaml" >"$SCRATCH/out" 2>&1 || { cat "$SCRATCH/out" >&2; fail "alerts.yaml is no rule file"; }
	"$PROMTOOL" test rules "$ROOT/hack/check/alerts-test.yaml" >"$SCRATCH/out" 2>&1 || { cat "$SCRATCH/out" >&2; fail "an alert fires or is quiet when it should not"; }
	node "$ROOT/hack/check/alerts.mjs"
	node "$ROOT/hack/dashboards/build.mjs" --check
	node "$ROOT/hack/dashboards/lint.mjs" "$ROOT"/charts/parley/files/dashboards/*.json
	node "$ROOT/hack/dashboards/pictures.mjs" --check
	node "$ROOT/hack/check/metrics-doc.mjs" --check
	# Every series that they ask for is declared in the sources.
	sed -nE 's/^ +([a-z_]+): .*(Int|Gauge|Histogram|Counter).*\[.*/parley_\1/p' "$ROOT"/src/*/metrics.rs >"$SCRATCH/declared"
	echo parley_build_info >>"$SCRATCH/declared"
	# Job names, label names and the like do not begin so; quoted label values are cut off.
	cat "$ROOT/charts/parley/files/alerts.yaml" "$ROOT"/charts/parley/files/dashboards/*.json |
		grep -oE '\bparley_[a-z_]+' | sed -E 's/_(bucket|sum|count)$//' | sort -u >"$SCRATCH/asked"
	[ -s "$SCRATCH/asked" ] || fail "no series found in alerts and dashboards"
	sort -u "$SCRATCH/declared" | comm -13 - "$SCRATCH/asked" >"$SCRATCH/unknown"
	[ ! -s "$SCRATCH/unknown" ] || fail "alerts or dashboards ask for series that no program has: $(paste -sd' ' "$SCRATCH/unknown")"
}

offline() {
	lint
	renders
	score
	refusals
	promises
	drift
	monitoring
	"$ROOT/hack/check/chart-readme.sh" --check
	"$ROOT/hack/check/kind.sh"
	node "$ROOT/hack/check/docs.mjs"
	node "$ROOT/hack/check/bench-report.mjs"
	echo "charts: $(find "$SCRATCH/renders" -name '*.yaml' | wc -l) renders are as they should be"
}

# With a cache of its own: the user's would remember another server that had this port.
k() { "$KUBECTL" --kubeconfig "$KUBECONFIG" --cache-dir "$SCRATCH/discovery" "$@"; }

# dry_run FILE: no unknown field, no warning (of pod security either), no refusal.
dry_run() {
	k apply --server-side --force-conflicts --dry-run=server --validate=strict --warnings-as-errors \
		-f "$1" >"$SCRATCH/out" 2>&1 || { cat "$SCRATCH/out" >&2; fail "the API server refuses ${1#"$ROOT/"}"; }
}

# conforms FILE...: against strict schemas made from what the server says of its kinds.
conforms() {
	k get --raw /openapi/v2 | node "$ROOT/hack/check/schemas.mjs" "$SCRATCH/schemas"
	# A definition is a schema itself, which the server has judged.
	kubeconform -strict -summary -skip CustomResourceDefinition -schema-location "$SCRATCH/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$@" >"$SCRATCH/out" ||
		{ cat "$SCRATCH/out" >&2; fail "kubeconform: see the lines above"; }
	# It must be able to fail.
	sed 's/terminationGracePeriodSeconds/terminationGraceSeconds/' "$SCRATCH/renders/parley-minimal.yaml" >"$SCRATCH/wrong.yaml"
	kubeconform -strict -skip CustomResourceDefinition -schema-location "$SCRATCH/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$SCRATCH/wrong.yaml" >"$SCRATCH/refused" || true
	grep -q "'terminationGraceSeconds' not allowed" "$SCRATCH/refused" || fail "kubeconform accepts a field that does not exist"
	tail -n 1 "$SCRATCH/out"
}

# established FILE: a definition has no conditions at all in its first moment, which kubectl takes for an error.
established() {
	local limit=$((SECONDS + 60))
	until k wait --for=condition=Established -f "$1" --timeout=10s >"$SCRATCH/out" 2>&1; do
		[ $SECONDS -lt $limit ] || { cat "$SCRATCH/out" >&2; fail "the definition in $1 is not served"; }
		sleep 0.2
	done
}

# What docs/gitops.md gives to Argo CD and Flux, as $SCRATCH/gitops/N.yaml: of its blocks those that are whole objects.
gitops() {
	mkdir -p "$SCRATCH/gitops"
	awk -v dir="$SCRATCH/gitops" '/^```yaml$/ {file = sprintf("%s/%d.yaml", dir, ++n); next} /^```$/ {file = ""} file {print > file}' "$ROOT/docs/gitops.md"
	grep -L '^apiVersion: ' "$SCRATCH"/gitops/*.yaml | xargs -r rm
	[ "$(cat "$SCRATCH"/gitops/*.yaml | grep -c '^kind: ')" = 3 ] || fail "docs/gitops.md: an Application, a HelmRelease and a Kustomization should be there"
}

server() {
	local file ns
	KUBECONFIG=$1
	renders
	gitops
	local foreign=()
	mapfile -t foreign < <(definitions)
	for file in "$ROOT/crds/chattopicsets.yaml" "${foreign[@]}"; do
		k apply --server-side --force-conflicts -f "$file" >/dev/null
		established "$file"
	done
	while read -r ns; do
		k create namespace "$ns" --dry-run=client -o yaml |
			k apply --server-side -f - >/dev/null
		k label --overwrite namespace "$ns" pod-security.kubernetes.io/warn=restricted >/dev/null
	done < <(cat "$SCRATCH"/renders/*.yaml "$SCRATCH"/gitops/*.yaml | sed -nE 's/^(  |metadata: \{name: [^,]*, )namespace: ([^}]*)\}?$/\2/p' | sort -u)
	local files=("$SCRATCH"/renders/*.yaml "$SCRATCH"/gitops/*.yaml "$ROOT"/docs/samples/*.yaml "$ROOT"/hack/kind/*.yaml)
	for file in "${files[@]}"; do dry_run "$file"; done
	conforms "${files[@]}"
	notes
	"$ROOT/hack/check/rights.sh" "$KUBECONFIG"
	echo "charts: the API server accepts every render, sample and demo manifest"
}

# given FILE: lines `PROGRAM SUBCOMMAND SETTING`, one for each PARLEY_ variable and --flag of a container.
given() {
	awk '
		/^ *command: \[\/bin\// {gsub(/.*\/bin\/|[],]/, ""); who = $0}
		/name: PARLEY_/ {sub(/.*name: /, ""); sub(/[,} ].*/, ""); print who, $0}
		/^ *args: \["--/ {sub(/.*\["/, ""); sub(/[="].*/, ""); print who, $0}
	' "$1" | sort -u
}

settings() {
	local bin=$1 file program sub name n=0
	renders
	for file in "$SCRATCH"/renders/parley-[!t]*.yaml; do given "$file"; done | sort -u >"$SCRATCH/given"
	while read -r program sub name; do
		[ -x "$bin/$program" ] || fail "there is no $bin/$program"
		[ -f "$SCRATCH/help-$program-$sub" ] || "$bin/$program" "$sub" --help >"$SCRATCH/help-$program-$sub" 2>&1 ||
			{ cat "$SCRATCH/help-$program-$sub" >&2; fail "$program $sub --help fails"; }
		grep -qwF -e "$name" "$SCRATCH/help-$program-$sub" || fail "the chart gives $program $sub the setting $name, which it does not know"
		n=$((n + 1))
	done <"$SCRATCH/given"
	[ "$n" -gt 30 ] || fail "only $n settings were found in the renders"
	echo "charts: the programs know all $n settings that the chart gives them"
}

case ${1:-} in
"") offline ;;
settings) settings "${2:?a folder of programs}" ;;
server) server "${2:?a kubeconfig}" ;;
*) fail "usage: $0 [server KUBECONFIG | settings DIR]" ;;
esac
