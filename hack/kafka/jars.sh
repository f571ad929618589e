#!/usr/bin/env bash
# Prints the folder of Kafka's jars, for `java -cp 'FOLDER/*'`; fetches them into
# the cache first when they are not there. Needs a JDK and Maven.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"

pom=$HACK/kafka/pom.xml
# Another pom has another folder: a broker that runs keeps the jars it was started from.
libs=$CACHE/kafka/4.1.0-$(sha256sum "$pom" | cut -c1-8)/libs
if [ ! -d "$libs" ]; then
	command -v mvn >/dev/null || die "Maven is needed to fetch Kafka: install it (Debian: apt-get install maven)"
	exclusively "$CACHE/kafka/lock" "fetch of Kafka"
	if [ ! -d "$libs" ]; then
		rm -rf "$libs".new.*
		new=$libs.new.$$
		mkdir -p "$new"
		# --strict-checksums: a broken or changed download fails here, not later.
		mvn --batch-mode --quiet --strict-checksums -f "$pom" dependency:copy-dependencies -DoutputDirectory="$new" >&2 ||
			die "Maven could not fetch Kafka's jars: see the lines above (is its repository reachable?)"
		mv "$new" "$libs"
	fi
fi
echo "$libs"
