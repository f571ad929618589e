#!/usr/bin/env bash
# One of Kafka's programs: java.sh HEAP CLASS ARGUMENT...
# KAFKA_JVM holds further options of the JVM, as words.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

heap=${1:?HEAP is missing}
shift
classes=$("$HACK/kafka/classes.sh") # beside the jars
options=(-Xmx"$heap" -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError)
# The tools' standard output is for what they were asked.
[ "$1" != kafka.Kafka ] || options+=("-Dlog4j2.configurationFile=$HACK/kafka/log4j2.properties")
# Of no use to another JVM than the one that made it, which is no error.
[ ! -s "$classes" ] || options+=("-XX:SharedArchiveFile=$classes" -Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off)
# shellcheck disable=SC2086 # words
exec java "${options[@]}" ${KAFKA_JVM:-} -cp "${classes%/*}/libs/*" "$@"
