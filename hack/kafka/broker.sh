#!/usr/bin/env bash
# A real Kafka without Docker: combined KRaft nodes (broker and controller).
#
#   broker.sh start DIR ADDRESS PORT [NODES]    1 (default) or 3 nodes, clients at PORT, PORT+1, PORT+2
#   broker.sh stop DIR
#
# DIR holds data, log and pids of this Kafka alone. Node i's controller listens
# at PORT+100+i. `start` returns when the brokers answer; what runs is left alone.
# KAFKA_HEAP (default 512m, three nodes 384m) sizes each JVM, KAFKA_JVM gives it further options.
# KAFKA_PROPERTIES holds further properties, a line each.
# KAFKA_SECURED=1 adds, on one node, a listener at PORT+1 that demands TLS and a password (SCRAM, or PLAIN for the user "plain" with
# "plain-secret"), and one at PORT+2 that demands a certificate of the client; both obey ACLs. DIR/tls/ca.crt signed theirs, and
# signs clients'. On the plain one everybody is a super user: users and ACLs are made there.
# KAFKA_VIA="PORT…" adds a listener for each of these: node i listens at PORT-of-the-clients+10n+i (n counts from 1) and tells
# whoever comes there to go on at PORT+i, where somebody passes it on. KAFKA_VIA_BROKERS=1: brokers reach each other by the last.
# DISK_MIB=N gives each node's data a disk of its own of that size, in memory.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/process.sh"

RUN=${2:?DIR is missing}

# A certificate for the secured listener and the authority that signed it.
certificates() {
	local d=$RUN/tls
	[ ! -f "$d/server.pem" ] || return 0
	mkdir -p "$d"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$d/ca.key" -out "$d/ca.crt" \
		-subj /CN=test-ca -days 30 -addext basicConstraints=critical,CA:TRUE 2>/dev/null
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$d/server.key" -subj /CN=kafka 2>/dev/null |
		openssl x509 -req -CA "$d/ca.crt" -CAkey "$d/ca.key" -CAcreateserial -days 30 -out "$d/server.crt" \
			-extfile <(echo "subjectAltName=IP:$address,DNS:localhost") 2>/dev/null
	cat "$d/server.key" "$d/server.crt" "$d/ca.crt" | put "$d/server.pem"
}

secured_properties() {
	cat <<-P
		listeners=CLIENTS://$address:$port,CONTROLLER://$address:$((port + 100)),SECURED://$address:$((port + 1)),MUTUAL://$address:$((port + 2))
		advertised.listeners=CLIENTS://$address:$port,SECURED://$address:$((port + 1)),MUTUAL://$address:$((port + 2))
		listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL,MUTUAL:SSL
		sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
		listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.secured.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		listener.name.secured.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="plain-secret";
		listener.name.mutual.ssl.client.auth=required
		listener.name.mutual.ssl.truststore.type=PEM
		listener.name.mutual.ssl.truststore.location=$RUN/tls/ca.crt
		ssl.keystore.type=PEM
		ssl.keystore.location=$RUN/tls/server.pem
		authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
		super.users=User:ANONYMOUS
	P
}

via_properties() { # via_properties NODE
	local n=0 first listeners='' advertised='' map=''
	for first in $KAFKA_VIA; do
		n=$((n + 1))
		listeners+=",VIA$n://$address:$((port + 10 * n + $1))"
		advertised+=",VIA$n://$address:$((first + $1))"
		map+=",VIA$n:PLAINTEXT"
	done
	cat <<-P
		listeners=CLIENTS://$address:$((port + $1)),CONTROLLER://$address:$((port + 100 + $1))$listeners
		advertised.listeners=CLIENTS://$address:$((port + $1))$advertised
		listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT$map
	P
	[ "${KAFKA_VIA_BROKERS:-0}" = 0 ] || echo "inter.broker.listener.name=VIA$n"
}

