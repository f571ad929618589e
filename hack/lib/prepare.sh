# What is slow and needs the registries: builds and downloads, side by side (sourced).

prepare_start() {
	mkdir -p "$LOGS"
	lane "Kafka's jars" unlocked "$HACK/kafka/classes.sh"
	lane "cluster binaries" unlocked "$HACK/cluster/build.sh"
	# Two compilers at once want the memory; with little of it, one after the other.
	[ "$(mebibytes MemAvailable)" -ge 8000 ] || join "cluster binaries"
	prepare_image_start
}
prepare_image_start() { lane "Parley's binaries and image" unlocked "$HACK/image/build.sh"; }
prepare_cluster() {
	join "Kafka's jars"
	[ -z "${LANE_PID["cluster binaries"]:-}" ] || join "cluster binaries"
}
prepare_image() { join "Parley's binaries and image"; }

# with_kind: hack/kind/up.sh makes the cluster with the image, Kafka, PostgreSQL and
# the Secret of database URLs in it, and prints its kubeconfig.
with_kind() {
	mkdir -p "$LOGS"
	lane "helm and kubectl" unlocked "$HACK/cluster/build.sh" clients
	prepare_image_start
	join "helm and kubectl" "Parley's binaries and image"
	lane "kind, Kafka, PostgreSQL" kind_cluster
	join "kind, Kafka, PostgreSQL"
}
kind_cluster() {
	local made
	made=$(KUBECTL=$BIN/kubectl "$HACK/kind/up.sh" "$IMAGE/parley.tar")
	ln -sfn "$made" "$STATE/kubeconfig"
}
