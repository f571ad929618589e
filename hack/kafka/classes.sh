#!/usr/bin/env bash
# Prints the file with the classes that a broker loads, parsed and linked already (JEP 350): a JVM with it starts for half of
# the processor time. Makes it first when it is not there; an empty file says that it cannot be made here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

libs=$("$HACK/kafka/jars.sh")
# Another JVM has another file.
classes=${libs%/libs}/classes-$(stat -Lc '%s-%Y' "$(command -v java)").jsa
echo "$classes"
[ ! -f "$classes" ] || exit 0

exclusively "$CACHE/kafka/lock-classes" "making of Kafka's class archive"
[ ! -f "$classes" ] || exit 0
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
cat >"$SCRATCH/node.properties" <<-P
	node.id=0
	process.roles=broker,controller
	controller.quorum.voters=0@127.0.0.1:9093
	listeners=CLIENTS://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
	advertised.listeners=CLIENTS://127.0.0.1:9092
	listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
	inter.broker.listener.name=CLIENTS
	controller.listener.names=CONTROLLER
	log.dirs=$SCRATCH/data
P
# In a process of its own: it becomes the JVM, which ends when it is asked to whatever the script around ignores.
run() { exec env --default-signal=TERM java -Xmx384m -XX:+UseSerialGC -cp "$libs/*" -Dlog4j2.configurationFile="$HACK/kafka/log4j2.properties" "$@"; }

# It writes its classes down when it ends.
one_life() {
	ip link set lo up
	(run kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAA -c "$SCRATCH/node.properties")
	run -XX:ArchiveClassesAtExit="$classes.new" kafka.Kafka "$SCRATCH/node.properties" &
	local broker=$! limit=$((SECONDS + 240))
	until (run org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:9092 --create --topic first); do
		[ $SECONDS -lt $limit ] || break
	done
	kill "$broker"
	wait "$broker" || true
	[ -s "$classes.new" ]
}
export -f one_life run
export SCRATCH HACK libs classes
# In a network of its own, where its ports are free.
if unshare --net bash -c one_life >"$SCRATCH/log" 2>&1; then
	mv -f "$classes.new" "$classes"
else
	: >"$classes"
fi
