#!/usr/bin/env bash
# Prints the folder that holds the five parsers and the fuzzer; fetches them into the cache first when they are not there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sum=$(cat "$here/package-lock.json" "$here/requirements.txt" | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/parley/foreign-$sum
if [ ! -e "$folder/ready" ]; then
	mkdir -p "$folder"
	exec 9>"$folder/lock"
	flock 9
	if [ ! -e "$folder/ready" ]; then
		cp "$here/package.json" "$here/package-lock.json" "$folder/"
		npm --prefix "$folder" ci --no-audit --no-fund --silent >&2
		python3 -m venv "$folder/venv" >&2
		"$folder/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
		touch "$folder/ready"
	fi
fi
echo "$folder"