properties() { # properties NODE: one node's configuration
	local i voters=() internal=$nodes
	for ((i = 0; i < nodes; i++)); do voters+=("$i@$address:$((port + 100 + i))"); done
	cat <<-P
		node.id=$1
		process.roles=broker,controller
		controller.quorum.voters=$(IFS=, && echo "${voters[*]}")
		listeners=CLIENTS://$address:$((port + $1)),CONTROLLER://$address:$((port + 100 + $1))
		advertised.listeners=CLIENTS://$address:$((port + $1))
		listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
		inter.broker.listener.name=CLIENTS
		controller.listener.names=CONTROLLER
		log.dirs=$RUN/data-$1
		auto.create.topics.enable=false
		# One machine, few consumers: no waiting for more of them, no fifty internal partitions.
		group.initial.rebalance.delay.ms=0
		# Tests wait for the death of members that they kill.
		group.min.session.timeout.ms=1000
		offsets.topic.num.partitions=5
		transaction.state.log.num.partitions=5
		offsets.topic.replication.factor=$internal
		transaction.state.log.replication.factor=$internal
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.replication.factor=$internal
		share.coordinator.state.topic.min.isr=1
	P
}

kafka() { "$HACK/kafka/java.sh" "$heap" "$@"; }

start_node() { # start_node NODE
	{
		properties "$1"
		# The last word on a key is the one that holds.
		[ "${KAFKA_SECURED:-0}" = 0 ] || secured_properties
		[ -z "${KAFKA_VIA:-}" ] || via_properties "$1"
		printf '%s\n' "${KAFKA_PROPERTIES:-}"
	} | put "$RUN/node-$1.properties"
	# format writes this file last: a killed format is done again.
	if [ ! -f "$RUN/data-$1/meta.properties" ]; then
		own_disk "$RUN/data-$1"
		find "$RUN/data-$1" -mindepth 1 -delete
		kafka kafka.tools.StorageTool format -t "$(cat "$RUN/cluster-id")" -c "$RUN/node-$1.properties" >>"$RUN/log/format.log" 2>&1 ||
			die "could not format node $1: see $RUN/log/format.log"
	fi
	start "kafka-$1" "$HACK/kafka/java.sh" "$heap" kafka.Kafka "$RUN/node-$1.properties"
}

start_all() {
	local i
	"$HACK/kafka/classes.sh" >/dev/null
	mkdir -p "$RUN/log"
	# Not with a hyphen in front: one in 64 would be taken for an option.
	[ -s "$RUN/cluster-id" ] || head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' | sed 's/^-/A/' | put "$RUN/cluster-id"
	[ "${KAFKA_SECURED:-0}" = 0 ] || certificates
	for ((i = 0; i < nodes; i++)); do start_node "$i"; done
	for ((i = 0; i < nodes; i++)); do
		wait_for 240 "kafka-$i" "Kafka at $address:$((port + i))" bash -c "exec 3<>/dev/tcp/$address/$((port + i))"
	done
	# Listening comes before serving: ask for the metadata. KAFKA_ASK=0: whoever starts it asks by itself.
	[ "${KAFKA_ASK:-1}" = 0 ] || wait_for 240 kafka-0 "Kafka to answer" kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "$address:$port" --list
}

case ${1:-} in
start)
	address=${3:?ADDRESS is missing} port=${4:?PORT is missing} nodes=${5:-1}
	[ "$nodes" = 1 ] || [ "$nodes" = 3 ] || die "NODES is 1 or 3, not $nodes"
	if [ "$nodes" = 1 ]; then heap=${KAFKA_HEAP:-512m}; else heap=${KAFKA_HEAP:-384m}; fi
	start_all
	;;
stop)
	for pid in "$RUN"/pids/*; do
		[ ! -e "$pid" ] || stop "${pid##*/}" "${3:-TERM}"
	done
	for disk in "$RUN"/data-*; do no_disk "$disk"; done
	;;
*) die "usage: broker.sh start DIR ADDRESS PORT [NODES] | stop DIR [SIGNAL]" ;;
esac
